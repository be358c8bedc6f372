"""Random valid ONNX networks over every operator that is supported, and some that are not: odd ranks, scalars, empty
tensors, constant outputs, old and new opsets. ONNX Runtime decides what is valid."""

import numpy as np

from tests.host.frontends.onnx.random_network import RandomNetwork

FLOAT_FUNCTIONS = ("Abs", "Neg", "Floor", "Ceil", "Relu", "Sigmoid", "Tanh", "Exp", "Erf", "Sqrt", "Softplus", "Elu",
                   "Selu", "LeakyRelu", "HardSigmoid", "ThresholdedRelu", "Sin", "Atan", "Sign", "Round", "HardSwish",
                   "Softsign", "Reciprocal", "Log", "Identity", "IsNaN", "Celu", "Mish", "Gelu", "Shrink", "IsInf")
REDUCTIONS = ("ReduceSum", "ReduceMean", "ReduceMax", "ReduceMin", "ReduceProd", "ReduceL1", "ReduceL2",
              "ReduceSumSquare", "ReduceLogSum", "ReduceLogSumExp")
_AXES_AS_INPUT = {"ReduceSum": 13}  # the other reductions since 18


class RandomValid(RandomNetwork):
    """Over every operator that is supported, and some that are not."""

    def make_qdq(self):
        x = self._pick()
        dtype = self.random.choice([np.int8, np.uint8])
        scale = np.float32(self.random.choice([0.05, 0.1, 0.031]))
        pair = [self.constant(scale), self.constant(np.array(int(self.random.integers(0, 100)), dtype))]
        self.node("DequantizeLinear", self.node("QuantizeLinear", x, *pair), *pair)

    make_qdq_again = make_qdq_too = make_qdq

    def make_function(self):
        self.node(str(self.random.choice(FLOAT_FUNCTIONS)), self._pick())

    def make_integer_function(self):
        self.node(str(self.random.choice(["Abs", "Neg", "Sign", "Relu", "Identity"])), self._pick("i"))

    def make_arithmetic(self):
        x = self._pick("fi")
        op = str(self.random.choice(["Add", "Sub", "Mul", "Div", "Max", "Min", "Pow", "Mod", "Sum", "Mean", "PRelu"]))
        if op in ("Div", "Mod") and self.values[x].dtype.kind == "i":
            self.node(op, x, self.constant(np.array(3, self.values[x].dtype)))
            return
        self.node(op, x, self._other(self.values[x]), **({"fmod": 1} if op == "Mod" else {}))

    def make_comparison(self):
        x = self._pick("fi")
        y = self.node(str(self.random.choice(["Equal", "Less", "Greater", "LessOrEqual", "GreaterOrEqual"])), x,
                      self._other(self.values[x]))
        if self.random.random() < 0.5:
            self.node("Where", y, x, self._other(self.values[x]))

    def make_logic(self):
        x = self._pick("b")
        if self.random.random() < 0.4:
            self.node("Not", x)
        else:
            self.node(str(self.random.choice(["And", "Or", "Xor"])), x, self._other(self.values[x]))

    def make_reduction(self):
        x = self._pick()
        op = str(self.random.choice(REDUCTIONS))
        rank = self.values[x].ndim
        axes = [int(a) for a in self.random.permutation(rank)[:int(self.random.integers(0, rank + 1))]]
        keep = {"keepdims": int(self.random.integers(2))}
        if not axes:
            self.node(op, x, **keep)
        elif self.opset >= _AXES_AS_INPUT.get(op, 18):
            self.node(op, x, self.constant(np.array(axes, np.int64)), **keep)
        else:
            self.node(op, x, axes=axes, **keep)

    def make_softmax(self):
        x = self._pick(rank=1)
        self.node(str(self.random.choice(["Softmax", "LogSoftmax"])), x, axis=self._axis(self.values[x]))

    def make_reshape(self):
        x = self._pick("fiub")
        v = self.values[x]
        kind = int(self.random.integers(5))
        if kind == 0:
            self.node("Flatten", x, axis=int(self.random.integers(0, v.ndim + 1)))
        elif kind == 1:
            shape = [int(n) for n in v.shape]
            self.random.shuffle(shape)
            if shape and self.random.random() < 0.5:
                shape[int(self.random.integers(len(shape)))] = -1
            self.node("Reshape", x, self.constant(np.array(shape, np.int64)))
        elif kind == 2:
            self.node("Transpose", x, perm=[int(a) for a in self.random.permutation(v.ndim)])
        elif kind == 3:
            axis = int(self.random.integers(0, v.ndim + 1))
            if self.opset >= 13:
                self.node("Unsqueeze", x, self.constant(np.array([axis], np.int64)))
            else:
                self.node("Unsqueeze", x, axes=[axis])
        else:
            self.node("Squeeze", x)

    def make_piece(self):
        x = self._pick("fiub", rank=1)
        v = self.values[x]
        axis = self._axis(v)
        extent = v.shape[axis]
        if self.random.random() < 0.4:
            index = self.random.integers(-extent, extent, self._shape(int(self.random.integers(0, 3))))
            self.node("Gather", x, self.constant(index.astype(np.int64)), axis=axis)
        elif self.opset >= 10:
            starts, ends = (int(n) for n in self.random.integers(-extent - 1, extent + 2, 2))
            step = int(self.random.choice([1, 1, 2, -1, -2]))
            self.node("Slice", x, *(self.constant(np.array([n], np.int64)) for n in (starts, ends, axis, step)))

    def make_joined(self):
        x = self._pick("fiub", rank=1)
        v = self.values[x]
        axis = self._axis(v)
        if self.random.random() < 0.5:
            self.node("Concat", x, self.constant(self._data(v.dtype, v.shape)), x, axis=axis)
        else:
            outputs = int(self.random.integers(1, 3))
            self.node("Split", x, outputs=outputs, axis=axis, **({"num_outputs": outputs} if self.opset >= 18 else {}))

    def make_padded(self):
        x = self._pick(rank=1)
        widths = [int(n) for n in self.random.integers(-1, 3, 2 * self.values[x].ndim)]
        mode = str(self.random.choice(["constant", "constant", "edge", "reflect"]))
        if self.opset >= 11:
            self.node("Pad", x, self.constant(np.array(widths, np.int64)), mode=mode)
        else:
            self.node("Pad", x, pads=widths, mode=mode)

    def make_repeated(self):
        x = self._pick("fib", rank=1)
        v = self.values[x]
        if self.random.random() < 0.5:
            self.node("Tile", x, self.constant(self.random.integers(1, 3, v.ndim).astype(np.int64)))
        else:
            self.node("Expand", x, self.constant(np.array([2, *v.shape], np.int64)))

    def make_pool(self):
        x = self._pick(rank=3)
        v = self.values[x]
        kernel = [int(n) for n in self.random.integers(1, 4, v.ndim - 2)]
        op = str(self.random.choice(["MaxPool", "AveragePool", "GlobalAveragePool", "GlobalMaxPool"]))
        if op.startswith("Global"):
            self.node(op, x)
        else:
            self.node(op, x, kernel_shape=kernel, strides=[int(n) for n in self.random.integers(1, 3, v.ndim - 2)],
                      pads=[int(k > 1) for k in kernel] * 2)

    def _weights(self, *shape):
        if self.random.random() < 0.5:
            return self.constant(self._data(np.float32, shape))
        codes = self.random.integers(-127, 128, shape).astype(np.int8)
        return self.node("DequantizeLinear", self.constant(codes), self.constant(np.float32(0.02)),
                         self.constant(np.int8(0)))

    def make_convolution(self):
        x = self._pick(rank=3)
        v = self.values[x]
        channels = v.shape[1]
        outputs = int(self.random.integers(1, 4))
        kernel = [int(n) for n in self.random.integers(1, 4, v.ndim - 2)]
        if self.random.random() < 0.3:
            self.node("ConvTranspose", x, self._weights(channels, outputs, *kernel),
                      strides=[int(n) for n in self.random.integers(1, 3, v.ndim - 2)])
        else:
            groups = channels if self.random.random() < 0.3 else 1
            self.node("Conv", x, self._weights(outputs * groups, channels // groups, *kernel), group=groups,
                      pads=[int(k > 1) for k in kernel] * 2)

    def make_product(self):
        x = self._pick(rank=1)
        v = self.values[x]
        if v.ndim == 2 and self.random.random() < 0.5:
            self.node("Gemm", x, self._weights(v.shape[1], 3), self.constant(self._data(np.float32, (3,))),
                      alpha=float(self.random.choice([1, 0.5])))
        else:
            batch = [2] if v.ndim == 3 and self.random.random() < 0.3 else []
            self.node("MatMul", x, self._weights(*batch, v.shape[-1], 3))

    def make_normalization(self):
        x = self._pick(rank=2)
        v = self.values[x]
        channel = [self.constant(self.random.uniform(0.5, 1.5, v.shape[1]).astype(np.float32)) for _ in range(4)]
        kind = int(self.random.integers(3))
        if kind == 0:
            self.node("BatchNormalization", x, *channel)
        elif kind == 1:
            self.node("InstanceNormalization", x, *channel[:2])
        else:
            self.node("LayerNormalization", x, self.constant(self._data(np.float32, v.shape[-1:])))

    def make_shape(self):
        x = self._pick("fiub")
        self.node(str(self.random.choice(["Shape", "Size"])), x)

    def make_cast(self):
        x = self._pick("fiub")
        self.node("Cast", x, to=int(self.random.choice([1, 6, 7, 9, 2, 3, 11, 10])))

    def make_indexed(self):
        x = self._pick("fi", rank=1)
        v = self.values[x]
        index = np.array([[0] * v.ndim, [-1] * v.ndim], np.int64)
        kind = int(self.random.integers(4))
        if kind == 0:
            self.node("GatherND", x, self.constant(index))
        elif kind == 1:
            self.node("ScatterND", x, self.constant(index), self.constant(self._data(v.dtype, (2,))))
        elif kind == 2:
            self.node("GatherElements", x, self.constant(np.zeros_like(v, np.int64)), axis=self._axis(v))
        else:
            self.node("Trilu", x, upper=int(self.random.integers(2)))

    def make_enlarged(self):
        x = self._pick(rank=1)
        v = self.values[x]
        scales = self.constant(self.random.choice([1, 2, 1.5], v.ndim).astype(np.float32))
        mode = str(self.random.choice(["nearest", "linear", "cubic"]))
        if self.opset >= 11:
            self.node("Resize", x, "", scales, mode=mode)
        else:
            self.node("Upsample" if self.opset == 9 else "Resize", x, scales, mode=mode)

    def make_blocks(self):
        self.node(str(self.random.choice(["SpaceToDepth", "DepthToSpace"])), self._pick(rank=4), blocksize=2)

    def make_rare(self):
        x = self._pick(rank=1)
        op = str(self.random.choice(["NonZero", "CumSum", "TopK", "ArgMax", "Einsum", "OneHot", "Dropout", "EyeLike"]))
        if op == "CumSum":
            self.node(op, x, self.constant(np.array(0)))
        elif op == "TopK":
            self.node(op, x, self.constant(np.array([1])), outputs=2)
        elif op == "Einsum":
            self.node(op, x, equation="...->...")
        elif op == "OneHot":
            self.node(op, self._pick("i"), self.constant(np.array(3)), self.constant(np.float32([0, 1])))
        else:
            self.node(op, x)
