"""What must hold in every `Graph`: names, order, shapes, data types and quantization of each operator.

Front ends check what they have built, the exporter what it is given, so that the compiler meets only
well-formed graphs. The rules are those that TFLite's kernels demand of int8 networks in their `Prepare`.
"""

from math import prod

import numpy as np

from lepton.graph import (
    Add,
    Arithmetic,
    AveragePool2D,
    Conv2D,
    DepthwiseConv2D,
    FullyConnected,
    Graph,
    GraphError,
    MaxPool2D,
    Mean,
    Node,
    Reshape,
    Softmax,
    Tensor,
)

from .geometry import INT8_RANGE, output_size

MAX_WINDOW = 65535  # of strides, dilations, kernels and paddings; far beyond any network, keeps arithmetic small

INPUTS = {Conv2D: 3, DepthwiseConv2D: 3, FullyConnected: 3, MaxPool2D: 1, AveragePool2D: 1, Mean: 1, Add: 2, Reshape: 1,
          Softmax: 1}


def check_graph(graph: Graph) -> Graph:
    """Returns `graph` when it is well formed; raises GraphError that names the node and the tensor otherwise."""
    if not graph.nodes:
        raise GraphError("the network has no operators")
    if not graph.inputs or not graph.outputs:
        raise GraphError(f"the network has {len(graph.inputs)} inputs and {len(graph.outputs)} outputs, at least 1 "
                         "of each is needed")
    known: set[str] = set()
    for name in graph.inputs:
        if name in known:
            raise GraphError(f"tensor {name!r} is listed twice as an input of the network")
        tensor = _tensor(graph, name, "the network's input")
        if tensor.data is not None:
            raise GraphError(f"the network's input {name!r} is a constant")
        if tensor.dtype == np.int8:
            _activation(tensor, "the network's input")
        known.add(name)
    for node in graph.nodes:
        _check_node(graph, node, known)
    for name in graph.outputs:
        if name not in known:
            raise GraphError(f"the network's output {name!r} is computed by no operator")
    return graph


def label(node: Node) -> str:
    return f"{type(node.op).__name__} {node.name!r}"


def _check_node(graph: Graph, node: Node, known: set[str]):
    where = label(node)
    if type(node.op) not in INPUTS or not _is_int8(graph, node):
        _check_order(graph, node, where, known)
        return
    count = INPUTS[type(node.op)]
    if len(node.inputs) != count or len(node.outputs) != 1:
        raise GraphError(f"{where} must have {count} inputs and 1 output, "
                         f"not {len(node.inputs)} and {len(node.outputs)}")
    activations = node.inputs[:2] if isinstance(node.op, Add) else node.inputs[:1]
    inputs = [_tensor(graph, name, where) for name in activations]
    for tensor in inputs:
        if not isinstance(node.op, Add) or tensor.data is None:
            _activation(tensor, where)
    _check_order(graph, node, where, known)
    output = _activation(_tensor(graph, node.outputs[0], where), where)
    clamp = getattr(node.op, "clamp", INT8_RANGE)
    if not INT8_RANGE[0] <= clamp[0] <= clamp[1] <= INT8_RANGE[1]:
        raise GraphError(f"{where}: the clamp range must lie in {INT8_RANGE}, not {clamp}")
    _CHECKS[type(node.op)](graph, node, where, inputs, output)


def _is_int8(graph: Graph, node: Node) -> bool:
    """Do the rules of TFLite's int8 kernels apply? They always do for layers; others also move or compute floats."""
    layer = isinstance(node.op, Conv2D | DepthwiseConv2D | FullyConnected | Mean)
    name = node.inputs[0] if node.inputs else ""
    return layer or (name in graph.tensors and graph.tensors[name].quantization is not None)


def _check_order(graph: Graph, node: Node, where: str, known: set[str]):
    """What holds for every operator: it reads what is there, and computes what is not there yet."""
    for name in filter(None, node.inputs):
        if _tensor(graph, name, where).data is None and name not in known:
            raise GraphError(f"{where} reads {name!r} before any operator has computed it")
    for name in node.outputs:
        if name in known or _tensor(graph, name, where).data is not None:
            raise GraphError(f"{where} computes {name!r}, which is computed already")
        known.add(name)


def _tensor(graph: Graph, name: str, where: str) -> Tensor:
    if name not in graph.tensors:
        raise GraphError(f"{where} names tensor {name!r}, which the graph does not have")
    return graph.tensors[name]


def _activation(tensor: Tensor, where: str) -> Tensor:
    if tensor.data is not None:
        raise GraphError(f"{where}: {tensor.name!r} is a constant, only values computed at run time are supported here")
    _int8(tensor, where)
    _quantized(tensor, where)
    if tensor.quantization.scale.size != 1:
        raise GraphError(f"{where}: activation {tensor.name!r} must be quantized per tensor, "
                         f"not with {tensor.quantization.scale.size} scales")
    return tensor


def _int8(tensor: Tensor, where: str):
    if tensor.dtype != np.int8:
        raise GraphError(f"{where}: {tensor.name!r} has the data type {np.dtype(tensor.dtype).name}; "
                         "activations and weights must be int8")


def _quantized(tensor: Tensor, where: str):
    q = tensor.quantization
    if q is None:
        raise GraphError(f"{where}: {tensor.name!r} is not quantized")
    if q.scale.dtype != np.float32 or q.zero_point.dtype != np.int32 or q.scale.shape != q.zero_point.shape:
        raise GraphError(f"{where}: {tensor.name!r} must have float32 scales and as many int32 zero points")
    if q.scale.ndim != 1 or not q.scale.size or not np.all(np.isfinite(q.scale) & (q.scale > 0)):
        raise GraphError(f"{where}: the scales of {tensor.name!r} must be finite and above 0")
    if np.any((q.zero_point < INT8_RANGE[0]) | (q.zero_point > INT8_RANGE[1])):
        raise GraphError(f"{where}: the zero points of {tensor.name!r} must lie in {INT8_RANGE}")
    if q.scale.size > 1 and not (q.axis is not None and 0 <= q.axis < len(tensor.shape)
                                 and tensor.shape[q.axis] == q.scale.size):
        raise GraphError(f"{where}: {tensor.name!r} of shape {tensor.shape} has {q.scale.size} scales "
                         f"along axis {q.axis}")


def _constant(tensor: Tensor, where: str):
    if tensor.data is None:
        raise GraphError(f"{where}: {tensor.name!r} must be a constant")
    if tensor.data.shape != tensor.shape or tensor.data.dtype != tensor.dtype:
        raise GraphError(f"{where}: {tensor.name!r} is declared as {tensor.shape} {np.dtype(tensor.dtype).name}, "
                         f"its data is {tensor.data.shape} {tensor.data.dtype.name}")


def _weights_and_bias(graph: Graph, node: Node, where: str, rank: int, axis: int) -> Tensor:
    weights = _tensor(graph, node.inputs[1], where)
    _constant(weights, where)
    _int8(weights, where)
    _quantized(weights, where)
    if len(weights.shape) != rank:
        raise GraphError(f"{where}: weights {weights.name!r} must have {rank} dimensions, not {weights.shape}")
    if weights.quantization.scale.size > 1 and weights.quantization.axis != axis:
        raise GraphError(f"{where}: weights {weights.name!r} must be quantized per tensor or along axis {axis} "
                         f"(output channels), not axis {weights.quantization.axis}")
    if node.inputs[2]:
        bias = _tensor(graph, node.inputs[2], where)
        _constant(bias, where)
        if bias.dtype != np.int32 or bias.shape != (weights.shape[axis],):
            raise GraphError(f"{where}: bias {bias.name!r} must be int32 of shape ({weights.shape[axis]},), "
                             f"not {np.dtype(bias.dtype).name} of shape {bias.shape}")
    return weights


def _image(tensor: Tensor, where: str) -> tuple[int, int, int]:
    if len(tensor.shape) != 4:
        raise GraphError(f"{where}: {tensor.name!r} must be (1, height, width, channels), not {tensor.shape}")
    return tensor.shape[1:]


def _shape(output: Tensor, expected: tuple[int, ...], where: str):
    if output.shape != expected:
        raise GraphError(f"{where}: output {output.name!r} is declared as {output.shape}, "
                         f"the operator makes {expected}")


def _window(op, where: str, x: Tensor, kernel: tuple[int, int]) -> tuple[int, int]:
    """Output height and width of a sliding window."""
    height, width, _ = _image(x, where)
    dilation = getattr(op, "dilation", (1, 1))
    for what, values, lowest in (("kernel", kernel, 1), ("stride", op.stride, 1), ("dilation", dilation, 1),
                                 ("padding", sum(op.padding, ()), 0)):
        if not all(lowest <= value <= MAX_WINDOW for value in values):
            raise GraphError(f"{where}: {what} must lie in {lowest}..{MAX_WINDOW}, not {values}")
    axes = zip((height, width), kernel, op.stride, dilation, op.padding, strict=True)
    size = tuple(output_size(*axis) for axis in axes)
    if min(size) < 1:
        raise GraphError(f"{where}: the kernel {kernel} with dilation {dilation} does not fit the input {x.shape} "
                         f"with padding {op.padding}")
    return size


def _conv(graph, node, where, inputs, output):
    weights = _weights_and_bias(graph, node, where, rank=4, axis=0)
    size = _window(node.op, where, inputs[0], weights.shape[1:3])
    channels, groups = inputs[0].shape[3], node.op.groups
    if groups < 1 or channels != weights.shape[3] * groups or weights.shape[0] % groups:
        raise GraphError(f"{where}: weights {weights.shape} in {groups} groups do not match {channels} input channels")
    _shape(output, (inputs[0].shape[0], *size, weights.shape[0]), where)


def _depthwise(graph, node, where, inputs, output):
    weights = _weights_and_bias(graph, node, where, rank=4, axis=3)
    size = _window(node.op, where, inputs[0], weights.shape[1:3])
    channels = inputs[0].shape[3]
    if weights.shape[0] != 1 or node.op.multiplier < 1 or weights.shape[3] != channels * node.op.multiplier:
        raise GraphError(f"{where}: weights {weights.shape} with multiplier {node.op.multiplier} do not match "
                         f"{channels} input channels")
    _shape(output, (inputs[0].shape[0], *size, weights.shape[3]), where)


def _fully_connected(graph, node, where, inputs, output):
    weights = _weights_and_bias(graph, node, where, rank=2, axis=0)
    x = inputs[0]
    if prod(x.shape) % weights.shape[1]:
        raise GraphError(f"{where}: input {x.name!r} of shape {x.shape} must have a multiple of the "
                         f"{weights.shape[1]} elements of a row of the weights {weights.shape}")
    keeps_dimensions = len(output.shape) != 2 and x.shape[-1] == weights.shape[1]
    rows = prod(x.shape) // weights.shape[1]
    _shape(output, (*x.shape[:-1], weights.shape[0]) if keeps_dimensions else (rows, weights.shape[0]), where)


def _pool(graph, node, where, inputs, output):
    size = _window(node.op, where, inputs[0], node.op.kernel)
    for before_after, kernel in zip(node.op.padding, node.op.kernel, strict=True):
        if max(before_after) >= kernel:
            raise GraphError(f"{where}: padding {node.op.padding} must be less than the kernel {node.op.kernel}, "
                             "or windows would be empty")
    a, b = inputs[0].quantization, output.quantization
    if isinstance(node.op, AveragePool2D) and graph.arithmetic is not Arithmetic.FIXED:
        pass  # ONNX Runtime and PyTorch bring the average to any scale
    elif abs(float(a.scale[0]) - float(b.scale[0])) > 1e-6 or a.zero_point[0] != b.zero_point[0]:
        raise GraphError(f"{where}: input and output must have the same quantization, not scale {a.scale[0]} "
                         f"zero point {a.zero_point[0]} and scale {b.scale[0]} zero point {b.zero_point[0]}")
    _shape(output, (inputs[0].shape[0], *size, inputs[0].shape[3]), where)


def _mean(graph, node, where, inputs, output):
    channels = _image(inputs[0], where)[2]
    batch = inputs[0].shape[0]
    _shape(output, (batch, channels) if len(output.shape) == 2 else (batch, 1, 1, channels), where)


def _add(graph, node, where, inputs, output):
    a, b = inputs
    try:
        expected = np.broadcast_shapes(a.shape, b.shape)
    except ValueError:
        raise GraphError(f"{where}: the shapes {a.shape} and {b.shape} do not broadcast") from None
    _shape(output, expected, where)
    if a.dtype != np.int8:
        return
    # TFLite computes with 20 extra bits and aborts unless every multiplier is below 1.
    twice_max = 2.0 * max(float(a.quantization.scale[0]), float(b.quantization.scale[0]))
    if twice_max / (2**20 * float(output.quantization.scale[0])) >= 1.0:
        raise GraphError(f"{where}: the output scale {output.quantization.scale[0]} is too small for input scales of "
                         f"{a.quantization.scale[0]} and {b.quantization.scale[0]}")


def _reshape(graph, node, where, inputs, output):
    if prod(inputs[0].shape) != prod(output.shape):
        raise GraphError(f"{where}: the shapes {inputs[0].shape} and {output.shape} have different numbers of elements")


def _softmax(graph, node, where, inputs, output):
    if not (np.isfinite(node.op.beta) and node.op.beta > 0):
        raise GraphError(f"{where}: beta must be finite and above 0, not {node.op.beta}")
    scale, zero_point = float(output.quantization.scale[0]), int(output.quantization.zero_point[0])
    if abs(scale - 1 / 256) > 0.001 / 256 or zero_point != -128:
        raise GraphError(f"{where}: the output must have scale 1/256 and zero point -128, not {scale} and {zero_point}")
    _shape(output, inputs[0].shape, where)


_CHECKS = {Conv2D: _conv, DepthwiseConv2D: _depthwise, FullyConnected: _fully_connected, MaxPool2D: _pool,
           AveragePool2D: _pool, Mean: _mean, Add: _add, Reshape: _reshape, Softmax: _softmax}
