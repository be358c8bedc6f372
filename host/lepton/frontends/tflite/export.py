"""`Graph` to a TFLite file, so that LiteRT can run what Lepton runs and be compared with it."""

from collections.abc import Callable
from typing import Any

import numpy as np

from lepton.graph import (
    Add,
    AveragePool2D,
    Conv2D,
    DepthwiseConv2D,
    FullyConnected,
    Graph,
    GraphError,
    MaxPool2D,
    Mean,
    Mul,
    Node,
    Op,
    Padding,
    Pair,
    Quantization,
    Reshape,
    Softmax,
    Tensor,
)
from lepton.graph.ops.windows import NONE
from lepton.graph.verify import verify

from ..geometry import ACTIVATION_BOUNDS, activation_range, same_padding
from .options import OPTIONS
from .reader import IDENTIFIER, SCHEMA_VERSION
from .schema import load_schema

PAD = ("PAD", 2)
BUFFER_ALIGNMENT = 16  # force_align of Buffer.data in the schema
Fields = dict[str, Any]  # of an operator's options, by the schema's names


def export_tflite(graph: Graph) -> bytes:
    """The bytes of a TFLite file (schema version 3) that computes what `graph` does.

    `import_tflite` reads it back as the same graph, except that a convolution without a bias has got one
    of zeros, which LiteRT demands. A convolution's padding that is neither SAME nor VALID becomes a PAD
    before it. Names of nodes survive where they are their outputs' names.

    Raises GraphError for a graph that is not well formed, and for what TFLite cannot express: a pooling
    with such a padding, a clamp range that is no fused activation, state; ModuleNotFoundError when the extra
    `tflite` is not installed.
    """
    if graph.states:
        raise GraphError(f"the exporter writes no networks with state; this one has {graph.states[0].name!r}")
    for node in graph.nodes:
        if WRITERS.get(type(node.op)) is None:
            raise GraphError(f"{node.label}: the exporter writes {', '.join(op.__name__ for op in WRITERS)}, "
                             f"not {type(node.op).__name__}")
    return _Writer(verify(graph)).file()


class _Writer:
    def __init__(self, graph: Graph) -> None:
        self.graph = graph
        schema = load_schema()
        self.tflite = schema.tflite
        self.builder = schema.flatbuffers.Builder(1024)
        self.buffers = [self.buffer(b"")]  # buffer 0 is the empty one, by convention
        self.codes: list[tuple[str, int]] = []
        self.tensors: list[int] = []
        self.indices: dict[str, int] = {}
        for tensor in graph.tensors.values():
            self.tensor(tensor)
        self.operators: list[int] = []
        for node in graph.nodes:
            self.node(node)

    # Flatbuffers

    def table(self, name: str, **fields: Any) -> int:
        """A table of the schema: fields by their names there."""
        getattr(self.tflite, f"{name}Start")(self.builder)
        for field, value in fields.items():
            getattr(self.tflite, f"{name}Add{field}")(self.builder, value)
        return getattr(self.tflite, f"{name}End")(self.builder)

    def numbers(self, values: Any, dtype: Any) -> int:
        return self.builder.CreateNumpyVector(np.asarray(values, dtype))

    def offsets(self, values: list[int]) -> int:
        self.builder.StartVector(4, len(values), 4)
        for value in reversed(values):
            self.builder.PrependUOffsetTRelative(value)
        return self.builder.EndVector()

    def buffer(self, data: bytes) -> int:
        if not data:
            return self.table("Buffer")
        builder = self.builder
        builder.StartVector(1, len(data), BUFFER_ALIGNMENT)
        builder.head -= len(data)
        builder.Bytes[builder.head:builder.head + len(data)] = data
        return self.table("Buffer", Data=builder.EndVector())

    def file(self) -> bytes:
        name = self.builder.CreateString(self.graph.name)
        inputs, outputs = (self.numbers([self.indices[n] for n in names], np.int32)
                           for names in (self.graph.inputs, self.graph.outputs))
        subgraph = self.table("SubGraph", Tensors=self.offsets(self.tensors), Inputs=inputs, Outputs=outputs,
                              Operators=self.offsets(self.operators), Name=name)
        codes = self.offsets([self.code(*code) for code in self.codes])
        description = self.builder.CreateString("Lepton")
        model = self.table("Model", Version=SCHEMA_VERSION, OperatorCodes=codes, Subgraphs=self.offsets([subgraph]),
                           Description=description, Buffers=self.offsets(self.buffers))
        self.builder.Finish(model, file_identifier=IDENTIFIER)
        return bytes(self.builder.Output())

    def code(self, name: str, version: int) -> int:
        value = getattr(self.tflite.BuiltinOperator, name)
        # Readers older than 2020 know only the narrow field; all of ours fit in it.
        return self.table("OperatorCode", DeprecatedBuiltinCode=value, Version=version, BuiltinCode=value)

    # Tensors

    def tensor(self, tensor: Tensor) -> int:
        """Adds a tensor; its index in the file."""
        if tensor.name in self.indices:
            raise GraphError(f"the name {tensor.name!r} occurs twice, or is one that the exporter makes")
        data = b"" if tensor.data is None else np.ascontiguousarray(
            tensor.data, np.dtype(tensor.dtype).newbyteorder("<")).tobytes()
        if data:
            self.buffers.append(self.buffer(data))
        name = self.builder.CreateString(tensor.name)
        shape = self.numbers(tensor.shape, np.int32)
        fields = {"Shape": shape, "Name": name, "Buffer": len(self.buffers) - 1 if data else 0,
                  "Type": getattr(self.tflite.TensorType, np.dtype(tensor.dtype).name.upper())}
        if tensor.quantization is not None:
            q = tensor.quantization
            fields["Quantization"] = self.table(
                "QuantizationParameters", Scale=self.numbers(q.scale, np.float32),
                ZeroPoint=self.numbers(q.zero_point, np.int64), QuantizedDimension=q.axis or 0)
        self.tensors.append(self.table("Tensor", **fields))
        self.indices[tensor.name] = len(self.tensors) - 1
        return self.indices[tensor.name]

    def constant(self, name: str, values: Any) -> int:
        data = np.asarray(values, np.int32)
        return self.tensor(Tensor(name, data.shape, data.dtype, data=data))

    # Operators

    def operator(self, operator: tuple[str, int], inputs: list[int], output: int, options: str = "",
                 **fields: Any) -> None:
        if operator not in self.codes:
            self.codes.append(operator)
        table = self.table(options, **fields) if options else None
        extra = {} if table is None else {"BuiltinOptionsType": getattr(self.tflite.BuiltinOptions, options),
                                          "BuiltinOptions": table}
        self.operators.append(self.table("Operator", OpcodeIndex=self.codes.index(operator),
                                         Inputs=self.numbers(inputs, np.int32),
                                         Outputs=self.numbers([output], np.int32), **extra))

    def node(self, node: Node) -> None:
        operator, write = WRITERS[type(node.op)]
        x = self.graph.tensors[node.inputs[0]]
        output = self.graph.result(node)
        inputs = [self.indices[name] for name in node.inputs if name]
        fields = write(self, node, node.op, x, inputs)
        options, known = OPTIONS[operator[0]]
        if "activation" in known:
            fields["FusedActivationFunction"] = self.activation(node, output)
        self.operator(operator, inputs, self.indices[output.name], options, **fields)

    def activation(self, node: Node, output: Tensor) -> int:
        for name in ACTIVATION_BOUNDS:
            if activation_range(name, float(output.scale), output.zero_point) == tuple(node.op.clamp):
                return getattr(self.tflite.ActivationFunctionType, name)
        raise GraphError(f"{node.label}: the clamp range {node.op.clamp} is none of the activations that TFLite can "
                         f"fuse ({', '.join(ACTIVATION_BOUNDS)})")

    def window(self, padding: str, stride: Pair) -> Fields:
        return {"Padding": getattr(self.tflite.Padding, padding), "StrideH": stride[0], "StrideW": stride[1]}

    def zero_bias(self, node: Node, x: Tensor) -> int:
        weights = self.graph.tensors[node.inputs[1]]
        scale = x.parameters.scale * weights.parameters.scale
        channels = self.graph.result(node).shape[3]
        quantization = Quantization(scale, np.zeros(scale.shape, np.int32), 0 if scale.size > 1 else None)
        data = np.zeros(channels, np.int32)
        return self.tensor(Tensor(f"{node.outputs[0]}/bias", data.shape, data.dtype, quantization, data))

    def pad(self, padding: Padding, node: Node, x: Tensor) -> int:
        """A PAD of `x` with the zero point; the index of its output."""
        (top, bottom), (left, right) = padding
        _, height, width, channels = x.shape
        name = f"{node.outputs[0]}/padded"
        output = self.tensor(Tensor(name, (1, height + top + bottom, width + left + right, channels), x.dtype,
                                    x.quantization))
        paddings = self.constant(f"{name}/paddings", [[0, 0], [top, bottom], [left, right], [0, 0]])
        self.operator(PAD, [self.indices[x.name], paddings], output)
        return output


# Writers of the operators: each returns the fields of the options. `inputs` are the indices of the operands; a writer
# adds those that only TFLite has.

def _padding_name(padding: Padding, x: Tensor, kernel: Pair, stride: Pair, dilation: Pair) -> tuple[str, Padding]:
    """SAME, VALID, or "" where it is neither; and what SAME would be."""
    (top, bottom), (left, right) = (same_padding(*axis) for axis in
                                    zip(x.shape[1:3], kernel, stride, dilation, strict=True))
    same = (top, bottom), (left, right)
    return ("SAME" if padding == same else "VALID" if padding == NONE else ""), same


def _conv(writer: _Writer, node: Node, op: Conv2D | DepthwiseConv2D, x: Tensor, inputs: list[int]) -> Fields:
    _, height, width, _ = writer.graph.tensors[node.inputs[1]].shape
    name, _ = _padding_name(op.padding, x, (height, width), op.stride, op.dilation)
    if not name:
        inputs[0] = writer.pad(op.padding, node, x)
    if not node.inputs[2]:
        inputs.append(writer.zero_bias(node, x))
    return writer.window(name or "VALID", op.stride) | {"DilationHFactor": op.dilation[0],
                                                        "DilationWFactor": op.dilation[1]}


def _depthwise(writer: _Writer, node: Node, op: DepthwiseConv2D, x: Tensor, inputs: list[int]) -> Fields:
    return _conv(writer, node, op, x, inputs) | {"DepthMultiplier": op.multiplier}


def _pool(writer: _Writer, node: Node, op: MaxPool2D | AveragePool2D, x: Tensor, inputs: list[int]) -> Fields:
    if op.dilation != (1, 1):
        raise GraphError(f"{node.label}: TFLite has no pooling with dilation, here {op.dilation}")
    name, same = _padding_name(op.padding, x, op.kernel, op.stride, op.dilation)
    if not name:
        raise GraphError(f"{node.label}: TFLite cannot express the padding {op.padding} of a pooling; it must "
                         f"be {NONE} (VALID) or {same} (SAME)")
    return writer.window(name, op.stride) | {"FilterHeight": op.kernel[0], "FilterWidth": op.kernel[1]}


def _fully_connected(writer: _Writer, node: Node, op: FullyConnected, x: Tensor, inputs: list[int]) -> Fields:
    return {"KeepNumDims": op.keep_dims and x.shape[-1] == writer.graph.tensors[node.inputs[1]].shape[1]}


def _mean(writer: _Writer, node: Node, op: Mean, x: Tensor, inputs: list[int]) -> Fields:
    inputs.append(writer.constant(f"{node.outputs[0]}/axes", [1, 2]))
    return {"KeepDims": op.keep_dims}


def _reshape(writer: _Writer, node: Node, op: Reshape, x: Tensor, inputs: list[int]) -> Fields:
    inputs.append(writer.constant(f"{node.outputs[0]}/shape", writer.graph.result(node).shape))
    return {}


def _softmax(writer: _Writer, node: Node, op: Softmax, x: Tensor, inputs: list[int]) -> Fields:
    return {"Beta": op.beta}


def _no_fields(writer: _Writer, node: Node, op: Add | Mul, x: Tensor, inputs: list[int]) -> Fields:
    return {}


# Operator -> (TFLite's name, the version of it that introduced int8) and the writer. Kernels are looked up by name and
# version (tensorflow/lite/tools/versioning/op_version.cc).
WRITERS: dict[type[Op], tuple[tuple[str, int], Callable[..., Fields]]] = {
    Conv2D: (("CONV_2D", 3), _conv), DepthwiseConv2D: (("DEPTHWISE_CONV_2D", 3), _depthwise),
    FullyConnected: (("FULLY_CONNECTED", 5), _fully_connected), Add: (("ADD", 2), _no_fields),
    Mul: (("MUL", 2), _no_fields),
    MaxPool2D: (("MAX_POOL_2D", 2), _pool), AveragePool2D: (("AVERAGE_POOL_2D", 2), _pool), Mean: (("MEAN", 2), _mean),
    Softmax: (("SOFTMAX", 2), _softmax), Reshape: (("RESHAPE", 1), _reshape)}
