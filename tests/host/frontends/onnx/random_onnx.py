"""Random small ONNX networks, int8 or uint8: QLinearConv and its family in any order, with any scale and zero point."""

import numpy as np

from tests.host.frontends.onnx.onnx_models import Net

MICROSOFT = "com.microsoft"
KINDS = ("conv", "conv", "depthwise", "max", "average", "add", "multiply", "subtract", "constant", "concat", "slice",
         "table", "enlarge", "pad", "mean")


class Value:
    """A quantized tensor: its name in the model, shape (NCHW), scale and zero point."""

    def __init__(self, name, shape, scale, zero):
        self.name = name
        self.shape = tuple(map(int, shape))
        self.scale = np.float32(scale)
        self.zero = zero


class RandomNetwork:
    """`model` is the ONNX model, `inputs` the arrays for it."""

    def __init__(self, seed: int, dtype, operators: int = 5):
        self.random = np.random.default_rng(seed)
        self.dtype = np.dtype(dtype)
        self.net = Net()
        self.info = np.iinfo(dtype)
        self.knife_edge = self.random.random() < 0.3  # powers of two make many ties
        height, width = (int(n) for n in self.random.integers(2, 11, 2))
        shape = (1, int(self.random.choice([1, 2, 3, 5, 8, 13])), height, width)
        image = self._value(self.net.input(shape, dtype), shape)
        made = [image]
        for _ in range(operators):
            x = made[-1] if self.random.random() < 0.7 else made[self.random.integers(len(made))]
            result = getattr(self, f"_{self.random.choice(KINDS)}")(x, made)
            if result is not None:
                made.append(result)
        if len(made) == 1:
            made.append(self._conv(image, made, (1, 1)))
        if self.random.random() < 0.4:
            made.append(self._dense(made[-1]))
        self.model = self.net.model(made[-1].name)
        self.inputs = {image.name: self._data(shape)}

    # values

    def _scale(self, low=-6.0, high=-2.0, size=None):
        exponent = self.random.uniform(low, high, size)
        return np.asarray(np.exp2(np.round(exponent)) if self.knife_edge else np.exp2(exponent), np.float32)

    def _zero(self):
        return int(self.random.integers(self.info.min, self.info.max + 1))

    def _value(self, name, shape, scale=None) -> Value:
        return Value(name, shape, self._scale() if scale is None else scale, self._zero())

    def _data(self, shape, dtype=None):
        info = np.iinfo(dtype or self.dtype)
        if self.random.random() < 0.2:
            return self.random.choice(np.array([info.min, info.max], info.dtype), shape)
        return self.random.integers(info.min, info.max + 1, shape).astype(info.dtype)

    def _parameters(self, value: Value) -> list[str]:
        return [self.net.constant(value.scale), self.net.constant(value.zero, self.dtype)]

    def _quantized(self, value: Value) -> list[str]:
        return [value.name, *self._parameters(value)]

    def _to(self, shape, scale=None) -> Value:
        """A value without a name yet."""
        return self._value("", shape, scale)

    def _emit(self, output: Value, op: str, *inputs, **attributes) -> Value:
        output.name = self.net(op, *inputs, **attributes)
        return output

    # operators; None where one does not fit

    def _window(self, x: Value, most: int, kernel=None):
        kernel = kernel or tuple(int(n) for n in self.random.integers(1, most + 1, 2))
        stride = tuple(int(n) for n in self.random.integers(1, 4, 2))
        pads = [int(self.random.integers(0, (k + 1) // 2)) for k in (*kernel, *kernel)]
        size = [(n + pads[i] + pads[i + 2] - k) // s + 1
                for i, (n, k, s) in enumerate(zip(x.shape[2:], kernel, stride, strict=True))]
        return (kernel, stride, pads, size) if min(size) >= 1 else None

    def _conv(self, x, made, kernel=None, groups=1):
        window = self._window(x, 4, kernel)
        if window is None:
            return None
        kernel, stride, pads, size = window
        outputs = groups * int(self.random.integers(1, 3 if groups > 1 else 24))
        each = x.shape[1] // groups
        weight_type = np.uint8 if self.dtype == np.uint8 and self.random.random() < 0.3 else np.int8
        zero = int(self.random.integers(0, 256)) if weight_type == np.uint8 else 0
        per_channel = weight_type == np.int8 and self.random.random() < 0.5
        scale = self._scale(-9, -7, outputs if per_channel else None)
        weights = [self.net.constant(self._data((outputs, each, *kernel), weight_type)), self.net.constant(scale),
                   self.net.constant(np.full(scale.shape, zero, weight_type))]
        bias = [self.net.constant(self.random.integers(-3000, 3000, outputs), np.int32)]
        output = self._to((1, outputs, *size))
        return self._emit(output, "QLinearConv", *self._quantized(x), *weights, *self._parameters(output),
                          *bias[:int(self.random.random() < 0.8)], group=groups, strides=stride, pads=pads)

    def _depthwise(self, x, made):
        return self._conv(x, made, groups=x.shape[1])

    def _max(self, x, made):
        window = self._window(x, 4)
        if window is None:
            return None
        kernel, stride, pads, size = window
        return self._emit(Value("", (*x.shape[:2], *size), x.scale, x.zero), "MaxPool", x.name, kernel_shape=kernel,
                          strides=stride, pads=pads)

    def _average(self, x, made):
        window = self._window(x, 4)
        if window is None:
            return None
        kernel, stride, pads, size = window
        output = self._to((*x.shape[:2], *size), x.scale)
        return self._emit(output, "QLinearAveragePool", *self._quantized(x), *self._parameters(output),
                          kernel_shape=kernel, strides=stride, pads=pads, domain=MICROSOFT)

    def _two(self, op, x, other, scale):
        output = self._to(x.shape, scale)
        return self._emit(output, op, *self._quantized(x), *self._quantized(other), *self._parameters(output),
                          domain=MICROSOFT)

    def _another(self, x, made):
        same = [v for v in made if v.shape == x.shape]
        return same[self.random.integers(len(same))]

    def _add(self, x, made):
        other = self._another(x, made)
        return self._two("QLinearAdd", x, other, self._scale(-1, 1) * max(x.scale, other.scale))

    def _multiply(self, x, made):
        other = self._another(x, made)
        return self._two("QLinearMul", x, other, self._scale(4, 6) * x.scale * other.scale)

    def _constant(self, x, made):
        shape = [(), (1, x.shape[1], 1, 1), x.shape][self.random.integers(3)]
        other = self._value(self.net.constant(self._data(shape)), shape)
        op = str(self.random.choice(["QLinearAdd", "QLinearMul"]))
        factor = x.scale * other.scale * 40 if op == "QLinearMul" else max(x.scale, other.scale)
        return self._two(op, x, other, self._scale(-1, 1) * factor)

    def _subtract(self, x, made):
        """ONNX Runtime has no integer kernel: dequantize, subtract, quantize."""
        other = self._another(x, made)
        reals = [self.net("DequantizeLinear", *self._quantized(v)) for v in (x, other)]
        output = self._to(x.shape, self._scale(-1, 1) * max(x.scale, other.scale))
        return self._emit(output, "QuantizeLinear", self.net("Sub", *reals), *self._parameters(output))

    def _concat(self, x, made):
        parts = [x, *(v for v in made if v.shape[2:] == x.shape[2:])][:3]
        output = self._to((1, sum(v.shape[1] for v in parts), *x.shape[2:]), x.scale)
        return self._emit(output, "QLinearConcat", *self._parameters(output),
                          *(n for v in parts for n in self._quantized(v)), axis=1, domain=MICROSOFT)

    def _slice(self, x, made):
        begin = int(self.random.integers(x.shape[1]))
        end = int(self.random.integers(begin + 1, x.shape[1] + 1))
        return self._emit(Value("", (1, end - begin, *x.shape[2:]), x.scale, x.zero), "Slice", x.name,
                          *(np.array([v]) for v in (begin, end, 1)))

    def _table(self, x, made):
        op = str(self.random.choice(["QLinearSigmoid", "QLinearLeakyRelu"]))
        output = self._to(x.shape, np.float32(1 / 256) if op == "QLinearSigmoid" else x.scale)
        attributes = {"alpha": 0.2} if op == "QLinearLeakyRelu" else {}
        return self._emit(output, op, *self._quantized(x), *self._parameters(output), domain=MICROSOFT, **attributes)

    def _enlarge(self, x, made):
        if x.shape[2] * x.shape[3] > 50:
            return None
        return self._emit(Value("", (*x.shape[:2], 2 * x.shape[2], 2 * x.shape[3]), x.scale, x.zero), "Resize", x.name,
                          "", np.float32([1, 1, 2, 2]), mode="nearest", nearest_mode="floor",
                          coordinate_transformation_mode="asymmetric")

    def _pad(self, x, made):
        top, left, bottom, right = (int(n) for n in self.random.integers(0, 3, 4))
        size = x.shape[2] + top + bottom, x.shape[3] + left + right
        fill = self.net.constant(x.zero if self.random.random() < 0.7 else self.info.max, self.dtype)
        return self._emit(Value("", (*x.shape[:2], *size), x.scale, x.zero), "Pad", x.name,
                          np.array([0, 0, top, left, 0, 0, bottom, right]), fill)

    def _mean(self, x, made):
        if self.random.random() < 0.6:
            return None
        output = self._to((*x.shape[:2], 1, 1), x.scale)
        return self._emit(output, "QLinearGlobalAveragePool", *self._quantized(x), *self._parameters(output),
                          domain=MICROSOFT)

    def _dense(self, x):
        inputs = int(np.prod(x.shape))
        outputs = int(self.random.integers(1, 20))
        flat = self.net("Reshape", x.name, np.array([1, inputs]))
        output = self._to((1, outputs))
        weights = [self.net.constant(self._data((inputs, outputs), np.int8)), self.net.constant(self._scale(-10, -8)),
                   self.net.constant(0, np.int8)]
        return self._emit(output, "QLinearMatMul", flat, *self._parameters(x), *weights, *self._parameters(output))
