"""Random valid ONNX networks over every operator that is supported, and some that are not: odd ranks, scalars, empty
tensors, constant outputs, old and new opsets. ONNX Runtime decides what is valid."""

import numpy as np
import onnxruntime
from onnx import TensorProto, helper, numpy_helper

OPSETS = (9, 10, 11, 12, 13, 14, 15, 17, 18, 19, 20, 21)
FLOAT_FUNCTIONS = ("Abs", "Neg", "Floor", "Ceil", "Relu", "Sigmoid", "Tanh", "Exp", "Erf", "Sqrt", "Softplus", "Elu",
                   "Selu", "LeakyRelu", "HardSigmoid", "ThresholdedRelu", "Sin", "Atan", "Sign", "Round", "HardSwish",
                   "Softsign", "Reciprocal", "Log", "Identity", "IsNaN", "Celu", "Mish", "Gelu", "Shrink", "IsInf")
REDUCTIONS = ("ReduceSum", "ReduceMean", "ReduceMax", "ReduceMin", "ReduceProd", "ReduceL1", "ReduceL2",
              "ReduceSumSquare", "ReduceLogSum", "ReduceLogSumExp")
_AXES_AS_INPUT = {"ReduceSum": 13}  # the other reductions since 18


class RandomValid:
    """`model` is valid in ONNX Runtime; `feeds` are inputs for it, `wanted` its outputs."""

    def __init__(self, seed: int, operators: int = 5):
        self.random = np.random.default_rng(seed)
        self.opset = int(self.random.choice(OPSETS))
        self.nodes, self.constants, self.inputs, self.feeds = [], [], [], {}
        self.values: dict[str, np.ndarray] = {}
        for _ in range(int(self.random.integers(1, 3))):
            self._input()
        made = 0
        for _ in range(6 * operators):
            if made == operators:
                break
            made += self._try()
        outputs = {name for node in self.nodes for name in node.output}
        read = {name for node in self.nodes for name in node.input}
        last = [name for name in outputs if name not in read] or list(self.feeds)[:1]
        if self.random.random() < 0.15:
            last.append(str(self.random.choice(sorted(set(self.values) - set(last)) or last)))
        self.model = self._model(sorted(set(last)))
        self.wanted = self._run(self.model)

    # making

    def _shape(self, rank=None):
        rank = int(self.random.choice([0, 1, 2, 3, 4, 4, 4, 5])) if rank is None else rank
        return tuple(int(n) for n in self.random.choice([1, 1, 2, 3, 4, 5], rank))

    def _input(self):
        dtype = self.random.choice([*[np.float32] * 3, np.uint8, np.int8, np.int64, np.int32, np.bool_])
        name, shape = f"in{len(self.inputs)}", self._shape()
        self.inputs.append(helper.make_tensor_value_info(name, helper.np_dtype_to_tensor_dtype(np.dtype(dtype)), shape))
        self.feeds[name] = self.values[name] = self._data(dtype, shape)

    def _data(self, dtype, shape):
        if np.dtype(dtype) == np.float32:
            return self.random.uniform(-3, 3, shape).astype(np.float32)
        low, high = {"u": (0, 200), "i": (-3, 4), "b": (0, 2)}[np.dtype(dtype).kind]
        return self.random.integers(low, high, shape).astype(dtype)

    def constant(self, array) -> str:
        name = f"c{len(self.constants)}"
        self.constants.append(numpy_helper.from_array(np.asarray(array), name))
        return name

    def _pick(self, kinds="f", rank=0):
        names = [n for n, v in self.values.items() if v.dtype.kind in kinds and v.ndim >= rank]
        return str(self.random.choice(names)) if names else None

    def _axis(self, value):
        return int(self.random.integers(-value.ndim, value.ndim)) if value.ndim else 0

    def _other(self, value):
        """Something that broadcasts with a value: a value of the same shape, a part of it, or a constant."""
        same = [n for n, v in self.values.items() if v.dtype == value.dtype and v.shape in (value.shape, ())]
        if same and self.random.random() < 0.5:
            return str(self.random.choice(same))
        shape = [n if self.random.random() < 0.5 else 1 for n in value.shape]
        return self.constant(self._data(value.dtype, shape[int(self.random.integers(value.ndim + 1)):]))

    def _try(self) -> int:
        """Adds a node, or several, if ONNX Runtime takes them."""
        makers = [name for name in dir(self) if name.startswith("make_")]
        kept = len(self.nodes), len(self.constants)
        try:
            getattr(self, str(self.random.choice(makers)))()
            new = [name for node in self.nodes[kept[0]:] for name in node.output]
            if not new:
                return 0
            for name, value in zip(new, self._run(self._model(new)), strict=True):
                if not isinstance(value, np.ndarray) or value.size > 4096:
                    raise ValueError
                self.values[name] = value
            return 1
        except Exception:  # ONNX Runtime's have no common base; what it does not take is not valid
            del self.nodes[kept[0]:], self.constants[kept[1]:]
            return 0

    def _model(self, outputs):
        results = [helper.make_tensor_value_info(name, TensorProto.UNDEFINED, None) for name in outputs]
        for value in results:
            value.ClearField("type")
        graph = helper.make_graph(self.nodes, "net", self.inputs, results, self.constants)
        for value in graph.output:
            if value.name in self.values:
                value.type.tensor_type.elem_type = helper.np_dtype_to_tensor_dtype(self.values[value.name].dtype)
        return helper.make_model(graph, ir_version=8, opset_imports=[helper.make_opsetid("", self.opset),
                                                                     helper.make_opsetid("com.microsoft", 1)])

    def _run(self, model):
        options = onnxruntime.SessionOptions()
        options.log_severity_level, options.intra_op_num_threads = 4, 1
        session = onnxruntime.InferenceSession(model.SerializeToString(), options, ["CPUExecutionProvider"])
        return session.run(None, self.feeds)

    def node(self, op, *inputs, outputs=1, **attributes):
        names = [f"v{len(self.nodes)}_{i}" for i in range(outputs)]
        self.nodes.append(helper.make_node(op, list(inputs), names, **attributes))
        return names[0] if outputs == 1 else names

    # operators; one that does not fit adds nothing, or something that ONNX Runtime refuses

    def make_qdq(self):
        x, dtype = self._pick(), self.random.choice([np.int8, np.uint8])
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
        x, op = self._pick(), str(self.random.choice(REDUCTIONS))
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
        channels, outputs = v.shape[1], int(self.random.integers(1, 4))
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
