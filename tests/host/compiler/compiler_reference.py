"""TFLite's int8 reference kernels, written a second time, pixel by pixel and without any part of the compiler.

An oracle for what cannot be put into a TFLite file: any clamp range, any padding of pools.
"""

import math

import numpy as np
from lepton.graph import (
    Add,
    AveragePool2D,
    Conv2D,
    DepthwiseConv2D,
    FullyConnected,
    MaxPool2D,
    Mean,
    Mul,
    Reshape,
    Table,
)


def _multiplier(real):
    mantissa, shift = math.frexp(real)
    return math.floor(mantissa * (1 << 31) + 0.5), shift


def _high_multiply(a, b):
    product = a * b
    nudge = (1 << 30) if product >= 0 else 1 - (1 << 30)
    total = product + nudge
    return total >> 31 if total >= 0 else -(-total >> 31)


def _divide(x, exponent):
    mask = (1 << exponent) - 1
    return (x >> exponent) + ((x & mask) > ((mask >> 1) + (x < 0)))


def _requantize(x, multiplier, shift):
    x = int(np.int64(x).astype(np.int32))
    return _divide(_high_multiply(x * (1 << max(shift, 0)), multiplier), max(-shift, 0))


def _round_once(x, multiplier, shift):
    """What LiteRT's fully connected kernels do, where its convolutions round twice."""
    return (int(x) * multiplier + (1 << 30 - shift)) >> 31 - shift


def _scale(tensor):
    return float(np.float32(tensor.quantization.scale.ravel()[0]))


def _zero(tensor):
    return int(tensor.quantization.zero_point.ravel()[0])


def _windows(x, kernel, op, fill):
    """(Ho, Wo, Kh, Kw, C) patches of an (H, W, C) array."""
    dilation = getattr(op, "dilation", (1, 1))
    padded = np.pad(x, (*op.padding, (0, 0)), constant_values=fill)
    reach = [(k - 1) * d + 1 for k, d in zip(kernel, dilation, strict=True)]
    view = np.lib.stride_tricks.sliding_window_view(padded, reach, axis=(0, 1))
    view = view[::op.stride[0], ::op.stride[1], :, ::dilation[0], ::dilation[1]]
    return view.transpose(0, 1, 3, 4, 2)


def _conv(graph, node, x):
    op = node.op
    source = graph.tensors[node.inputs[0]]
    w = _weights(graph, node)
    patches = _windows(x[0].astype(np.int64), w.shape[1:3], op, _zero(source)) - _zero(source)
    groups = patches.reshape(*patches.shape[:4], op.groups, -1)
    by_group = w.reshape(op.groups, -1, *w.shape[1:])
    acc = np.einsum("yxabgc,goabc->yxgo", groups, by_group).reshape(*patches.shape[:2], -1)
    return _finished(graph, node, acc, _products(graph, node, acc.shape[2]), _requantize)


def _depthwise(graph, node, x):
    op = node.op
    source = graph.tensors[node.inputs[0]]
    w = _weights(graph, node)
    patches = _windows(x[0].astype(np.int64), w.shape[1:3], op, _zero(source)) - _zero(source)
    acc = (np.repeat(patches, op.multiplier, axis=4) * w[0]).sum(axis=(2, 3))
    return _finished(graph, node, acc, _products(graph, node, acc.shape[2]), _requantize)


def _dense(graph, node, x):
    source = graph.tensors[node.inputs[0]]
    weights = graph.tensors[node.inputs[1]]
    acc = (_weights(graph, node) @ (x.reshape(-1).astype(np.int64) - _zero(source)))[None, None]
    scales = _products(graph, node, acc.shape[2])
    if weights.quantization.scale.size == 1:  # multiplied in float32, where other layers and scales take double
        product = source.quantization.scale.astype(np.float32) * weights.quantization.scale.astype(np.float32)
        scales = [float(product[0])] * acc.shape[2]
    return _finished(graph, node, acc, scales, _round_once)


def _weights(graph, node):
    return graph.tensors[node.inputs[1]].data.astype(np.int64)


def _products(graph, node, channels):
    """The scale of the input times that of the weights, by output channel."""
    source = graph.tensors[node.inputs[0]]
    weights = graph.tensors[node.inputs[1]]
    return [_scale(source) * float(np.float32(s)) for s in np.broadcast_to(weights.quantization.scale, channels)]


def _finished(graph, node, acc, products, rescale):
    """The output of a layer's sums (height, width, channels)."""
    output = graph.tensors[node.outputs[0]]
    if len(node.inputs) > 2 and node.inputs[2]:
        acc = acc + graph.tensors[node.inputs[2]].data
    pairs = [_multiplier(product / _scale(output)) for product in products]
    result = np.empty(acc.shape, np.int64)
    for index, value in np.ndenumerate(acc):
        result[index] = rescale(value, *pairs[index[2]]) + _zero(output)
    return np.clip(result, *node.op.clamp).reshape(output.shape)


def _max_pool(graph, node, x):
    op = node.op
    return np.clip(_windows(x[0].astype(np.int64), op.kernel, op, -128).max(axis=(2, 3)), *op.clamp)[None]


def _average_pool(graph, node, x):
    op = node.op
    values = x[0].astype(np.int64)
    total = _windows(values, op.kernel, op, 0).sum(axis=(2, 3))
    count = _windows(np.ones_like(values), op.kernel, op, 0).sum(axis=(2, 3))
    rounded = np.where(total > 0, (total + count // 2) // count, -((-total + count // 2) // count))
    return np.clip(rounded, *op.clamp)[None]


def _mean(graph, node, x):
    source = graph.tensors[node.inputs[0]]
    output = graph.tensors[node.outputs[0]]
    count = x.shape[1] * x.shape[2]
    multiplier, shift = _multiplier(_scale(source) / _scale(output))
    by = min(count.bit_length() - 1, 32, 31 + shift)
    total = x.astype(np.int64).sum(axis=(0, 1, 2)) - _zero(source) * count
    values = [_requantize(t, (multiplier << by) // count, shift - by) + _zero(output) for t in total]
    return np.clip(values, -128, 127).reshape(output.shape)


def _add(graph, node, a, b):
    t = [graph.tensors[name] for name in node.inputs]
    output = graph.tensors[node.outputs[0]]
    twice = 2 * max(map(_scale, t))
    pairs = [_multiplier(_scale(x) / twice) for x in t]
    last = _multiplier(twice / ((1 << 20) * _scale(output)))
    a, b = np.broadcast_arrays(a, b)
    result = np.empty(a.shape, np.int64)
    for index in np.ndindex(a.shape):
        scaled = sum(_requantize((int(v[index]) - _zero(x)) << 20, *p)
                     for v, x, p in zip((a, b), t, pairs, strict=True))
        result[index] = _requantize(scaled, *last) + _zero(output)
    return np.clip(result, *node.op.clamp)


def _mul(graph, node, a, b):
    t = [graph.tensors[name] for name in node.inputs]
    output = graph.tensors[node.outputs[0]]
    # a product of float32 in TFLite (kernels/mul.cc)
    factor = _multiplier(float(np.prod(np.float32([_scale(t[0]), _scale(t[1])])) / np.float32(_scale(output))))
    product = (a.astype(np.int64) - _zero(t[0])) * (b.astype(np.int64) - _zero(t[1]))
    result = np.vectorize(lambda p: _requantize(int(p), *factor), otypes=[np.int64])(product)
    return np.clip(result + _zero(output), *node.op.clamp)


def _table(graph, node, x):
    return np.frombuffer(node.op.values, np.int8)[x.astype(int) + 128]


def _reshape(graph, node, x):
    return x.reshape(graph.tensors[node.outputs[0]].shape)


_KERNELS = {Conv2D: _conv, DepthwiseConv2D: _depthwise, FullyConnected: _dense, MaxPool2D: _max_pool,
            AveragePool2D: _average_pool, Mean: _mean, Add: _add, Mul: _mul, Table: _table, Reshape: _reshape}


def reference(graph, inputs):
    """Outputs of a graph without Softmax."""
    values = dict(inputs)
    for node in graph.nodes:
        operands = [values[name] for name in node.inputs if name in values]
        values[node.outputs[0]] = _KERNELS[type(node.op)](graph, node, *operands).astype(np.int8)
    return {name: values[name] for name in graph.outputs}
