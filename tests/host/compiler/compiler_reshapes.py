"""Random graphs in which any operator of the chip may stand behind a Reshape, and any Reshape before any other."""

import numpy as np
from lepton.graph import (
    Concat,
    FullyConnected,
    Maximum,
    Pad,
    Recenter,
    Resize,
    Slice,
    Sub,
    Table,
    Tensor,
    TransposeConv2D,
)

from tests.host.compiler.compiler_graphs import Builder, quantization

Q = quantization(0.05, -3)
UNSIGNED = quantization(0.05, 125)
KINDS = ("conv", "depthwise", "max", "average", "mean", "add", "sub", "table", "concat", "slice", "cut", "pad",
         "resize", "transposed", "dense", "rows")
HOST_SHARE = 0.08  # of operators, so that tensors cross between jobs in every shape


class ReshapingBuilder(Builder):
    """All tensors have one quantization, so that any of them may be joined and added."""

    def _activation(self, name, shape, q=None):
        return super()._activation(name, shape, Q if q is None else q)

    def reshaped(self, x):
        """`x`, or a Reshape of it: other rows, other channels, other ranks, now and then several in a row."""
        for _ in range(int(self.random.choice([0, 1, 1, 2]))):
            shape = self.shape(x)
            size = int(np.prod(shape))
            channels = shape[-1]
            kind = self.random.random()
            if kind < 0.55:  # the same channels
                height = self._divisor(size // channels)
                shape = (1, height, size // channels // height, channels)
            elif kind < 0.85:
                channels = self._divisor(size)
                height = self._divisor(size // channels)
                shape = (1, height, size // channels // height, channels)
            elif kind < 0.95:
                channels = self._divisor(size)
                shape = (size // channels, channels)
            else:
                shape = (1, size)
            x = self.reshape(x, shape)
        return x

    def _divisor(self, number):
        return int(self.random.choice([n for n in range(1, number + 1) if number % n == 0]))

    def image(self, x):
        """`x` as (1, height, width, channels)."""
        shape = self.shape(x)
        return x if len(shape) == 4 else self.reshape(x, (1, *((1, 1, *shape)[-3:])))


def append(b, kind, x, made):
    """An operator on `x`; None where it does not fit."""
    random = b.random
    x = b.image(x) if kind not in ("table", "rows", "dense", "add", "sub") else x
    shape = b.shape(x)
    kernel = tuple(int(k) for k in random.integers(1, 4, 2))
    pads = tuple((int(random.integers(0, k)), int(random.integers(0, k))) for k in kernel)
    fits = len(shape) == 4 and all(n + sum(p) >= k for n, p, k in zip(shape[1:3], pads, kernel, strict=True))
    if kind == "conv" and fits:
        return b.conv(x, int(random.integers(1, 24)), kernel, padding=pads, stride=tuple(random.integers(1, 3, 2)))
    if kind == "depthwise" and fits:
        return b.depthwise(x, kernel, padding=pads, multiplier=int(random.choice([1, 1, 2])))
    if kind in ("max", "average") and fits:
        pads = tuple((min(p[0], n - 1), 0) for p, n in zip(pads, shape[1:3], strict=True))
        if all(n + p[0] >= k for n, p, k in zip(shape[1:3], pads, kernel, strict=True)):
            return getattr(b, f"{kind}_pool")(x, kernel=kernel, stride=kernel, padding=pads)
    if kind == "mean":
        return b.mean(x)
    if kind in ("add", "sub"):
        others = [name for name in made if np.prod(b.shape(name)) == np.prod(shape)] or [x]
        other = str(random.choice(others))
        other = other if b.shape(other) == shape else b.reshape(other, shape)
        pair = [x, other] if random.random() < 0.5 else [other, x]
        return b.add(*pair) if kind == "add" else b.node(Sub(), pair, shape)
    if kind == "table":
        values = random.integers(-128, 128, 256).astype(np.int8).tobytes()
        return b.node(Table(values), [x], shape)
    if kind == "concat":
        pixels = shape[1] * shape[2]
        others = [name for name in made if np.prod(b.shape(name)) % pixels == 0] or [x]
        names = [x]
        for name in map(str, random.choice(others, int(random.integers(1, 3)))):
            names.append(b.reshape(name, (*shape[:3], int(np.prod(b.shape(name))) // pixels)))
        return b.node(Concat(3), names, (*shape[:3], sum(b.shape(n)[3] for n in names)))
    if kind == "slice":
        begin = int(random.integers(0, shape[3]))
        step = int(random.integers(1, 3))
        count = len(range(begin, shape[3], step))
        op = Slice((0, 0, 0, begin), shape, (1, 1, 1, step))
        return b.node(op, [x], (*shape[:3], count))
    if kind == "cut":
        begin = tuple(int(random.integers(0, n)) for n in shape[1:3])
        step = tuple(int(s) for s in random.integers(1, 3, 2))
        size = [len(range(start, n, s)) for start, n, s in zip(begin, shape[1:3], step, strict=True)]
        return b.node(Slice((0, *begin, 0), shape, (1, *step, 1)), [x], (1, *size, shape[3]))
    if kind == "pad":
        widths = ((0, 0), *((int(v), int(w)) for v, w in random.integers(0, 3, (3, 2))))
        return b.node(Pad(widths, -3), [x], tuple(n + sum(w) for n, w in zip(shape, widths, strict=True)))
    if kind == "resize" and shape[1] * shape[2] <= 40:
        steps = tuple(int(s) for s in random.integers(1, 3, 2))
        size = shape[1] * steps[0], shape[2] * steps[1]
        op = Resize(size, coordinates="asymmetric", nearest="floor")
        return b.node(op, [x], (1, *size, shape[3]))
    if kind == "transposed" and shape[1] * shape[2] <= 40:
        inputs = b._constants(x, (5, 3, 2, shape[3]), 0, True)
        size = shape[1] * 2, shape[2]
        return b.node(TransposeConv2D(size, (2, 1), ((1, 0), (0, 1))), inputs, (1, *size, 5))
    if kind == "dense" and np.prod(shape) <= 2000:
        return b.dense(x, int(random.integers(1, 40)))
    if kind == "rows" and shape[-1] > 1:
        inputs = b._constants(x, (9, shape[-1]), 0, True, False)
        rows = int(np.prod(shape[:-1]))
        keep = random.random() >= 0.5
        return b.node(FullyConnected(keep_dims=keep), inputs, (*shape[:-1], 9) if keep else (rows, 9))
    return None


def reshaping_network(seed, operators=None):
    """A graph of a few operators with Reshapes between them; `operators` to have those in their order."""
    random = np.random.default_rng(seed)
    channels = int(random.choice([1, 2, 3, 5, 6, 12, 16, 24]))
    b = ReshapingBuilder((1, *map(int, random.integers(1, 9, 2)), channels), seed)
    made = ["image"]
    if random.random() < 0.3:  # as files of unsigned bytes have it
        shape = b.graph.tensors.pop("image").shape
        b.graph.tensors["bytes"] = Tensor("bytes", shape, np.dtype(np.uint8), UNSIGNED)
        b.graph.inputs = ["bytes"]
        made = [b.node(Recenter(), ["bytes"], b.shape("bytes"))]
    for kind in operators or random.choice(KINDS, int(random.integers(2, 8))):
        x = b.reshaped(str(random.choice(made[-3:])))
        if random.random() < HOST_SHARE:
            x = b.node(Maximum(), [x, x], b.shape(x))
        y = append(b, str(kind), x, made)
        if y is not None and np.prod(b.shape(y)) <= 6000:
            made.append(y)
    outputs = [b.reshaped(made[-1])]
    outputs += [str(name) for name in random.choice(made, int(random.integers(0, 3)))]
    if random.random() < 0.3:
        y = b.node(Recenter(), [made[-1]], b.shape(made[-1]))
        first = len(b.graph.nodes) - 1
        outputs.append(b.reshaped(y))
        for node in b.graph.nodes[first:]:
            tensor = b.graph.tensors[node.outputs[0]]
            tensor.dtype = np.dtype(np.uint8)
            tensor.quantization = UNSIGNED
    outputs = [name for name in dict.fromkeys(outputs) if name in {n.outputs[0] for n in b.graph.nodes}]
    if not outputs:
        outputs = [b.max_pool(b.image(made[-1]), kernel=(1, 1), stride=(1, 1))]
    return b.done(*outputs)
