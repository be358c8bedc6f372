"""`Graph` to a TFLite file, so that LiteRT can run what Lepton runs and be compared with it."""
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
    Node,
    Quantization,
    Reshape,
    Softmax,
    Tensor,
)
from lepton.graph.verify import verify

from ..geometry import ACTIVATION_BOUNDS, activation_range, same_padding
from .options import OPTIONS
from .reader import IDENTIFIER, SCHEMA_VERSION
from .schema import load_schema

# Operator and the version of it that introduced int8 (TFLite's op_version.cc); kernels are looked up by both.
OPERATORS = {Conv2D: ("CONV_2D", 3), DepthwiseConv2D: ("DEPTHWISE_CONV_2D", 3), FullyConnected: ("FULLY_CONNECTED", 5),
             Add: ("ADD", 2), MaxPool2D: ("MAX_POOL_2D", 2), AveragePool2D: ("AVERAGE_POOL_2D", 2), Mean: ("MEAN", 2),
             Softmax: ("SOFTMAX", 2), Reshape: ("RESHAPE", 1)}
PAD = ("PAD", 2)
BUFFER_ALIGNMENT = 16  # force_align of Buffer.data in the schema
NO_PADDING = ((0, 0), (0, 0))


def export_tflite(graph: Graph) -> bytes:
    """The bytes of a TFLite file (schema version 3) that computes what `graph` does.

    `import_tflite` reads it back as the same graph, except that a convolution without a bias has got one
    of zeros, which LiteRT demands. A convolution's padding that is neither SAME nor VALID becomes a PAD
    before it. Names of nodes survive where they are their outputs' names.

    Raises GraphError for a graph that is not well formed, and for what TFLite cannot express: a pooling
    with such a padding, a clamp range that is no fused activation; ModuleNotFoundError when the extra
    `tflite` is not installed.
    """
    for node in graph.nodes:
        if type(node.op) not in OPERATORS:
            raise GraphError(f"{node.label}: the exporter writes {', '.join(op.__name__ for op in OPERATORS)}, "
                             f"not {type(node.op).__name__}")
    return _Writer(verify(graph)).file()


Windowed = Conv2D | DepthwiseConv2D | MaxPool2D | AveragePool2D


class _Writer:
    def __init__(self, graph: Graph) -> None:
        self.graph = graph
        schema = load_schema()
        self.tflite, self.builder = schema.tflite, schema.flatbuffers.Builder(1024)
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
        name, shape = self.builder.CreateString(tensor.name), self.numbers(tensor.shape, np.int32)
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
        op, output = node.op, self.graph.tensors[node.outputs[0]]
        inputs = [self.indices[name] for name in node.inputs if name]
        x = self.graph.tensors[node.inputs[0]]
        operator = OPERATORS[type(op)]
        fields = {}
        if isinstance(op, Conv2D | DepthwiseConv2D):
            _, height, width, _ = self.graph.tensors[node.inputs[1]].shape
            fields = self.window(op, node, x, (height, width), inputs)
            fields |= {"DilationHFactor": op.dilation[0], "DilationWFactor": op.dilation[1]}
            if not node.inputs[2]:
                inputs.append(self.zero_bias(node, x))
            if isinstance(op, DepthwiseConv2D):
                fields["DepthMultiplier"] = op.multiplier
        elif isinstance(op, MaxPool2D | AveragePool2D):
            fields = self.window(op, node, x, op.kernel, inputs)
            fields |= {"FilterHeight": op.kernel[0], "FilterWidth": op.kernel[1]}
        elif isinstance(op, FullyConnected):
            fields["KeepNumDims"] = op.keep_dims and x.shape[-1] == self.graph.tensors[node.inputs[1]].shape[1]
        elif isinstance(op, Mean):
            inputs.append(self.constant(f"{output.name}/axes", [1, 2]))
            fields["KeepDims"] = op.keep_dims
        elif isinstance(op, Reshape):
            inputs.append(self.constant(f"{output.name}/shape", output.shape))
        elif isinstance(op, Softmax):
            fields["Beta"] = op.beta
        if "activation" in OPTIONS[operator[0]][1]:
            fields["FusedActivationFunction"] = self.activation(node, output)
        self.operator(operator, inputs, self.indices[output.name], OPTIONS[operator[0]][0], **fields)

    def activation(self, node: Node, output: Tensor) -> int:
        for name in ACTIVATION_BOUNDS:
            if activation_range(name, float(output.scale), output.zero_point) == tuple(node.op.clamp):
                return getattr(self.tflite.ActivationFunctionType, name)
        raise GraphError(f"{node.label}: the clamp range {node.op.clamp} is none of the activations that TFLite can "
                         f"fuse ({', '.join(ACTIVATION_BOUNDS)})")

    def window(self, op: Windowed, node: Node, x: Tensor, kernel: tuple[int, int], inputs: list[int]) -> dict:
        """Stride and padding; may put a PAD before the operator, whose output then replaces inputs[0]."""
        dilation = getattr(op, "dilation", (1, 1))
        same = tuple(same_padding(*axis) for axis in zip(x.shape[1:3], kernel, op.stride, dilation, strict=True))
        padding = "SAME" if op.padding == same else "VALID"
        if op.padding not in (NO_PADDING, same):
            if isinstance(op, MaxPool2D | AveragePool2D):
                raise GraphError(f"{node.label}: TFLite cannot express the padding {op.padding} of a pooling; it must "
                                 f"be {NO_PADDING} (VALID) or {same} (SAME)")
            inputs[0] = self.pad(op, node, x)
        return {"Padding": getattr(self.tflite.Padding, padding), "StrideH": op.stride[0], "StrideW": op.stride[1]}

    def zero_bias(self, node: Node, x: Tensor) -> int:
        weights = self.graph.tensors[node.inputs[1]].quantization
        assert x.quantization is not None and weights is not None, f"{node.label} is not quantized"
        scale = x.quantization.scale * weights.scale
        channels = self.graph.tensors[node.outputs[0]].shape[3]
        quantization = Quantization(scale, np.zeros(scale.shape, np.int32), 0 if scale.size > 1 else None)
        data = np.zeros(channels, np.int32)
        return self.tensor(Tensor(f"{node.outputs[0]}/bias", data.shape, data.dtype, quantization, data))

    def pad(self, op: Windowed, node: Node, x: Tensor) -> int:
        (top, bottom), (left, right) = op.padding
        _, height, width, channels = x.shape
        name = f"{node.outputs[0]}/padded"
        output = self.tensor(Tensor(name, (1, height + top + bottom, width + left + right, channels), x.dtype,
                                    x.quantization))
        paddings = self.constant(f"{name}/paddings", [[0, 0], [top, bottom], [left, right], [0, 0]])
        self.operator(PAD, [self.indices[x.name], paddings], output)
        return output
