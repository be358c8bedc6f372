"""A random ONNX network that ONNX Runtime takes: subclasses say which operators it has."""

import numpy as np
import onnxruntime
from onnx import TensorProto, helper, numpy_helper

OPSETS = (9, 10, 11, 12, 13, 14, 15, 17, 18, 19, 20, 21)


class RandomNetwork:
    """`model` is valid in ONNX Runtime; `feeds` are inputs for it, `wanted` its outputs.

    Each method `make_...` of a subclass adds an operator; one that does not fit adds nothing, or something that ONNX
    Runtime refuses.
    """

    def __init__(self, seed: int, operators: int = 5):
        self.random = np.random.default_rng(seed)
        self.opset = int(self.random.choice(OPSETS))
        self.nodes = []
        self.constants = []
        self.inputs = []
        self.feeds = {}
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
        name = f"in{len(self.inputs)}"
        shape = self._shape()
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
        options.log_severity_level = 4
        options.intra_op_num_threads = 1
        session = onnxruntime.InferenceSession(model.SerializeToString(), options, ["CPUExecutionProvider"])
        return session.run(None, self.feeds)

    def node(self, op, *inputs, outputs=1, **attributes):
        names = [f"v{len(self.nodes)}_{i}" for i in range(outputs)]
        self.nodes.append(helper.make_node(op, list(inputs), names, **attributes))
        return names[0] if outputs == 1 else names
