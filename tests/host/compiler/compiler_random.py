"""Random graphs of one operator and of a few."""

import numpy as np

from tests.host.compiler.compiler_graphs import Builder

OPERATORS = ("conv", "group", "depthwise", "dense", "max", "average", "mean", "add", "product", "gate")


def _pads(random, kernel):
    return tuple(tuple(int(n) for n in random.integers(0, max(k // 2, 0) + 1, 2)) for k in kernel)


def _clamp(random):
    low, high = sorted(int(v) for v in random.integers(-128, 128, 2))
    return (-128, 127) if random.random() < 0.7 else (low, high)


def _fits(shape, kernel, padding, dilation=(1, 1)):
    return all(shape[1 + i] + sum(padding[i]) >= (kernel[i] - 1) * dilation[i] + 1 for i in (0, 1))


def append(b: Builder, kind: str, x: str) -> str:
    """A random operator on `x`, or `x` where the operator does not fit."""
    random = b.random
    shape = b.shape(x)
    kernel = tuple(int(n) for n in random.integers(1, 6, 2))
    stride = tuple(int(n) for n in random.integers(1, 4, 2))
    padding = _pads(random, kernel)
    clamp = _clamp(random)
    if kind in ("conv", "group", "depthwise"):
        dilation = tuple(int(n) for n in random.choice([1, 1, 1, 2, 3], 2))
        if not _fits(shape, kernel, padding, dilation):
            return x
        common = {"kernel": kernel, "stride": stride, "padding": padding, "dilation": dilation, "clamp": clamp,
                  "bias": bool(random.random() < 0.8)}
        if kind == "depthwise":
            return b.depthwise(x, multiplier=int(random.choice([1, 1, 2, 3])), **common)
        groups = int(random.choice([g for g in range(1, shape[3] + 1) if shape[3] % g == 0])) if kind == "group" else 1
        return b.conv(x, groups * int(random.integers(1, max(48 // groups, 2))), groups=groups, **common)
    if kind == "dense":
        return b.dense(x, int(random.integers(1, 40)), per_channel=bool(random.random() < 0.5), clamp=clamp)
    if kind in ("max", "average"):
        if not _fits(shape, kernel, padding):
            return x
        # a window must hold at least one pixel
        padding = tuple((min(p[0], k - 1), min(p[1], k - 1)) for p, k in zip(padding, kernel, strict=True))
        return getattr(b, f"{kind}_pool")(x, kernel=kernel, stride=stride, padding=padding, clamp=clamp)
    if kind == "mean":
        return b.mean(x)
    if kind == "product":
        return b.multiply(x, b.conv(x, shape[3], (1, 1)) if random.random() < 0.7 else x, clamp=clamp)
    if kind == "gate":
        gate = b.conv(b.mean(x), shape[3], (1, 1))
        return b.multiply(*([x, gate] if random.random() < 0.5 else [gate, x]), clamp=clamp)
    return b.add(x, x, clamp=clamp)


def single(kind: str, seed: int):
    """A graph of one operator of a random shape."""
    random = np.random.default_rng(seed)
    height, width = (int(n) for n in random.integers(1, 24, 2))
    channels = int(random.choice([1, 2, 3, 5, 8, 16, 17, 40, 70]))
    b = Builder((1, height, width, channels), seed)
    if append(b, kind, "image") == "image":
        b.conv("image", 5, (1, 1))
    return b.done()


def network(seed: int):
    """A graph of several operators with a shortcut or two."""
    random = np.random.default_rng(seed)
    b = Builder((1, int(random.integers(6, 20)), int(random.integers(6, 20)), int(random.choice([1, 3, 4, 16]))), seed)
    x = b.conv("image", int(random.integers(4, 40)), (3, 3), padding=((1, 1), (1, 1)))
    for _ in range(int(random.integers(1, 4))):
        kind = random.choice(["shortcut", "conv", "depthwise", "max", "average", "own", "product", "gate"])
        if kind == "shortcut":
            channels = b.shape(x)[3]
            y = b.conv(x, channels, (3, 3), padding=((1, 1), (1, 1)), clamp=(-100, 127))
            z = x if random.random() < 0.5 else b.conv(x, channels, (1, 1))
            x = b.add(y, z) if random.random() < 0.5 else b.add(z, y)
        elif kind == "own":  # both operands are used again, nothing can be fused
            y = b.conv(x, b.shape(x)[3], (1, 1))
            x = b.add(b.add(x, y), y)
        else:
            x = append(b, kind, x)
    outputs = [x]
    if random.random() < 0.5:
        outputs.append(b.dense(b.mean(x), 10))
    else:
        shape = b.shape(x)
        outputs.append(b.dense(b.reshape(x, (1, int(np.prod(shape)))), 12))
    return b.done(*outputs[int(random.random() < 0.5):])
