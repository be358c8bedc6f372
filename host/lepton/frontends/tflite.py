"""TFLite int8 networks to `Graph`: paddings made explicit, fused activations turned into clamp ranges."""

import warnings
from math import prod
from os import PathLike
from pathlib import Path

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
    Op,
    Quantization,
    Reshape,
    Softmax,
    Tensor,
)

from .check import MAX_WINDOW, check_graph
from .geometry import activation_range, effective_kernel, same_padding
from .tflite_reader import OPTIONS, RawModel, RawOperator, RawTensor, read_tflite

DTYPES = {"INT8": np.dtype(np.int8), "INT32": np.dtype(np.int32)}
SUPPORTED_OPERATORS = (*OPTIONS, "PAD")  # PAD only where it can become a convolution's padding

_LONGEST_LABEL = 40


def import_tflite(source: str | PathLike | bytes, name: str | None = None) -> Graph:
    """Reads an int8 TFLite network: a path, or the bytes of the file.

    The graph's name is `name`, else the one in the file, else the file's. Constants are read-only
    arrays. Weights may be quantized per tensor or per output channel.

    Raises GraphError for a corrupt file, and for an operator, data type or option that is not
    supported (the text says which are); OSError when the file cannot be read; ModuleNotFoundError
    when the extra `tflite` is not installed. Warns (UserWarning) about a bias whose quantization
    contradicts its shape or the scales that TFLite computes with.
    """
    if isinstance(source, bytes | bytearray | memoryview):
        data, stem = bytes(source), "network"
    else:
        data, stem = Path(source).read_bytes(), Path(source).stem
    raw = read_tflite(data)
    unsupported = sorted({operator.name for operator in raw.operators} - set(SUPPORTED_OPERATORS))
    if unsupported:
        raise GraphError(f"operator {', '.join(unsupported)} is not supported; supported are "
                         f"{', '.join(SUPPORTED_OPERATORS)}")
    in_file = "" if raw.name == "main" else raw.name  # what converters call every network
    return check_graph(_Importer(raw, name or in_file or stem).graph)


class _Importer:
    def __init__(self, raw: RawModel, name: str):
        self.raw = raw
        self.graph = Graph(name)
        self.padded: dict[int, tuple[int, np.ndarray]] = {}  # result of a PAD: what it pads, and by how much (4, 2)
        self.names = _unique_names(raw.tensors)
        # Operators have no names in TFLite. Their outputs' do for labels, unless a converter has made them up from
        # paths and the names of all the layers that it fused.
        results = [self.names[i] for operator in raw.operators for i in operator.outputs if operator.name != "PAD"]
        self.plain = all(len(result) <= _LONGEST_LABEL and not {"/", ";"} & set(result) for result in results)
        self.graph.inputs = [self.activation(i, "the network's input") for i in raw.inputs]
        for index, operator in enumerate(raw.operators):
            self.add_node(index, operator)
        self.graph.outputs = [self.names[i] for i in raw.outputs]

    def add_node(self, index: int, operator: RawOperator):
        where = f"operator {index} ({operator.name})"
        arity = _ARITY[operator.name]
        if len(operator.inputs) not in arity or len(operator.outputs) != 1:
            raise GraphError(f"{where} has {len(operator.inputs)} inputs and {len(operator.outputs)} outputs; "
                             f"supported are {' or '.join(map(str, arity))} inputs and 1 output")
        if operator.name == "PAD":
            self.pad(operator, where)
            return
        op, inputs = _CONVERT[operator.name](self, operator, where)
        output = self.activation(operator.outputs[0], where)
        label = output if self.plain else f"{operator.name.lower()}_{index}"
        self.graph.nodes.append(Node(op, inputs, [output], label))

    # Tensors

    def activation(self, index: int, where: str) -> str:
        if index < 0:
            raise GraphError(f"{where}: an input is missing")
        raw = self.raw.tensors[index]
        if index in self.padded:
            raise GraphError(f"{where}: {raw.name!r} is the result of a PAD, which is supported only before "
                             "a convolution")
        dynamic = [extent for axis, extent in enumerate(raw.signature) if extent < 0 and axis > 0]
        if dynamic:
            raise GraphError(f"{where}: tensor {raw.name!r} has the dynamic shape {raw.signature}; "
                             "only the batch may be left open")
        if raw.variable:
            raise GraphError(f"{where}: tensor {raw.name!r} is a variable; networks with state are not supported")
        return self.tensor(index, where, ("INT8",))

    def constant(self, index: int, where: str, dtypes: tuple[str, ...]) -> str:
        if index < 0:
            raise GraphError(f"{where}: an input is missing")
        raw = self.raw.tensors[index]
        if raw.data is None:
            raise GraphError(f"{where}: {raw.name!r} must be a constant")
        return self.tensor(index, where, dtypes)

    def tensor(self, index: int, where: str, dtypes: tuple[str, ...]) -> str:
        raw, name = self.raw.tensors[index], self.names[index]
        if name in self.graph.tensors:
            return name
        if raw.dtype not in dtypes:
            raise GraphError(f"{where}: tensor {raw.name!r} has the data type {raw.dtype}, supported here is "
                             f"{' or '.join(dtypes)} (int8 networks, with int32 biases)")
        if raw.sparse:
            raise GraphError(f"{where}: tensor {raw.name!r} is sparse; only dense tensors are supported")
        self.graph.tensors[name] = Tensor(name, raw.shape, DTYPES[raw.dtype], self.quantization(raw, where), _data(raw))
        return name

    def quantization(self, raw: RawTensor, where: str) -> Quantization | None:
        q = raw.quantization
        if q is None:
            return None
        if q.custom:
            raise GraphError(f"{where}: tensor {raw.name!r} has a custom quantization, which is not supported")
        if not q.scale.size or q.scale.size != q.zero_point.size:
            raise GraphError(f"{where}: tensor {raw.name!r} has {q.scale.size} scales and {q.zero_point.size} zero "
                             "points; it must have as many of both")
        if not np.all(np.isfinite(q.scale) & (q.scale > 0)):
            raise GraphError(f"{where}: tensor {raw.name!r} has scales that are not finite and above 0")
        limit = (-128, 127) if raw.dtype == "INT8" else (0, 0)
        if np.any((q.zero_point < limit[0]) | (q.zero_point > limit[1])):
            raise GraphError(f"{where}: tensor {raw.name!r} ({raw.dtype}) has zero points outside {limit}")
        axis = self.axis(raw, where) if q.scale.size > 1 else None
        return Quantization(q.scale.astype(np.float32), q.zero_point.astype(np.int32), axis)

    @staticmethod
    def axis(raw: RawTensor, where: str) -> int:
        q, axis = raw.quantization, raw.quantization.dimension
        if len(raw.shape) == 1 and axis != 0:
            # Some converters copy the axis of the weights, to which a bias has no such dimension.
            warnings.warn(f"{where}: tensor {raw.name!r} of shape {raw.shape} has quantized_dimension {axis}; "
                          "taken as 0", UserWarning, stacklevel=2)
            axis = 0
        if not 0 <= axis < len(raw.shape) or raw.shape[axis] != q.scale.size:
            raise GraphError(f"{where}: tensor {raw.name!r} of shape {raw.shape} has {q.scale.size} scales "
                             f"along dimension {axis}")
        return axis

    def bias(self, operator: RawOperator, names: list[str], where: str) -> str:
        if len(operator.inputs) < 3 or operator.inputs[2] < 0:
            return ""
        name = self.constant(operator.inputs[2], where, ("INT32",))
        bias, x, weights = (self.graph.tensors[n] for n in (name, *names))
        if bias.quantization and x.quantization and weights.quantization:
            expected = x.quantization.scale * weights.quantization.scale
            if expected.size in (1, bias.quantization.scale.size) and not np.allclose(
                    bias.quantization.scale, expected, rtol=0.01, atol=0):
                warnings.warn(f"{where}: the scale of bias {bias.name!r} is not input scale times weight scale; TFLite "
                              "ignores it, and so does Lepton", UserWarning, stacklevel=2)
        return name

    def weighted(self, operator: RawOperator, where: str) -> list[str]:
        source, _ = self.padded.get(operator.inputs[0], (operator.inputs[0], None))
        names = [self.activation(source, where), self.constant(operator.inputs[1], where, ("INT8",))]
        return [*names, self.bias(operator, names, where)]

    # Operators

    def clamp(self, operator: RawOperator, where: str) -> tuple[int, int]:
        output = self.raw.tensors[operator.outputs[0]]
        self.activation(operator.outputs[0], where)
        quantization = self.graph.tensors[self.names[operator.outputs[0]]].quantization
        if quantization is None or quantization.scale.size != 1:
            raise GraphError(f"{where}: output {output.name!r} must be quantized per tensor")
        try:
            return activation_range(operator.options["activation"], quantization.scale[0],
                                    int(quantization.zero_point[0]))
        except GraphError as error:
            raise GraphError(f"{where}: {error}") from None

    def window(self, operator: RawOperator, where: str, kernel: tuple[int, int]) -> dict:
        """Stride, dilation and explicit padding of a sliding window."""
        options, shape = operator.options, self.raw.tensors[operator.inputs[0]].shape
        if len(shape) != 4:
            raise GraphError(f"{where}: the input must have 4 dimensions (NHWC), not {shape}")
        stride = options["stride_y"], options["stride_x"]
        dilation = options.get("dilation_y", 1), options.get("dilation_x", 1)
        for what, values in (("kernel", kernel), ("stride", stride), ("dilation", dilation)):
            if not all(1 <= value <= MAX_WINDOW for value in values):
                raise GraphError(f"{where}: {what} must lie in 1..{MAX_WINDOW}, not {values}")
        if options["padding"] == "SAME":
            padding = tuple(same_padding(*axis) for axis in zip(shape[1:3], kernel, stride, dilation, strict=True))
        else:
            padding = ((0, 0), (0, 0))
            if any(effective_kernel(*axis) > size for *axis, size in zip(kernel, dilation, shape[1:3], strict=True)):
                raise GraphError(f"{where}: the kernel {kernel} with dilation {dilation} is larger than the input "
                                 f"{shape}")
        if operator.inputs[0] in self.padded:
            before = self.padded[operator.inputs[0]][1][1:3].tolist()
            padding = tuple((a + c, b + d) for (a, b), (c, d) in zip(padding, before, strict=True))
        return {"stride": stride, "padding": padding} | ({"dilation": dilation} if "dilation_y" in options else {})

    def conv(self, operator: RawOperator, where: str) -> tuple[Op, list[str]]:
        inputs = self.weighted(operator, where)
        x, weights = (self.raw.tensors[i].shape for i in operator.inputs[:2])
        if len(weights) != 4 or len(x) != 4 or x[3] % weights[3]:
            raise GraphError(f"{where}: weights of shape {weights} do not match the input {x}")
        window = self.window(operator, where, weights[1:3])
        return Conv2D(**window, groups=x[3] // weights[3], clamp=self.clamp(operator, where)), inputs

    def depthwise(self, operator: RawOperator, where: str) -> tuple[Op, list[str]]:
        inputs = self.weighted(operator, where)
        x, weights = (self.raw.tensors[i].shape for i in operator.inputs[:2])
        if len(weights) != 4 or len(x) != 4 or weights[3] % x[3]:
            raise GraphError(f"{where}: weights of shape {weights} do not match the input {x}")
        multiplier, stated = weights[3] // x[3], operator.options["multiplier"]
        if stated not in (0, multiplier):  # 0: older converters left it to the shapes
            raise GraphError(f"{where}: depth multiplier {stated} does not match weights {weights} and input {x}")
        window = self.window(operator, where, weights[1:3])
        return DepthwiseConv2D(**window, multiplier=multiplier, clamp=self.clamp(operator, where)), inputs

    def fully_connected(self, operator: RawOperator, where: str) -> tuple[Op, list[str]]:
        inputs = self.weighted(operator, where)
        if operator.options["weights_format"] != 0:
            raise GraphError(f"{where}: shuffled weights are not supported, only the default format")
        shapes = [self.raw.tensors[i].shape for i in (*operator.inputs[:2], *operator.outputs)]
        if operator.options["keep_dims"] and (len(shapes[1]) != 2 or shapes[2] != (*shapes[0][:-1], shapes[1][0])):
            raise GraphError(f"{where}: input {shapes[0]} and weights {shapes[1]} do not make {shapes[2]}")
        return FullyConnected(clamp=self.clamp(operator, where)), inputs

    def pool(self, operator: RawOperator, where: str) -> tuple[Op, list[str]]:
        kernel = operator.options["kernel_y"], operator.options["kernel_x"]
        inputs = [self.activation(operator.inputs[0], where)]
        kind = MaxPool2D if operator.name == "MAX_POOL_2D" else AveragePool2D
        return kind(kernel=kernel, **self.window(operator, where, kernel), clamp=self.clamp(operator, where)), inputs

    def pad(self, operator: RawOperator, where: str):
        """Remembers a padding of height and width; the convolutions that read the result take it over."""
        index, output = operator.inputs[0], operator.outputs[0]
        source, before = self.padded.get(index, (index, 0))
        self.activation(source, where)
        x, y = (self.raw.tensors[i] for i in (index, output))
        widths = np.array(self.integers(operator.inputs[1], where), np.int64)
        in_range = widths.size == 8 and np.all((widths >= 0) & (widths <= MAX_WINDOW))
        if len(x.shape) != 4 or not in_range or np.any(widths[[0, 1, 6, 7]]):
            raise GraphError(f"{where}: only the padding of height and width of an NHWC tensor is supported, by "
                             f"0..{MAX_WINDOW}, not {widths.tolist()} of the shape {x.shape}")
        widths = widths.reshape(4, 2)
        if output in self.padded or self.names[output] in self.graph.tensors:
            raise GraphError(f"{where} computes {y.name!r}, which is computed already")
        if y.shape != tuple((x.shape + widths.sum(1)).tolist()):
            raise GraphError(f"{where}: the output is declared as {y.shape}, which is not {x.shape} padded by "
                             f"{widths.tolist()}")
        known = self.graph.tensors.get(self.names[source])
        q = y.quantization
        if y.dtype != "INT8" or q is None or known.quantization is None or not (
                np.array_equal(q.scale, known.quantization.scale)
                and np.array_equal(q.zero_point, known.quantization.zero_point)):
            raise GraphError(f"{where}: input and output must be int8 with the same quantization")
        self.padded[output] = source, widths + before

    def mean(self, operator: RawOperator, where: str) -> tuple[Op, list[str]]:
        x, axes = self.raw.tensors[operator.inputs[0]], self.integers(operator.inputs[1], where)
        if len(x.shape) != 4 or sorted({axis % 4 for axis in axes}) != [1, 2] or min(axes) < -4 or max(axes) > 3:
            raise GraphError(f"{where}: only the mean over height and width of an NHWC tensor is supported, not over "
                             f"axes {axes} of the shape {x.shape}")
        if operator.options["keep_dims"] != (len(self.raw.tensors[operator.outputs[0]].shape) == 4):
            raise GraphError(f"{where}: keep_dims does not match the output's shape")
        return Mean(), [self.activation(operator.inputs[0], where)]

    def add(self, operator: RawOperator, where: str) -> tuple[Op, list[str]]:
        return Add(self.clamp(operator, where)), [self.activation(i, where) for i in operator.inputs]

    def reshape(self, operator: RawOperator, where: str) -> tuple[Op, list[str]]:
        if len(operator.inputs) == 2 and operator.inputs[1] >= 0:
            wanted, shape = self.integers(operator.inputs[1], where), self.raw.tensors[operator.outputs[0]].shape
            if len(wanted) != len(shape) or any(a not in (-1, b) for a, b in zip(wanted, shape, strict=True)):
                raise GraphError(f"{where}: the output is declared as {shape}, the operator makes {wanted}")
        return Reshape(), [self.activation(operator.inputs[0], where)]

    def softmax(self, operator: RawOperator, where: str) -> tuple[Op, list[str]]:
        return Softmax(float(operator.options["beta"])), [self.activation(operator.inputs[0], where)]

    def integers(self, index: int, where: str) -> tuple[int, ...]:
        """The values of a small constant that says how, not what, to compute: axes or a shape."""
        if index < 0:
            raise GraphError(f"{where}: an input is missing")
        raw = self.raw.tensors[index]
        if raw.dtype != "INT32" or raw.data is None or prod(raw.shape) > 8:
            raise GraphError(f"{where}: {raw.name!r} must be a constant of at most 8 INT32 values, not {raw.dtype} "
                             f"of shape {raw.shape}{' computed at run time' if raw.data is None else ''}")
        return tuple(_data(raw).ravel().tolist())


_CONVERT = {
    "CONV_2D": _Importer.conv, "DEPTHWISE_CONV_2D": _Importer.depthwise, "FULLY_CONNECTED": _Importer.fully_connected,
    "ADD": _Importer.add, "MAX_POOL_2D": _Importer.pool, "AVERAGE_POOL_2D": _Importer.pool, "MEAN": _Importer.mean,
    "SOFTMAX": _Importer.softmax, "RESHAPE": _Importer.reshape,
}
_ARITY = {name: (1,) for name in _CONVERT} | {
    "CONV_2D": (2, 3), "DEPTHWISE_CONV_2D": (2, 3), "FULLY_CONNECTED": (2, 3), "ADD": (2,), "MEAN": (2,),
    "RESHAPE": (1, 2), "PAD": (2,)}


def _unique_names(tensors: list[RawTensor]) -> list[str]:
    """The tensors' names; TFLite knows them by index and allows duplicates."""
    names, seen = [], set()
    for index, tensor in enumerate(tensors):
        name = tensor.name if tensor.name not in seen else f"{tensor.name}#{index}"
        while name in seen:
            name += "'"
        seen.add(name)
        names.append(name)
    return names


def _data(raw: RawTensor) -> np.ndarray | None:
    if raw.data is None:
        return None
    dtype = DTYPES[raw.dtype].newbyteorder("<")
    size = prod(raw.shape) * dtype.itemsize
    if raw.data.size != size:
        raise GraphError(f"tensor {raw.name!r} of shape {raw.shape} {raw.dtype} must have {size} bytes of data, "
                         f"the file has {raw.data.size}")
    data = np.frombuffer(raw.data.tobytes(), dtype).astype(DTYPES[raw.dtype], copy=False).reshape(raw.shape)
    data.flags.writeable = False
    return data
