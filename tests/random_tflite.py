"""Random small TFLite networks, int8 or legacy uint8: every operator that an image network is made of, in any order,
with any scale, zero point, stride and padding that LiteRT takes."""

import numpy as np

from tests.litert_models import Operator, Tensor, build_network

SAME = 0
VALID = 1
ACTIVATIONS = (0, 0, 1, 3)  # none, RELU, RELU6
KINDS = ("conv", "conv", "depthwise", "max", "average", "binary", "constant", "pad", "concat", "slice", "table",
         "rescale", "enlarge", "transposed", "mean")


class RandomNetwork:
    """`model` is the file, `inputs` the arrays for it."""

    def __init__(self, seed: int, dtype, operators: int = 5):
        self.random = np.random.default_rng(seed)
        self.dtype = np.dtype(dtype)
        self.info = np.iinfo(dtype)
        self.legacy = self.dtype == np.uint8
        self.operators: list[Operator] = []
        height, width = (int(n) for n in self.random.integers(2, 11, 2))
        image = self.tensor((1, height, width, int(self.random.choice([1, 2, 3, 5, 8, 13]))))
        made = [image]
        for _ in range(operators):
            x = made[-1] if self.random.random() < 0.7 else made[self.random.integers(len(made))]
            result = getattr(self, f"_{self.random.choice(KINDS)}")(x, made)
            if result is not None:
                made.append(result)
        if self.random.random() < 0.5:
            made.append(self._dense(made[-1], made))
        if len(made) == 1:
            made.append(self._conv(image, made))
        outputs = [made[-1]]
        if len(made) > 3 and self.random.random() < 0.3:
            outputs.append(made[2])
        self.model = build_network(self.operators, [image], outputs)
        self.inputs = [self._values(image)]

    # tensors

    def tensor(self, shape, scale=None, zero=None) -> Tensor:
        scale = 10 ** self.random.uniform(-2.2, -0.5) if scale is None else scale
        zero = int(self.random.integers(self.info.min, self.info.max + 1)) if zero is None else zero
        return Tensor(np.float32(scale), zero, shape=tuple(map(int, shape)), dtype=self.dtype)

    def _like(self, x: Tensor, shape) -> Tensor:
        return Tensor(x.scale, int(x.zero[0]), shape=tuple(map(int, shape)), dtype=self.dtype)

    def _values(self, x: Tensor) -> np.ndarray:
        if self.random.random() < 0.2:
            return self.random.choice(np.array([self.info.min, self.info.max], self.dtype), x.shape)
        return self.random.integers(self.info.min, self.info.max + 1, x.shape).astype(self.dtype)

    def _weights(self, x: Tensor, shape, axis: int, fan_in: int, per_channel=True) -> tuple[Tensor, Tensor]:
        outputs = shape[axis]
        zero = int(self.random.integers(0, 256)) if self.legacy else 0
        low = self.info.min + (not self.legacy)  # int8 weights are symmetric
        data = self.random.integers(low, self.info.max + 1, shape).astype(self.dtype)
        count = outputs if per_channel and not self.legacy else 1
        scale = self.random.uniform(0.5, 1.5, count) / (40 * np.sqrt(fan_in))
        bias = self.random.integers(-3000, 3000, outputs, dtype=np.int32)
        return Tensor(scale, zero, data=data, axis=axis if count > 1 else 0), Tensor(
            np.float32(scale) * x.scale[0], data=bias)

    def _add(self, name: str, version: int, inputs: list[Tensor], output: Tensor, options="", **fields) -> Tensor:
        self.operators.append(Operator(name, version, inputs, [output], options, fields))
        return output

    # operators; None where one does not fit

    def _windows(self, x: Tensor, kernel, stride, dilation=(1, 1)) -> tuple[int, tuple[int, int]] | None:
        """(SAME or VALID, height and width of the output)."""
        reach = [(k - 1) * d + 1 for k, d in zip(kernel, dilation, strict=True)]
        if self.random.random() < 0.5:
            return SAME, tuple(-(-n // s) for n, s in zip(x.shape[1:3], stride, strict=True))
        if any(r > n for r, n in zip(reach, x.shape[1:3], strict=True)):
            return None
        return VALID, tuple((n - r) // s + 1 for n, r, s in zip(x.shape[1:3], reach, stride, strict=True))

    def _pair(self, high: int) -> tuple[int, int]:
        return tuple(int(n) for n in self.random.integers(1, high + 1, 2))

    def _window_fields(self, padding: int, stride) -> dict:
        return {"Padding": padding, "StrideH": stride[0], "StrideW": stride[1],
                "FusedActivationFunction": int(self.random.choice(ACTIVATIONS))}

    def _conv(self, x, made):
        kernel = self._pair(4)
        stride = self._pair(3)
        dilation = self._pair(2) if stride == (1, 1) else (1, 1)
        windows = self._windows(x, kernel, stride, dilation)
        if windows is None:
            return None
        outputs = int(self.random.integers(1, 24))
        weights, bias = self._weights(x, (outputs, *kernel, x.shape[3]), 0, x.shape[3] * kernel[0] * kernel[1])
        return self._add("CONV_2D", 1 if self.legacy else 3, [x, weights, bias],
                         self.tensor((1, *windows[1], outputs)), "Conv2DOptions",
                         **self._window_fields(windows[0], stride), DilationHFactor=dilation[0],
                         DilationWFactor=dilation[1])

    def _depthwise(self, x, made):
        kernel = self._pair(4)
        stride = (self._pair(2)[0],) * 2
        multiplier = int(self.random.choice([1, 1, 2]))
        windows = self._windows(x, kernel, stride)
        if windows is None:
            return None
        outputs = x.shape[3] * multiplier
        weights, bias = self._weights(x, (1, *kernel, outputs), 3, kernel[0] * kernel[1])
        return self._add("DEPTHWISE_CONV_2D", 1 if self.legacy else 3, [x, weights, bias],
                         self.tensor((1, *windows[1], outputs)), "DepthwiseConv2DOptions",
                         **self._window_fields(windows[0], stride), DepthMultiplier=multiplier, DilationHFactor=1,
                         DilationWFactor=1)

    def _pool(self, name, x):
        kernel = self._pair(4)
        stride = self._pair(3)
        windows = self._windows(x, kernel, stride)
        if windows is None:
            return None
        return self._add(name, 1 if self.legacy else 2, [x], self._like(x, (1, *windows[1], x.shape[3])),
                         "Pool2DOptions", **self._window_fields(windows[0], stride), FilterHeight=kernel[0],
                         FilterWidth=kernel[1])

    def _max(self, x, made):
        return self._pool("MAX_POOL_2D", x)

    def _average(self, x, made):
        return self._pool("AVERAGE_POOL_2D", x)

    def _arithmetic(self, a, b, shape):
        name = str(self.random.choice(["ADD", "SUB", "MUL"]))
        factor = a.scale[0] * b.scale[0] * 40 if name == "MUL" else max(a.scale[0], b.scale[0])
        output = self.tensor(shape, scale=factor * self.random.uniform(0.6, 2))
        operands = [a, b] if self.random.random() < 0.7 else [b, a]
        return self._add(name, 1 if self.legacy else 2, operands, output, f"{name.title()}Options",
                         FusedActivationFunction=int(self.random.choice(ACTIVATIONS)))

    def _binary(self, x, made):
        same = [t for t in made if t.shape == x.shape]
        return self._arithmetic(x, same[self.random.integers(len(same))], x.shape)

    def _constant(self, x, made):
        shape = [(), (1, 1, 1, x.shape[3]), x.shape][self.random.integers(3)]
        other = self.tensor(shape)
        other.data = self._values(other)
        return self._arithmetic(x, other, x.shape)

    def _pad(self, x, made):
        widths = [[0, 0], *self.random.integers(0, 3, (2, 2)).tolist(), [0, int(self.random.choice([0, 0, 3]))]]
        shape = [n + sum(w) for n, w in zip(x.shape, widths, strict=True)]
        return self._add("PAD", 1 if self.legacy else 2, [x, Tensor(data=np.array(widths, np.int32))],
                         self._like(x, shape), "PadOptions")

    def _concat(self, x, made):
        others = [t for t in made if t.shape[:3] == x.shape[:3] and len(t.shape) == 4 and t.scale[0] == x.scale[0]
                  and t.zero[0] == x.zero[0]]
        parts = [x, others[self.random.integers(len(others))]]
        return self._add("CONCATENATION", 1 if self.legacy else 2, parts,
                         self._like(x, (*x.shape[:3], sum(t.shape[3] for t in parts))), "ConcatenationOptions", Axis=3)

    def _slice(self, x, made):
        begin = [0, 0, 0, int(self.random.integers(x.shape[3]))]
        size = [1, x.shape[1], x.shape[2], int(self.random.integers(1, x.shape[3] - begin[3] + 1))]
        constants = [Tensor(data=np.array(values, np.int32)) for values in (begin, size)]
        return self._add("SLICE", 1 if self.legacy else 2, [x, *constants], self._like(x, size), "SliceOptions")

    def _table(self, x, made):
        name = str(self.random.choice(["LOGISTIC", "TANH", "HARD_SWISH", "LEAKY_RELU", "RELU"]))
        if name == "LOGISTIC":
            return self._add(name, 1 if self.legacy else 2, [x], self.tensor(x.shape, 1 / 256, self.info.min))
        if name == "TANH":
            return self._add(name, 1 if self.legacy else 2, [x], self.tensor(x.shape, 1 / 128, 128 * self.legacy))
        output = self.tensor(x.shape, x.scale[0] * self.random.uniform(0.7, 1.5))
        if name == "LEAKY_RELU":
            return self._add(name, 1 if self.legacy else 2, [x], output, "LeakyReluOptions", Alpha=0.2)
        return self._add(name, 1 if self.legacy or name == "HARD_SWISH" else 2, [x], output)

    def _rescale(self, x, made):
        return self._add("QUANTIZE", 1, [x], self.tensor(x.shape, x.scale[0] * self.random.uniform(0.7, 1.5)),
                         "QuantizeOptions")

    def _enlarge(self, x, made):
        steps = self._pair(2)
        size = [n * s for n, s in zip(x.shape[1:3], steps, strict=True)]
        if size[0] * size[1] > 200:
            return None
        return self._add("RESIZE_NEAREST_NEIGHBOR", 1 if self.legacy else 2,
                         [x, Tensor(data=np.array(size, np.int32))], self._like(x, (1, *size, x.shape[3])),
                         "ResizeNearestNeighborOptions", AlignCorners=False, HalfPixelCenters=False)

    def _transposed(self, x, made):
        kernel = self._pair(3)
        stride = self._pair(2)
        size = [(n - 1) * s + k for n, s, k in zip(x.shape[1:3], stride, kernel, strict=True)]
        if self.legacy or size[0] * size[1] > 200:
            return None
        outputs = int(self.random.integers(1, 12))
        weights, bias = self._weights(x, (outputs, *kernel, x.shape[3]), 0, x.shape[3])
        shape = Tensor(data=np.array([1, *size, outputs], np.int32))
        return self._add("TRANSPOSE_CONV", 3, [shape, weights, x, bias], self.tensor((1, *size, outputs)),
                         "TransposeConvOptions", Padding=VALID, StrideH=stride[0], StrideW=stride[1])

    def _mean(self, x, made):
        if self.random.random() < 0.6:
            return None  # little is left behind one
        return self._add("MEAN", 1 if self.legacy else 2, [x, Tensor(data=np.array([1, 2], np.int32))],
                         self.tensor((1, 1, 1, x.shape[3]), x.scale[0] * 0.7), "ReducerOptions", KeepDims=True)

    def _dense(self, x, made):
        inputs = int(np.prod(x.shape))
        outputs = int(self.random.integers(1, 20))
        weights, bias = self._weights(x, (outputs, inputs), 0, inputs, per_channel=bool(self.random.random() < 0.3))
        return self._add("FULLY_CONNECTED", 1 if self.legacy else 5, [x, weights, bias], self.tensor((1, outputs)),
                         "FullyConnectedOptions", FusedActivationFunction=int(self.random.choice(ACTIVATIONS)))
