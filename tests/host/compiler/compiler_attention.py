"""Graphs with products of two computed tensors, as front ends make them."""

import numpy as np
from lepton.graph import MatMul, Transpose

from tests.host.compiler.compiler_graphs import Builder, quantization


def product(b, x, y, shape):
    """A MatMul whose result fills the range of an int8."""
    depth = b.shape(x)[-1]
    name = b.node(MatMul(), [x, y], shape)
    scale = 60 * np.sqrt(depth) * float(b.graph.tensors[x].scale) * float(b.graph.tensors[y].scale)
    b.graph.tensors[name].quantization = quantization(scale, int(b.random.integers(-20, 20)))
    return name


def transposed(b, x, order):
    shape = b.shape(x)
    return b.node(Transpose(order), [x], tuple(shape[axis] for axis in order), same=True)


def attention(queries, keys, heads, size, seed, zeros=(0, 0, 0), softmax=False):
    """Attention between layers, with or without its softmax; `zeros` are those of queries, keys and values."""
    channels = heads * size
    b = Builder((1, 1, queries, 9), seed)
    b.graph.inputs.append(b._activation("other", (1, 1, keys, 9)))
    parts = []
    for source, zero in zip(("image", "other", "other"), zeros, strict=True):
        x = b.conv(source, channels, (1, 1))
        b.graph.tensors[x].quantization = quantization(0.05, zero)
        parts.append(b.reshape(x, (1, b.shape(x)[2], heads, size)))
    q, k, v = (transposed(b, x, order) for x, order in zip(parts, ((0, 2, 1, 3), (0, 2, 3, 1), (0, 2, 1, 3)),
                                                           strict=True))
    scores = product(b, q, k, (1, heads, queries, keys))
    scores = b.softmax(scores) if softmax else scores
    mixed = transposed(b, product(b, scores, v, (1, heads, queries, size)), (0, 2, 1, 3))
    return b.done(b.conv(b.reshape(mixed, (1, 1, queries, channels)), 7, (1, 1)))


def random_attention(seed):
    random = np.random.default_rng([seed, 14])
    heads = int(random.integers(1, 17))
    size = int(random.choice([4, 8, 16, 20, 5, 33]))
    queries, keys = (int(n) for n in random.choice([1, 2, 3, 17, 40, 64, 150, 300], 2) if n)
    if heads * queries * keys > 3_000:
        heads = max(3_000 // (queries * keys), 1)
        queries = min(queries, 3_000 // keys)
    zeros = [int(z) for z in random.choice([0, 0, -128, 127, 5, -3], 3)]
    return attention(queries, keys, heads, size, seed, zeros)


def batched(batch, rows, columns, depth, seed, transposed_a=False, transposed_b=False):
    """One product of two inputs (batch, rows, depth) and (batch, depth, columns), or transposed matrices."""
    swap = (*range(len(batch)), len(batch) + 1, len(batch))
    b = Builder((*batch, *((depth, rows) if transposed_a else (rows, depth))), seed)
    b.graph.inputs.append(b._activation("other", (*batch, *((columns, depth) if transposed_b else (depth, columns)))))
    x = transposed(b, "image", swap) if transposed_a else "image"
    y = transposed(b, "other", swap) if transposed_b else "other"
    product(b, x, y, (*batch, rows, columns))
    return b.done()
