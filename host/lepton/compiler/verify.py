"""Is the graph well formed, and within what chip and host can compute? Otherwise `GraphError` says what is not."""

import numpy as np

from ..graph import (
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
    Reshape,
    Softmax,
    Tensor,
)

SUPPORTED = (Conv2D, DepthwiseConv2D, FullyConnected, MaxPool2D, AveragePool2D, Mean, Add, Reshape, Softmax)
_CONSTANT_INPUTS = (Conv2D, DepthwiseConv2D, FullyConnected)
_OPERANDS = {Conv2D: 3, DepthwiseConv2D: 3, FullyConnected: 3, Add: 2}
_SAME_QUANTIZATION = (MaxPool2D, AveragePool2D, Reshape)


def label(node: Node) -> str:
    """How errors name a node."""
    return f"{type(node.op).__name__} {node.name or node.outputs[0]!r}"


def image_shape(shape: tuple[int, ...], where: str) -> tuple[int, int, int]:
    """(height, width, channels) of an activation of 1 to 4 dimensions, missing ones being 1."""
    if not 1 <= len(shape) <= 4 or any(n < 1 for n in shape):
        raise GraphError(f"{where}: an activation must have 1 to 4 dimensions of at least 1, not shape {shape}")
    if len(shape) == 4 and shape[0] != 1:
        raise GraphError(f"{where}: the batch must be 1, not {shape[0]}; import the network with batch 1")
    height, width, channels = (1, 1, 1, *(shape[1:] if len(shape) == 4 else shape))[-3:]
    return height, width, channels


def _activation(tensor: Tensor, where: str) -> None:
    if np.dtype(tensor.dtype) != np.int8:
        raise GraphError(f"{where}: {tensor.name!r} must be int8, not {np.dtype(tensor.dtype)}; "
                         "quantize the network to int8")
    q = tensor.quantization
    if q is None or q.scale.size != 1 or q.zero_point.size != 1:
        raise GraphError(f"{where}: {tensor.name!r} must have one scale and one zero point")
    if not (np.isfinite(q.scale[0]) and q.scale[0] > 0):
        raise GraphError(f"{where}: the scale of {tensor.name!r} must be positive and finite, not {q.scale[0]}")
    if not -128 <= q.zero_point[0] <= 127:
        raise GraphError(f"{where}: the zero point of {tensor.name!r} must be in -128..127, not {q.zero_point[0]}")


def _weights(graph: Graph, node: Node, where: str) -> None:
    if len(node.inputs) < 2:
        raise GraphError(f"{where}: needs weights as its second input")
    weights = graph.tensors[node.inputs[1]]
    if weights.data is None:
        raise GraphError(f"{where}: weights {weights.name!r} must be constant; computed weights are not supported")
    if weights.data.dtype != np.int8:
        raise GraphError(f"{where}: weights {weights.name!r} must be int8, not {weights.data.dtype}")
    rank = 2 if isinstance(node.op, FullyConnected) else 4
    if weights.data.ndim != rank:
        raise GraphError(f"{where}: weights {weights.name!r} must have {rank} dimensions, "
                         f"not shape {weights.data.shape}")
    q, outputs = weights.quantization, weights.data.shape[3 if isinstance(node.op, DepthwiseConv2D) else 0]
    if q is None or q.scale.size not in (1, outputs):
        raise GraphError(f"{where}: weights {weights.name!r} must have 1 or {outputs} scales")
    if np.any(np.asarray(q.zero_point) != 0):
        raise GraphError(f"{where}: the zero point of weights {weights.name!r} must be 0 (symmetric), not "
                         f"{int(np.asarray(q.zero_point).ravel()[np.flatnonzero(np.asarray(q.zero_point))[0]])}")
    if len(node.inputs) > 2 and node.inputs[2]:
        bias = graph.tensors[node.inputs[2]]
        if bias.data is None or bias.data.dtype != np.int32 or bias.data.size != outputs:
            raise GraphError(f"{where}: bias {bias.name!r} must be a constant of {outputs} int32 values")


def _window(extent: int, kernel: int, stride: int, dilation: int, padding: tuple[int, int]) -> int:
    return (extent + sum(padding) - (kernel - 1) * dilation - 1) // stride + 1


def _expected_shape(graph: Graph, node: Node, where: str) -> tuple[int, int, int] | None:
    """(height, width, channels) that the operator gives, None where the graph's own word is enough."""
    op, shape = node.op, graph.tensors[node.inputs[0]].shape
    if isinstance(op, Reshape | Softmax | FullyConnected):
        return None
    height, width, channels = image_shape(shape, where)
    if isinstance(op, Add):
        return height, width, channels
    if isinstance(op, Mean):
        return 1, 1, channels
    if isinstance(op, Conv2D | DepthwiseConv2D):
        weights = graph.tensors[node.inputs[1]].data
        kernel, dilation = weights.shape[1:3], op.dilation
        outputs = weights.shape[0] if isinstance(op, Conv2D) else weights.shape[3]
        groups = op.groups if isinstance(op, Conv2D) else channels
        if isinstance(op, Conv2D):
            if weights.shape[3] * groups != channels or outputs % groups:
                raise GraphError(f"{where}: weights of shape {weights.shape} in {groups} groups do not fit "
                                 f"{channels} input channels")
        elif outputs != channels * op.multiplier:
            raise GraphError(f"{where}: weights of shape {weights.shape} do not fit {channels} input channels "
                             f"with multiplier {op.multiplier}")
        channels = outputs
    else:
        kernel, dilation = op.kernel, (1, 1)
    if min(*op.stride, *dilation, *kernel) < 1 or min(sum(op.padding, ())) < 0:
        raise GraphError(f"{where}: strides, dilations and kernel sizes must be at least 1 and paddings at least 0")
    return (_window(height, kernel[0], op.stride[0], dilation[0], op.padding[0]),
            _window(width, kernel[1], op.stride[1], dilation[1], op.padding[1]), channels)


def _check_node(graph: Graph, node: Node, defined: set[str]) -> None:
    where = label(node)
    if not isinstance(node.op, SUPPORTED):
        raise GraphError(f"{where}: operator {type(node.op).__name__} is not supported; "
                         f"supported are {', '.join(c.__name__ for c in SUPPORTED)}")
    for name in [*filter(None, node.inputs), *node.outputs]:
        if name not in graph.tensors:
            raise GraphError(f"{where}: tensor {name!r} is not in the graph")
    limit = _OPERANDS.get(type(node.op), 1)
    low = 2 if isinstance(node.op, Add) else 1
    if not low <= len(node.inputs) <= limit or len(node.outputs) != 1:
        raise GraphError(f"{where}: must have {low} to {limit} inputs and 1 output, not "
                         f"{len(node.inputs)} and {len(node.outputs)}")
    activations = node.inputs[:1] if isinstance(node.op, _CONSTANT_INPUTS) else node.inputs
    for name in activations:
        if name not in defined:
            raise GraphError(f"{where}: input {name!r} is used before anything produces it, or is a constant; "
                             "constant operands are not supported")
    if node.outputs[0] in defined:
        raise GraphError(f"{where}: {node.outputs[0]!r} is produced twice")
    for name in [*activations, *node.outputs]:
        _activation(graph.tensors[name], where)
    if isinstance(node.op, _CONSTANT_INPUTS):
        _weights(graph, node, where)
    source, output = graph.tensors[node.inputs[0]], graph.tensors[node.outputs[0]]
    if isinstance(node.op, Add) and graph.tensors[node.inputs[1]].shape != source.shape:
        raise GraphError(f"{where}: both inputs must have the same shape, not {source.shape} and "
                         f"{graph.tensors[node.inputs[1]].shape}; broadcasting is not supported")
    expected = _expected_shape(graph, node, where)
    if expected is not None and image_shape(output.shape, where) != expected:
        raise GraphError(f"{where}: the output must have (height, width, channels) {expected}, "
                         f"not shape {output.shape}")
    if isinstance(node.op, FullyConnected):
        rows = graph.tensors[node.inputs[1]].data.shape
        if np.prod(source.shape) != rows[1] or np.prod(output.shape) != rows[0]:
            raise GraphError(f"{where}: weights of shape {rows} do not fit input {source.shape} and output "
                             f"{output.shape}; the batch must be 1")
    if isinstance(node.op, Reshape | Softmax) and np.prod(source.shape) != np.prod(output.shape):
        raise GraphError(f"{where}: input {source.shape} and output {output.shape} must have as many elements")
    if isinstance(node.op, _SAME_QUANTIZATION) and (
            source.quantization.scale[0] != output.quantization.scale[0]
            or source.quantization.zero_point[0] != output.quantization.zero_point[0]):
        raise GraphError(f"{where}: input and output must have the same scale and zero point")


def verify(graph: Graph) -> None:
    """Raise `GraphError` for the first thing that is wrong or not supported."""
    for name in [*graph.inputs, *graph.outputs]:
        if name not in graph.tensors:
            raise GraphError(f"graph {graph.name!r}: tensor {name!r} is not in the graph")
    if not graph.inputs or not graph.outputs:
        raise GraphError(f"graph {graph.name!r}: must have at least one input and one output")
    defined = set(graph.inputs)
    for name in graph.inputs:
        _activation(graph.tensors[name], f"graph {graph.name!r}")
    for node in graph.nodes:
        _check_node(graph, node, defined)
        defined.add(node.outputs[0])
    for name in graph.outputs:
        if name not in defined:
            raise GraphError(f"graph {graph.name!r}: nothing produces output {name!r}")
