"""Random valid TFLite networks of any shape: scalars to five dimensions, several inputs, some of them unused, outputs
that are inputs, constants or listed twice, results that nothing reads."""

from collections.abc import Sequence
from math import prod

import numpy as np

from tests.litert_models import Operator, Tensor, build_network

KINDS = ("relu", "binary", "constant", "reshape", "transpose", "concat", "slice", "strided", "pack", "unpack", "split",
         "expand", "squeeze", "reduce", "rescale", "reals", "softmax", "dense", "gather", "pad", "tile", "extremum",
         "select", "reverse", "table", "shape")


class RandomGraph:
    """`model` is the file, `inputs` the arrays for it."""

    def __init__(self, seed: int | list[int], operators: int = 6, kinds: Sequence[str] = KINDS):
        self.random = r = np.random.default_rng(seed)
        self.operators: list[Operator] = []
        inputs = [self.tensor(self.shape()) for _ in range(int(r.integers(1, 4)))]
        self.made: list[Tensor] = list(inputs)
        for _ in range(operators):
            x = self.made[int(r.integers(len(self.made)))]
            getattr(self, f"_{r.choice(kinds)}")(x)
        results = self.made[len(inputs):] or [self._relu(inputs[0])]
        outputs = [results[-1], *(t for t in results if r.random() < 0.2)]
        if r.random() < 0.1:
            outputs.append(inputs[0])
        self.model = build_network(self.operators, inputs, outputs)
        self.inputs = [self.values(x) for x in inputs]

    def shape(self) -> tuple[int, ...]:
        return tuple(int(n) for n in self.random.integers(1, 6, int(self.random.integers(0, 6))))

    def tensor(self, shape, like: Tensor | None = None) -> Tensor:
        scale = np.float32(10 ** self.random.uniform(-2.2, -0.5)) if like is None else like.scale
        zero = int(self.random.integers(-128, 128)) if like is None else int(like.zero[0])
        return Tensor(scale, zero, shape=tuple(map(int, shape)))

    def values(self, x: Tensor) -> np.ndarray:
        return np.array(self.random.integers(-128, 128, x.shape), np.int8)

    def add(self, name: str, version: int, inputs: list[Tensor], output: Tensor | list[Tensor], options: str = "",
            **fields) -> Tensor:
        outputs = output if isinstance(output, list) else [output]
        self.operators.append(Operator(name, version, inputs, outputs, options, fields))
        self.made += [t for t in outputs if t.dtype == np.int8]
        return outputs[0]

    def axis(self, rank: int) -> int:
        return int(self.random.integers(-rank, rank))

    def _relu(self, x):
        return self.add(str(self.random.choice(["RELU", "RELU6"])), 2, [x], self.tensor(x.shape))

    def _table(self, x):
        name = str(self.random.choice(["TANH", "LOGISTIC"]))
        quantization = (1 / 128, 0) if name == "TANH" else (1 / 256, -128)
        self.add(name, 2, [x], Tensor(*quantization, shape=x.shape))

    def _arithmetic(self, a, b):
        if len(a.shape) > 4 or len(b.shape) > 4:
            return
        name = str(self.random.choice(["ADD", "SUB", "MUL"]))
        scale = max(a.scale[0], b.scale[0]) * (1 if name != "MUL" else 2)
        output = Tensor(scale, int(self.random.integers(-128, 128)), shape=np.broadcast_shapes(a.shape, b.shape))
        self.add(name, 2, [a, b], output, f"{name.title()}Options",
                 FusedActivationFunction=int(self.random.choice([0, 1])))

    def _binary(self, x):
        shape = [n if self.random.random() < 0.7 else 1 for n in x.shape]
        shape = shape[int(self.random.integers(0, len(shape) + 1)):]
        other = next((t for t in self.made if t.shape == tuple(shape)), None)
        if other is not None:
            self._arithmetic(x, other)

    def _constant(self, x):
        other = self.tensor([n if self.random.random() < 0.6 else 1 for n in x.shape])
        other.data = self.values(other)
        self._arithmetic(*((x, other) if self.random.random() < 0.6 else (other, x)))

    def _extremum(self, x):
        if len(x.shape) <= 4:
            other = self.tensor(x.shape, x)
            other.data = self.values(other)
            self.add(str(self.random.choice(["MAXIMUM", "MINIMUM"])), 2, [x, other], self.tensor(x.shape, x),
                     "MaximumMinimumOptions")

    def _select(self, x):
        condition = Tensor(data=self.random.integers(0, 2, x.shape).astype(bool))
        other = self.tensor(x.shape, x)
        other.data = self.values(other)
        self.add("SELECT_V2", 1, [condition, x, other], self.tensor(x.shape, x), "SelectV2Options")

    def _reshape(self, x):
        rest = prod(x.shape)
        shape = []
        while rest > 1 and len(shape) < 4:
            n = int(self.random.choice([d for d in range(1, rest + 1) if rest % d == 0]))
            shape.append(n)
            rest //= n
        shape = [*shape, rest] if rest > 1 or self.random.random() < 0.3 else shape
        given = list(shape)
        if given and self.random.random() < 0.4:
            given[int(self.random.integers(len(given)))] = -1
        self.add("RESHAPE", 1, [x, Tensor(data=np.array(given, np.int32))], self.tensor(shape, x), "ReshapeOptions")

    def _transpose(self, x):
        if x.shape:
            order = self.random.permutation(len(x.shape))
            self.add("TRANSPOSE", 2, [x, Tensor(data=order.astype(np.int32))],
                     self.tensor([x.shape[i] for i in order], x), "TransposeOptions")

    def _concat(self, x):
        if 0 < len(x.shape) <= 4:
            axis = self.axis(len(x.shape))
            shape = list(x.shape)
            other = self.tensor(shape, x)
            other.data = self.values(other)
            shape[axis] *= 2
            self.add("CONCATENATION", 2, [x, other], self.tensor(shape, x), "ConcatenationOptions", Axis=axis)

    def _slice(self, x):
        if x.shape:
            begin = [int(self.random.integers(n)) for n in x.shape]
            size = [int(self.random.integers(1, n - b + 1)) for b, n in zip(begin, x.shape, strict=True)]
            given = [-1 if b + s == n and self.random.random() < 0.5 else s
                     for b, s, n in zip(begin, size, x.shape, strict=True)]
            self.add("SLICE", 2, [x, *(Tensor(data=np.array(v, np.int32)) for v in (begin, given))],
                     self.tensor(size, x), "SliceOptions")

    def _strided(self, x):
        if not x.shape:
            return
        picks = []
        shape = []
        shrink = 0
        for axis, n in enumerate(x.shape):
            if self.random.random() < 0.2:
                at = int(self.random.integers(-n, n))
                picks.append((at, at + 1 if at != -1 else n, 1))
                shrink |= 1 << axis
            else:
                step = int(self.random.choice([1, 1, 2, -1, -2]))
                picks.append((0, n, step) if step > 0 else (n - 1, -n - 1, step))
                shape.append(-(-n // abs(step)))
        constants = [Tensor(data=np.array(v, np.int32)) for v in zip(*picks, strict=True)]
        if len(x.shape) <= 5:
            self.add("STRIDED_SLICE", 2, [x, *constants], self.tensor(shape, x), "StridedSliceOptions",
                     ShrinkAxisMask=shrink)

    def _pack(self, x):
        if len(x.shape) < 5:
            axis = self.axis(len(x.shape) + 1)
            shape = list(x.shape)
            shape.insert(axis % (len(shape) + 1), 2)
            self.add("PACK", 2, [x, x], self.tensor(shape, x), "PackOptions", Axis=axis, ValuesCount=2)

    def _unpack(self, x):
        if x.shape:
            axis = self.axis(len(x.shape)) % len(x.shape)
            shape = [n for i, n in enumerate(x.shape) if i != axis]
            parts = [self.tensor(shape, x) for _ in range(x.shape[axis])]
            self.add("UNPACK", 2, [x], parts, "UnpackOptions", Axis=axis, Num=x.shape[axis])

    def _split(self, x):
        axes = [i for i, n in enumerate(x.shape) if n % 2 == 0]
        if axes:
            axis = int(self.random.choice(axes))
            shape = [n // 2 if i == axis else n for i, n in enumerate(x.shape)]
            self.add("SPLIT", 2, [Tensor(data=np.array(axis, np.int32)), x], [self.tensor(shape, x) for _ in range(2)],
                     "SplitOptions", NumSplits=2)

    def _expand(self, x):
        if len(x.shape) < 5:
            axis = self.axis(len(x.shape) + 1)
            shape = list(x.shape)
            shape.insert(axis % (len(shape) + 1), 1)
            self.add("EXPAND_DIMS", 1, [x, Tensor(data=np.array(axis, np.int32))], self.tensor(shape, x),
                     "ExpandDimsOptions")

    def _squeeze(self, x):
        self.add("SQUEEZE", 1, [x], self.tensor([n for n in x.shape if n != 1], x), "SqueezeOptions")

    def _reduce(self, x):
        if 0 < len(x.shape) <= 4:
            axes = {int(a) for a in self.random.integers(0, len(x.shape), 2)}
            keep = bool(self.random.integers(2))
            shape = [1 if i in axes else n for i, n in enumerate(x.shape) if keep or i not in axes]
            name = str(self.random.choice(["MEAN", "REDUCE_MAX", "REDUCE_MIN"]))
            output = self.tensor(shape, None if name == "MEAN" else x)
            self.add(name, 2, [x, Tensor(data=np.array(sorted(axes), np.int32))], output, "ReducerOptions",
                     KeepDims=keep)

    def _rescale(self, x):
        self.add("QUANTIZE", 2, [x], self.tensor(x.shape), "QuantizeOptions")

    def _reals(self, x):
        a, b = (Tensor(shape=x.shape, dtype=np.float32) for _ in range(2))
        self.add("DEQUANTIZE", 2, [x], a, "DequantizeOptions")
        self.add(str(self.random.choice(["RELU", "ABS", "NEG", "FLOOR"])), 1, [a], b)
        self.add("QUANTIZE", 1, [b], self.tensor(x.shape), "QuantizeOptions")

    def _softmax(self, x):
        if 0 < len(x.shape) <= 4:
            self.add("SOFTMAX", 2, [x], Tensor(1 / 256, -128, shape=x.shape), "SoftmaxOptions", Beta=1.0)

    def _dense(self, x):
        if x.shape:
            weights = Tensor(0.01, 0, data=self.values(Tensor(shape=(5, x.shape[-1]))).clip(-127))
            bias = Tensor(np.float32(0.01) * x.scale[0], data=self.random.integers(-99, 99, 5, dtype=np.int32))
            self.add("FULLY_CONNECTED", 5, [x, weights, bias], self.tensor((prod(x.shape[:-1]), 5)),
                     "FullyConnectedOptions")

    def _gather(self, x):
        if 0 < len(x.shape) < 5:
            axis = int(self.random.integers(len(x.shape)))
            indices = self.random.integers(0, x.shape[axis], [(), (3,), (2, 1)][int(self.random.integers(3))])
            shape = (*x.shape[:axis], *np.shape(indices), *x.shape[axis + 1:])
            self.add("GATHER", 2, [x, Tensor(data=np.array(indices, np.int32))], self.tensor(shape, x), "GatherOptions",
                     Axis=axis)

    def _pad(self, x):
        if 0 < len(x.shape) <= 4:
            widths = self.random.integers(0, 2, (len(x.shape), 2))
            shape = [n + int(w.sum()) for n, w in zip(x.shape, widths, strict=True)]
            self.add("PAD", 2, [x, Tensor(data=widths.astype(np.int32))], self.tensor(shape, x), "PadOptions")

    def _tile(self, x):
        if x.shape:
            times = self.random.integers(1, 3, len(x.shape))
            shape = [n * int(k) for n, k in zip(x.shape, times, strict=True)]
            if prod(shape) < 2000:
                self.add("TILE", 2, [x, Tensor(data=times.astype(np.int32))], self.tensor(shape, x), "TileOptions")

    def _reverse(self, x):
        if x.shape:
            axis = np.array([self.random.integers(len(x.shape))], np.int32)
            self.add("REVERSE_V2", 2, [x, Tensor(data=axis)], self.tensor(x.shape, x), "ReverseV2Options")

    def _shape(self, x):
        """Shape arithmetic that a Reshape to the same shape reads."""
        if x.shape:
            shape = Tensor(shape=(len(x.shape),), dtype=np.int32)
            self.add("SHAPE", 1, [x], shape, "ShapeOptions", OutType=2)
            self.add("RESHAPE", 1, [x, shape], self.tensor(x.shape, x), "ReshapeOptions")
