"""Random QDQ networks of what transformers and gated networks are made of: products with constants and of two tensors,
softmax, normalizations, gates, transposes, sums with a row, a column, a pixel or a channel, resizes; two to five
dimensions, batches, int8 or uint8, zero points at the ends."""

from dataclasses import dataclass
from math import prod

import numpy as np

from tests.host.frontends.onnx.onnx_models import Net, array

KINDS = ("dense", "dense", "conv", "product", "attend", "softmax", "norm", "group_norm", "gate", "swish", "function",
         "binary", "constant", "transpose", "reshape", "concat", "cut", "resize", "response", "mean", "rescale")
# Whose float32 sums ONNX Runtime and Lepton may round to different integers (docs/onnx.md)
ROUNDED = {"norm", "group_norm", "mean", "attend", "softmax", "response", "resize"}
EXTENTS = (1, 1, 2, 3, 5, 8, 17)
MAX_ELEMENTS = 6000  # of a tensor
MAX_MACS = 200_000  # of a layer


@dataclass(frozen=True)
class Value:
    """A quantized value: the names of its float32 and 8-bit form, its shape, scale and zero point."""

    real: str
    codes: str
    shape: tuple[int, ...]
    scale: float
    zero: int


class RandomAttention:
    """`model` gives the 8-bit form of every value, `last` only that of the last; `steps` are (kind, the values that it
    reads, the value that it makes), `feeds` inputs."""

    def __init__(self, seed: int | list[int], operators: int = 5):
        self.random = np.random.default_rng(seed)
        self.dtype = np.dtype(self.random.choice([np.int8, np.uint8]))
        self.info = np.iinfo(self.dtype)
        self.net = Net(int(self.random.choice([13, 17, 21])))
        self.steps: list[tuple[str, tuple[Value, ...], Value]] = []
        shape = self._shape()
        self.made = [self._quantized(self.net.input(shape), shape, 0.05)]
        for _ in range(6 * operators):
            if len(self.steps) == operators:
                break
            kind = str(self.random.choice(KINDS))
            getattr(self, f"_{kind}")(kind, self.made[int(self.random.integers(len(self.made)))])
        if not self.steps:
            self._swish("swish", self.made[0])
        self.model = self.net.model(*(step[2].codes for step in self.steps))
        self.last = self.net.model(self.steps[-1][2].codes)
        self.feeds = {"x0": self.random.uniform(-6, 6, shape).astype(np.float32)}

    # Values

    def _shape(self) -> tuple[int, ...]:
        rank = int(self.random.choice([2, 3, 3, 4, 4, 5]))
        shape = [int(n) for n in self.random.choice(EXTENTS, rank)]
        if self.random.random() < 0.1:
            shape[int(self.random.integers(rank))] = 300
        return tuple(shape) if prod(shape) <= MAX_ELEMENTS else self._shape()

    def _zero(self) -> int:
        ends = (self.info.min, self.info.max, (self.info.min + self.info.max + 1) // 2)
        return int(self.random.choice(ends) if self.random.random() < 0.4
                   else self.random.integers(self.info.min, self.info.max + 1))

    def _quantized(self, real: str, shape, scale: float, zero: int | None = None) -> Value:
        scale = float(np.float32(scale * self.random.uniform(0.7, 1.5)))
        zero = self._zero() if zero is None else zero
        codes = self.net.quantize(real, scale, zero, self.dtype)
        return Value(self.net.dequantize(codes, scale, zero, self.dtype), codes, tuple(map(int, shape)), scale, zero)

    def _add(self, kind: str, reads, real: str, shape, scale: float, zero: int | None = None) -> Value:
        value = self._quantized(real, shape, scale, zero)
        self.steps.append((kind, tuple(reads), value))
        self.made.append(value)
        return value

    def _same(self, kind: str, x: Value, real: str, shape) -> Value:
        """A move: the result has the operand's scale."""
        codes = self.net.quantize(real, x.scale, x.zero, self.dtype)
        value = Value(self.net.dequantize(codes, x.scale, x.zero, self.dtype), codes, tuple(map(int, shape)), x.scale,
                      x.zero)
        self.steps.append((kind, (x,), value))
        self.made.append(value)
        return value

    # Layers and products

    def _dense(self, kind, x):
        outputs = int(self.random.choice(EXTENTS))
        if prod(x.shape) * outputs > MAX_MACS or prod(x.shape[:-1]) * outputs > MAX_ELEMENTS:
            return
        codes = self.random.integers(-127, 128, (x.shape[-1], outputs)).astype(np.int8)
        weights = self.net.weights(codes, self.random.uniform(0.005, 0.015, outputs), axis=1)
        self._add(kind, [x], self.net("MatMul", x.real, weights), (*x.shape[:-1], outputs),
                  x.scale * np.sqrt(x.shape[-1]))

    def _conv(self, kind, x):
        outputs = int(self.random.choice(EXTENTS))
        if len(x.shape) != 4 or prod(x.shape) * outputs * 9 > MAX_MACS:
            return
        codes = self.random.integers(-127, 128, (outputs, x.shape[1], 3, 3)).astype(np.int8)
        weights = self.net.weights(codes, self.random.uniform(0.005, 0.015, outputs))
        self._add(kind, [x], self.net("Conv", x.real, weights, pads=[1] * 4), (x.shape[0], outputs, *x.shape[2:]),
                  x.scale * 3 * np.sqrt(x.shape[1]))

    def _turned(self, x: Value) -> Value:
        order = [*range(len(x.shape) - 2), len(x.shape) - 1, len(x.shape) - 2]
        return self._same("transpose", x, self.net("Transpose", x.real, perm=order), [x.shape[i] for i in order])

    def _multiplied(self, kind, a: Value, b: Value) -> Value:
        return self._add(kind, [a, b], self.net("MatMul", a.real, b.real), (*a.shape[:-1], b.shape[-1]),
                         a.scale * b.scale * 70 * np.sqrt(a.shape[-1]))

    def _fits(self, x: Value) -> bool:
        rows = prod(x.shape[:-1])
        return rows * x.shape[-2] <= MAX_ELEMENTS and rows * x.shape[-2] * x.shape[-1] <= MAX_MACS

    def _product(self, kind, x):
        if self._fits(x):
            self._multiplied(kind, x, self._turned(x))

    def _attend(self, kind, x):
        if not self._fits(x):
            return
        scores = self._multiplied("product", x, self._turned(x))
        low = self.info.min
        shares = self._add("softmax", [scores], self.net("Softmax", scores.real, axis=-1), scores.shape, 1 / 255, low)
        self._multiplied("product", shares, x)

    # Functions of rows and channels

    def _softmax(self, kind, x):
        self._add(kind, [x], self.net("Softmax", x.real, axis=-1), x.shape, 1 / 255)

    def _floats(self, low, high, *shape) -> np.ndarray:
        return array(self.random.uniform(low, high, shape), np.float32)

    def _norm(self, kind, x):
        channels = x.shape[-1]
        if self.net.opset >= 17:
            y = self.net("LayerNormalization", x.real, self._floats(0.5, 1.5, channels),
                         self._floats(-1, 1, channels), axis=-1, epsilon=1e-5)
            self._add(kind, [x], y, x.shape, 0.03)

    def _group_norm(self, kind, x):
        if len(x.shape) < 3:
            return
        channels = x.shape[1]
        parameters = self._floats(0.5, 1.5, channels), self._floats(-1, 1, channels)
        if self.net.opset >= 21:
            groups = int(self.random.choice([n for n in range(1, channels + 1) if channels % n == 0]))
            y = self.net("GroupNormalization", x.real, *parameters, num_groups=groups, epsilon=1e-3)
        else:
            y = self.net("InstanceNormalization", x.real, *parameters, epsilon=1e-3)
        self._add(kind, [x], y, x.shape, 0.03)

    def _response(self, kind, x):
        if len(x.shape) == 4:
            y = self.net("LRN", x.real, size=int(self.random.choice([1, 3, 5])), alpha=0.01, beta=0.75, bias=1.0)
            self._add(kind, [x], y, x.shape, x.scale)

    def _mean(self, kind, x):
        if len(x.shape) == 4:
            self._add(kind, [x], self.net("GlobalAveragePool", x.real), (*x.shape[:2], 1, 1), x.scale)

    # Gates, functions, sums

    def _gate(self, kind, x):
        """By the sigmoid of a value that broadcasts."""
        others = [y for y in self.made if len(y.shape) == len(x.shape)
                  and all(m in (1, n) for m, n in zip(y.shape, x.shape, strict=True))]
        y = others[int(self.random.integers(len(others)))]
        gate = self._add("function", [y], self.net("Sigmoid", y.real), y.shape, 1 / 256, self.info.min)
        operands = (x, gate) if self.random.random() < 0.5 else (gate, x)
        self._add(kind, operands, self.net("Mul", *(v.real for v in operands)), x.shape, x.scale)

    def _swish(self, kind, x):
        self._add(kind, [x], self.net("Mul", x.real, self.net("Sigmoid", x.real)), x.shape, x.scale)

    def _function(self, kind, x):
        name = str(self.random.choice(["Relu", "Erf", "Tanh", "HardSigmoid", "LeakyRelu", "Elu", "Abs", "Softplus"]))
        self._add(kind, [x], self.net(name, x.real), x.shape, x.scale if name not in ("Erf", "Tanh") else 1 / 128)

    def _binary(self, kind, x):
        others = [y for y in self.made if len(y.shape) == len(x.shape)
                  and all(m in (1, n) for m, n in zip(y.shape, x.shape, strict=True))]
        y = others[int(self.random.integers(len(others)))]
        name = str(self.random.choice(["Add", "Sub", "Mul"]))
        operands = (x, y) if self.random.random() < 0.5 else (y, x)
        scale = x.scale * y.scale * 90 if name == "Mul" else 1.5 * max(x.scale, y.scale)
        self._add(kind, operands, self.net(name, *(v.real for v in operands)), x.shape, scale)

    def _constant(self, kind, x):
        shape = [n if self.random.random() < 0.5 else 1 for n in x.shape][int(self.random.integers(len(x.shape))):]
        codes = self.random.integers(self.info.min, self.info.max + 1, shape).astype(self.dtype)
        other = self.net.dequantize(codes, 0.04, self._zero(), self.dtype)
        name = str(self.random.choice(["Add", "Sub", "Mul"]))
        operands = (x.real, other) if self.random.random() < 0.5 else (other, x.real)
        scale = x.scale * 4 if name == "Mul" else 1.5 * max(x.scale, 0.04)
        self._add(kind, [x], self.net(name, *operands), x.shape, scale)

    # Moves

    def _transpose(self, kind, x):
        order = [int(n) for n in self.random.permutation(len(x.shape))]
        self._same(kind, x, self.net("Transpose", x.real, perm=order), [x.shape[i] for i in order])

    def _reshape(self, kind, x):
        axis = int(self.random.integers(len(x.shape) - 1))
        shape = [*x.shape[:axis], x.shape[axis] * x.shape[axis + 1], *x.shape[axis + 2:]]
        if len(shape) >= 2:
            self._same(kind, x, self.net("Reshape", x.real, array(shape, np.int64)), shape)

    def _concat(self, kind, x):
        axis = int(self.random.integers(len(x.shape)))
        shape = [2 * n if i == axis else n for i, n in enumerate(x.shape)]
        if prod(shape) <= MAX_ELEMENTS:
            self._same(kind, x, self.net("Concat", x.real, x.real, axis=axis), shape)

    def _cut(self, kind, x):
        axis = int(self.random.integers(len(x.shape)))
        begin = int(self.random.integers(x.shape[axis]))
        shape = [n - begin if i == axis else n for i, n in enumerate(x.shape)]
        pieces = (array([n], np.int64) for n in (begin, x.shape[axis], axis))
        self._same(kind, x, self.net("Slice", x.real, *pieces), shape)

    def _resize(self, kind, x):
        steps = [int(n) for n in self.random.choice([1, 2, 3], 2)]
        if len(x.shape) != 4 or prod(x.shape) * prod(steps) > MAX_ELEMENTS:
            return
        mode = str(self.random.choice(["nearest", "linear", "cubic"]))
        where = str(self.random.choice(["half_pixel", "asymmetric", "align_corners", "pytorch_half_pixel"]))
        y = self.net("Resize", x.real, "", array([1, 1, *steps], np.float32), mode=mode,
                     coordinate_transformation_mode=where)
        self._same(kind, x, y, (*x.shape[:2], *(n * s for n, s in zip(x.shape[2:], steps, strict=True))))

    def _rescale(self, kind, x):
        self._add(kind, [x], x.real, x.shape, x.scale)
