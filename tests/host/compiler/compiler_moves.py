"""Graphs that move data about: concatenations, slices, larger images."""

import numpy as np
from lepton.graph import (
    Arithmetic,
    Bilinear,
    Concat,
    Gather,
    Pad,
    Resize,
    Slice,
    Tensor,
    TransposeConv2D,
)

from tests.host.compiler.compiler_graphs import Builder, quantization

Q = quantization(0.05, -3)
# Kinds of images that are made of few pixels of another, and their arithmetic
RESAMPLED = {"nearest": Arithmetic.FIXED, "bilinear": Arithmetic.FIXED, "torch": Arithmetic.TORCH,
             "unsigned": Arithmetic.FLOAT, "pad": Arithmetic.FIXED, "gather": Arithmetic.FIXED}


def builder(shape, seed):
    b = Builder(shape, seed)
    b.graph.tensors["image"].quantization = Q
    return b


def concat(b, *names):
    shape = b.shape(names[0])
    out = b.node(Concat(len(shape) - 1), names, (*shape[:-1], sum(b.shape(n)[-1] for n in names)), same=True)
    return out


def take(b, x, begin, end, step=1):
    shape = b.shape(x)
    count = len(range(begin, end, step))
    op = Slice((0,) * (len(shape) - 1) + (begin,), (*shape[:-1], end), (1,) * (len(shape) - 1) + (step,))
    return b.node(op, [x], (*shape[:-1], count), same=True)


def conv(b, x, channels, kernel=(1, 1), **attributes):
    """All tensors here have one quantization, so that any of them may be joined."""
    x = b.conv(x, channels, kernel, **attributes)
    b.graph.tensors[x].quantization = Q
    return x


def enlarged(b, x, steps, **options):
    _, height, width, channels = b.shape(x)
    options = {"coordinates": "asymmetric", "nearest": "floor"} | options
    size = height * steps[0], width * steps[1]
    return b.node(Resize(size, **options), [x], (1, *size, channels), same=True)


def transposed(b, x, outputs, kernel, stride, padding=((0, 0), (0, 0)), size=None):
    inputs = b._constants(x, (outputs, *kernel, b.shape(x)[3]), 0, True)
    size = tuple(size or [n * s for n, s in zip(b.shape(x)[1:3], stride, strict=True)])
    return b.node(TransposeConv2D(size, stride, padding), inputs, (1, *size, outputs))


def resampled(b, x, kind, random):
    """An operator of one kind of `RESAMPLED` on `x`, with random attributes."""
    _, height, width, channels = b.shape(x)
    if kind == "pad":
        mode = str(random.choice(["reflect", "edge", "symmetric"]))
        most = {"reflect": -1, "symmetric": 0, "edge": 3}[mode]
        rows, columns = (tuple(map(int, random.integers(0, n + most + 1, 2))) for n in (height, width))
        shape = (1, height + sum(rows), width + sum(columns), channels)
        return b.node(Pad(((0, 0), rows, columns, (0, 0)), 0, mode), [x], shape, same=True)
    if kind == "gather":
        axis = int(random.integers(1, 3))
        extent = b.shape(x)[axis]
        indices = random.choice([np.arange(extent)[::-1], np.roll(np.arange(extent), 2),
                                 random.integers(0, extent, extent)])
        name = f"indices{len(b.graph.nodes)}"
        b.graph.tensors[name] = Tensor(name, indices.shape, np.dtype(np.int32), None, indices.astype(np.int32))
        return b.node(Gather(axis), [x, name], b.shape(x), same=True)
    if kind == "torch":
        corners = bool(random.integers(2))
        size = (height * 2, width * 3) if not corners else (int(random.integers(1, 2 * height)), 2 * width - 1)
        return b.node(Bilinear(size, corners), [x], (1, *size, channels))
    if kind == "nearest":
        size = tuple(map(int, random.integers(1, 14, 2)))
        options = {"coordinates": str(random.choice(["half_pixel", "asymmetric", "align_corners"]))}
    else:
        size = height * int(random.choice([1, 2, 4])), width * int(random.choice([1, 2, 8]))
        options = {"coordinates": str(random.choice(["half_pixel", "asymmetric"])), "mode": "bilinear",
                   "unsigned": kind == "unsigned", "in_float": bool(kind == "unsigned" and random.integers(2))}
    options["nearest"] = "floor" if options["coordinates"] == "asymmetric" else "round_prefer_ceil"
    return b.node(Resize(size, **options), [x], (1, *size, channels), same=True)


def random_moves(seed):
    """A graph of several of them between other operators."""
    random = np.random.default_rng(seed)
    b = builder((1, *map(int, random.integers(1, 9, 2)), int(random.integers(1, 40))), seed)
    made = ["image"]
    for _ in range(int(random.integers(3, 9))):
        x = str(random.choice(made))
        channels = b.shape(x)[-1]
        kind = random.choice(["conv", "concat", "slice", "pool", "depthwise", "add", "enlarged", "transposed"])
        if kind == "concat":
            same = [name for name in made if b.shape(name)[1:3] == b.shape(x)[1:3]]
            made.append(concat(b, *map(str, random.choice(same, int(random.integers(1, 4))))))
        elif kind == "slice":
            begin = int(random.integers(0, channels))
            step = int(random.integers(1, 4))
            made.append(take(b, x, begin, int(random.integers(begin + 1, channels + 1)), step))
        elif kind == "pool":
            made.append(b.max_pool(x, kernel=(1, 1), stride=(1, 1)))
        elif kind == "add":
            made.append(b.add(x, x))
            b.graph.tensors[made[-1]].quantization = Q
        elif kind in ("enlarged", "transposed") and b.shape(x)[1] * b.shape(x)[2] <= 36:
            made.append(enlarged(b, x, (2, 1)) if kind == "enlarged" else transposed(b, x, 7, (3, 3), (2, 2)))
            b.graph.tensors[made[-1]].quantization = Q
        elif kind == "depthwise":
            made.append(b.depthwise(x, (3, 3), padding=((1, 1), (1, 1))))
            b.graph.tensors[made[-1]].quantization = Q
        else:
            made.append(conv(b, x, int(random.integers(1, 40)), (3, 3), padding=((1, 1), (1, 1))))
    chosen = list(dict.fromkeys([made[-1], *map(str, random.choice(made[1:], 2))]))
    return b.done(*chosen)
