"""The graph's operators in plain numpy, as the tests understand their contracts: slow, and shares nothing with the
compiler."""

import numpy as np
from lepton import graph as g

F = np.float32


def run(graph, feeds):
    values = {n: t.data for n, t in graph.tensors.items() if t.data is not None} | feeds
    for name in graph.inputs:
        assert values[name].shape == graph.tensors[name].shape and values[name].dtype == graph.tensors[name].dtype
    for node in graph.nodes:
        inputs = [values[n] if n else None for n in node.inputs]
        out = graph.tensors[node.outputs[0]]
        tensors = [graph.tensors[n] if n else None for n in node.inputs]
        result = _OPS[type(node.op)](node.op, inputs, tensors, out)
        assert result.shape == out.shape, (node, result.shape, out.shape)
        assert result.dtype == out.dtype, (node, result.dtype, out.dtype)
        values[out.name] = result
    return [values[n] for n in graph.outputs]


def zp(t):
    return int(t.quantization.zero_point[0])


def sc(t):
    return F(t.quantization.scale[0])


def saturate(v, clamp=(-128, 127)):
    return np.clip(v, *clamp).astype(np.int8)


def requant(acc, x, w_scale, out, clamp):
    scale = (sc(x) * w_scale.astype(F)) / sc(out)
    return saturate(np.rint(acc.astype(F) * scale) + zp(out), clamp)


def window(x, kernel, stride, dilation, padding, fill):
    x = np.pad(x, ((0, 0), *padding, (0, 0)), constant_values=fill)
    span = [(k - 1) * d + 1 for k, d in zip(kernel, dilation, strict=True)]
    views = np.lib.stride_tricks.sliding_window_view(x, span, (1, 2))  # N, H, W, C, kh, kw
    return views[:, ::stride[0], ::stride[1], :, ::dilation[0], ::dilation[1]]


def conv(op, inputs, tensors, out):
    x, w, b = inputs
    wz = tensors[1].quantization.zero_point
    groups = getattr(op, "groups", None)
    if isinstance(op, g.DepthwiseConv2D):
        groups = x.shape[3]
        w = w[0].transpose(2, 0, 1)[..., None]
    w = w.astype(np.int64) - wz.reshape(-1, *([1] * 3)) if wz.size > 1 else w.astype(np.int64) - wz[0]
    v = window(x.astype(np.int64) - zp(tensors[0]), w.shape[1:3], op.stride, op.dilation, op.padding, 0)
    o, c = w.shape[0] // groups, w.shape[3]
    acc = np.concatenate([np.einsum("nhwcij,oijc->nhwo", v[:, :, :, i * c:(i + 1) * c], w[i * o:(i + 1) * o],
                                    optimize=True) for i in range(groups)], -1)
    if b is not None:
        acc = acc + b
    return requant(acc, tensors[0], tensors[1].quantization.scale, out, op.clamp)


def transpose_conv(op, inputs, tensors, out):
    x, w, b = inputs
    w = w.astype(np.int64) - tensors[1].quantization.zero_point.reshape(-1, 1, 1, 1)
    x = x.astype(np.int64) - zp(tensors[0])
    n, h, wd, _ = x.shape
    kh, kw = w.shape[1:3]
    (top, _), (left, _) = op.padding
    oh, ow = out.shape[1:3]
    extents = max((h - 1) * op.stride[0] + kh, oh + top), max((wd - 1) * op.stride[1] + kw, ow + left)
    full = np.zeros((n, *extents, w.shape[0]), np.int64)
    for y in range(h):
        for z in range(wd):
            full[:, y * op.stride[0]:y * op.stride[0] + kh, z * op.stride[1]:z * op.stride[1] + kw] += np.einsum(
                "nc,oijc->nijo", x[:, y, z], w)
    acc = full[:, top:top + oh, left:left + ow]
    if b is not None:
        acc = acc + b
    return requant(acc, tensors[0], tensors[1].quantization.scale, out, op.clamp)


def fully_connected(op, inputs, tensors, out):
    x, w, b = inputs
    wz = tensors[1].quantization.zero_point
    w = w.astype(np.int64) - wz.reshape(-1, 1)
    rows = x.reshape(-1, w.shape[1]).astype(np.int64) - zp(tensors[0])
    acc = rows @ w.T + (0 if b is None else b)
    return requant(acc, tensors[0], tensors[1].quantization.scale, out, op.clamp).reshape(out.shape)


def matmul(op, inputs, tensors, out):
    a, b = (v.astype(np.int64) - zp(t) for v, t in zip(inputs, tensors, strict=True))
    return requant(a @ b, tensors[0], tensors[1].quantization.scale, out, op.clamp)


def max_pool(op, inputs, tensors, out):
    x = inputs[0]
    low = -np.inf if x.dtype == F else np.iinfo(x.dtype).min
    return window(x, op.kernel, op.stride, (1, 1), op.padding, low).max((4, 5))


def average_pool(op, inputs, tensors, out):
    x = inputs[0]
    quantized = x.dtype == np.int8
    real = (x.astype(np.int32) - zp(tensors[0])).astype(F) * sc(tensors[0]) if quantized else x
    v = window(real, op.kernel, op.stride, (1, 1), op.padding, 0)
    inside = window(np.ones(x.shape, F), op.kernel, op.stride, (1, 1), op.padding, 0).sum((4, 5))
    total = np.zeros(v.shape[:4], F)
    for i in range(v.shape[4]):
        for j in range(v.shape[5]):
            total = total + v[..., i, j]
    mean = total / (F(op.kernel[0] * op.kernel[1]) if op.count_padding else inside)
    up = 128 if op.unsigned else 0
    return saturate(np.rint(mean / sc(out) + F(zp(out) + up)) - up) if quantized else mean


def mean(op, inputs, tensors, out):
    x = inputs[0].astype(np.int64) - zp(tensors[0])
    count = x.shape[1] * x.shape[2]
    scale = sc(tensors[0]) / (sc(out) * F(count))
    return saturate(np.rint(x.sum((1, 2), keepdims=True).astype(F) * scale) + zp(out)).reshape(out.shape)


def reduce(op, inputs, tensors, out):
    f = {"sum": np.sum, "mean": np.mean, "max": np.max, "min": np.min, "prod": np.prod}[op.kind]
    return f(inputs[0], axis=op.axes, keepdims=op.keep_dims).astype(out.dtype)


def fma(a, b, c):
    return (a.astype(np.float64) * np.float64(b) + c).astype(F)


def add(op, inputs, tensors, out):
    a, b = inputs
    if a.dtype != np.int8:
        return a + b
    ra, rb = sc(tensors[0]) / sc(out), sc(tensors[1]) / sc(out)
    up = 128 if op.unsigned else 0
    fixed = F(zp(out) + up) - (ra * F(zp(tensors[0]) + up) + rb * F(zp(tensors[1]) + up))
    return saturate(np.rint(fma(a.astype(F) + F(up), ra, fma(b.astype(F) + F(up), rb, fixed))) - up, op.clamp)


def mul(op, inputs, tensors, out):
    a, b = inputs
    if a.dtype != np.int8:
        return a * b
    product = (a.astype(np.int32) - zp(tensors[0])) * (b.astype(np.int32) - zp(tensors[1]))
    scale = sc(tensors[0]) * sc(tensors[1]) / sc(out)
    up = 128 if op.unsigned else 0
    return saturate(np.rint(product.astype(F) * scale + F(zp(out) + up)) - up, op.clamp)


def erf(x):
    import math
    return np.vectorize(math.erf)(x).astype(F)


_UNARY = {"exp": np.exp, "log": np.log, "sqrt": np.sqrt, "neg": np.negative, "abs": np.abs,
          "relu": lambda x: np.maximum(x, 0), "sigmoid": lambda x: (1 / (1 + np.exp(-x.astype(np.float64)))).astype(F),
          "tanh": np.tanh, "erf": erf, "floor": np.floor, "ceil": np.ceil, "round": np.rint,
          "reciprocal": lambda x: F(1) / x, "not": np.logical_not}


def unary(op, inputs, tensors, out):
    return inputs[0].astype(out.dtype) if op.kind == "cast" else _UNARY[op.kind](inputs[0])


def softmax(op, inputs, tensors, out):
    x = inputs[0]
    if x.dtype == F:
        e = np.exp(op.beta * (x - x.max(op.axis, keepdims=True)))
        return (e / e.sum(op.axis, keepdims=True)).astype(F)
    scale, length = float(sc(tensors[0])), x.shape[op.axis]
    room = max(0.0, np.log(np.float64(F(np.finfo(F).max) / F(length))) - 5) / float(F(scale))
    table = np.exp((np.arange(256) - 255 + room) * scale).astype(F)
    codes = x.astype(np.int32) + 128
    e = np.moveaxis(table[codes + 255 - codes.max(op.axis, keepdims=True)], op.axis, -1)
    total = np.zeros(e.shape[:-1], F)
    for i in range(length):
        total = total + e[..., i]
    y = np.rint((e * np.floor(F(1) / sc(out))) / total[..., None]) + zp(out)
    return np.moveaxis(saturate(y), -1, op.axis)


def table(op, inputs, tensors, out):
    return np.frombuffer(op.values, np.int8)[inputs[0].astype(np.int16) + 128]


def quantize(op, inputs, tensors, out):
    info = np.iinfo(out.dtype)
    return np.clip(np.rint(inputs[0] / sc(out)) + zp(out), info.min, info.max).astype(out.dtype)


def dequantize(op, inputs, tensors, out):
    return (inputs[0].astype(np.int32) - zp(tensors[0])).astype(F) * sc(tensors[0])


def recenter(op, inputs, tensors, out):
    return (inputs[0].astype(np.int16) + (128 if out.dtype == np.uint8 else -128)).astype(out.dtype)


def slice_(op, inputs, tensors, out):
    triples = zip(op.begin, op.end, op.step, strict=True)
    return inputs[0][tuple(slice(begin, None if end < 0 else end, step) for begin, end, step in triples)]


def pad(op, inputs, tensors, out):
    kw = {"constant_values": op.value} if op.mode == "constant" else {}
    return np.pad(inputs[0], op.widths, op.mode, **kw)


def resize(op, inputs, tensors, out):
    x = inputs[0]
    axes = []
    for i in range(2):
        n, m = x.shape[1 + i], out.shape[1 + i]
        scale = F(op.scales[i]) if op.scales else F(m) / F(n)
        p = np.arange(m, dtype=F)
        if op.coordinates == "asymmetric":
            c = p / scale
        elif op.coordinates == "align_corners":
            c = p * F(n - 1) / F(m - 1) if m > 1 else p * 0
        elif op.coordinates == "pytorch_half_pixel" and m == 1:
            c = p * 0
        else:
            c = (p + F(0.5)) / scale - F(0.5)
        axes.append(c)
    if op.mode == "nearest":
        f = {"floor": np.floor, "ceil": np.ceil, "round_prefer_floor": lambda c: np.ceil(c - F(0.5)),
             "round_prefer_ceil": lambda c: np.floor(c + F(0.5))}[op.nearest]
        iy, ix = (np.clip(f(c), 0, n - 1).astype(int) for c, n in zip(axes, x.shape[1:3], strict=True))
        return x[:, iy][:, :, ix]
    lo, hi, a = [], [], []
    for c, n in zip(axes, x.shape[1:3], strict=True):
        c = np.clip(c, 0, n - 1)
        i = np.minimum(c.astype(int), n - 1)
        j = np.minimum(i + 1, n - 1)
        d1, d2 = np.abs(c - i.astype(F)), np.abs(c - j.astype(F))
        d1, d2 = np.where(i == j, F(0.5), d1), np.where(i == j, F(0.5), d2)
        lo.append(i), hi.append(j), a.append((d1, d2))
    (y1, y2), (x1, x2) = zip(lo, hi, strict=True)
    (dy1, dy2), (dx1, dx2) = ((d[0][:, None, None], d[1][:, None, None]) for d in a)
    dx1, dx2 = dx1.reshape(1, -1, 1), dx2.reshape(1, -1, 1)
    return (dx2 * dy2 * x[:, y1][:, :, x1] + dx1 * dy2 * x[:, y1][:, :, x2] + dx2 * dy1 * x[:, y2][:, :, x1]
            + dx1 * dy1 * x[:, y2][:, :, x2]).astype(F)


_OPS = {g.Conv2D: conv, g.DepthwiseConv2D: conv, g.TransposeConv2D: transpose_conv,
        g.FullyConnected: fully_connected, g.MatMul: matmul, g.MaxPool2D: max_pool, g.AveragePool2D: average_pool,
        g.Mean: mean, g.Reduce: reduce, g.Table: table, g.Add: add, g.Mul: mul, g.Unary: unary, g.Softmax: softmax,
        g.Sub: lambda op, i, t, o: i[0] - i[1], g.Maximum: lambda op, i, t, o: np.maximum(*i),
        g.Minimum: lambda op, i, t, o: np.minimum(*i), g.Quantize: quantize, g.Dequantize: dequantize,
        g.Recenter: recenter, g.Reshape: lambda op, i, t, o: i[0].reshape(o.shape),
        g.Transpose: lambda op, i, t, o: i[0].transpose(op.order),
        g.Concat: lambda op, i, t, o: np.concatenate(i, op.axis), g.Slice: slice_, g.Pad: pad,
        g.Gather: lambda op, i, t, o: np.take(i[0], i[1], op.axis), g.Resize: resize}
