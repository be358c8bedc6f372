"""Small ONNX models for the tests, and their comparison with ONNX Runtime."""

from functools import cache

import numpy as np
import onnx
import onnxruntime
import pytest
from lepton.frontends.onnx import import_onnx
from lepton.graph.interpret import evaluate
from lepton.graph.verify import verify
from onnx import TensorProto, helper, numpy_helper

OPSET = 17
IMAGE = (1, 4, 7, 6)


def array(values, dtype) -> np.ndarray:
    return np.asarray(values, dtype)


class Net:
    """Collects nodes and constants; methods return the name of their result."""

    def __init__(self, opset: int = OPSET):
        self.nodes = []
        self.constants = []
        self.inputs = []
        self.opset = opset

    def input(self, shape, dtype=np.float32, name=None) -> str:
        name = name or f"x{len(self.inputs)}"
        self.inputs.append(helper.make_tensor_value_info(name, helper.np_dtype_to_tensor_dtype(np.dtype(dtype)), shape))
        return name

    def constant(self, values, dtype=None) -> str:
        name = f"c{len(self.constants)}"
        self.constants.append(numpy_helper.from_array(np.array(values, dtype, order="C"), name))
        return name

    def __call__(self, op, *inputs, outputs=1, domain="", **attributes):
        names = [f"v{len(self.nodes)}_{i}" for i in range(outputs)]
        inputs = [i if isinstance(i, str) else self.constant(i) for i in inputs]
        self.nodes.append(helper.make_node(op, inputs, names, domain=domain, **attributes))
        return names[0] if outputs == 1 else names

    def quantize(self, x, scale, zero, dtype=np.int8) -> str:
        return self("QuantizeLinear", x, array(scale, np.float32), array(zero, dtype))

    def dequantize(self, x, scale, zero, dtype=np.int8, **attributes) -> str:
        return self("DequantizeLinear", x, array(scale, np.float32), array(zero, dtype), **attributes)

    def qdq(self, x, scale, zero, dtype=np.int8) -> str:
        return self.dequantize(self.quantize(x, scale, zero, dtype), scale, zero, dtype)

    def weights(self, codes, scale, axis=0, zero=None) -> str:
        scale = array(scale, np.float32)
        zero = np.zeros(scale.shape, codes.dtype) if zero is None else array(zero, codes.dtype)
        axis = {"axis": axis} if scale.ndim else {}
        return self.dequantize(codes, scale, zero, codes.dtype, **axis)

    def model(self, *outputs) -> onnx.ModelProto:
        results = [helper.make_tensor_value_info(name, TensorProto.UNDEFINED, None) for name in outputs]
        for value in results:
            value.ClearField("type")
        graph = helper.make_graph(self.nodes, "net", self.inputs, results, self.constants)
        graph = onnx.shape_inference.infer_shapes(self._wrap(graph)).graph
        types = {value.name: value for value in [*graph.value_info, *graph.output]}
        graph.ClearField("value_info")
        for value in graph.output:
            value.CopyFrom(types[value.name])
            if not value.type.HasField("tensor_type"):  # of an operator that is ONNX Runtime's own
                value.type.tensor_type.elem_type = self.inputs[0].type.tensor_type.elem_type
        return self._wrap(graph)

    def _wrap(self, graph) -> onnx.ModelProto:
        return helper.make_model(graph, ir_version=8, opset_imports=[
            helper.make_opsetid("", self.opset), helper.make_opsetid("com.microsoft", 1)])


def feeds_for(model, rng, low=-8.0, high=8.0) -> dict[str, np.ndarray]:
    feeds = {}
    for value in model.graph.input:
        shape = [max(dim.dim_value, 1) for dim in value.type.tensor_type.shape.dim]  # an open batch is 1
        dtype = helper.tensor_dtype_to_np_dtype(value.type.tensor_type.elem_type)
        if dtype == np.float32:
            feeds[value.name] = rng.uniform(low, high, shape).astype(np.float32)
        else:
            info = np.iinfo(dtype)
            feeds[value.name] = rng.integers(info.min, info.max + 1, shape).astype(dtype)
    return feeds


def reference(model, feeds) -> list[np.ndarray]:
    """ONNX Runtime with its default options."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    return onnxruntime.InferenceSession(model.SerializeToString(), options, ["CPUExecutionProvider"]).run(None, feeds)


def run(graph, feeds) -> list[np.ndarray]:
    """The graph's outputs as the host's kernels compute them, after the compiler has accepted it."""
    verify(graph)
    values = evaluate(graph, feeds)
    return [values[name] for name in graph.outputs]


def difference(model, rng, runs=2, low=-8.0, high=8.0) -> int:
    """In how many elements the imported graph differs from ONNX Runtime on random inputs; types and shapes must not."""
    graph = import_onnx(model)
    wrong = 0
    assert graph.inputs == [value.name for value in model.graph.input]
    assert graph.outputs == [value.name for value in model.graph.output]
    for _ in range(runs):
        feeds = feeds_for(model, rng, low, high)
        for want, got in zip(reference(model, feeds), run(graph, feeds), strict=True):
            assert want.shape == got.shape and want.dtype == got.dtype
            wrong += int(np.sum(~((want == got) | (np.isnan(want) & np.isnan(got)) if want.dtype == np.float32
                                  else want == got)))
    return wrong


def operators(model) -> list[str]:
    return [type(node.op).__name__ for node in import_onnx(model).nodes]


@cache
def integer_products_are_exact() -> bool:
    """Does ONNX Runtime multiply uint8 by int8 exactly here? Without VNNI its x86 kernels saturate sums of pairs."""
    net = Net()
    x = net.input((1, 64), np.uint8)
    one = [array(1, np.float32), array(0, np.uint8)]
    y = net("QLinearMatMul", x, *one, np.full((64, 1), 127, np.int8), array(1, np.float32), array(0, np.int8),
            array(64 * 255 * 127 / 200, np.float32), array(0, np.uint8))
    return int(reference(net.model(y), {x: np.full((1, 64), 255, np.uint8)})[0][0, 0]) == 200


# For tests that compare integer layers with ONNX Runtime's.
exact_products = pytest.mark.skipif(
    not integer_products_are_exact(), reason="ONNX Runtime's integer kernels saturate on this CPU (no VNNI)")


def single(build, shape=IMAGE, opset=17, scales=(0.05, 0.05), zeros=(3, 3), dtype=np.int8):
    net = Net(opset)
    x = net.qdq(net.input(shape), scales[0], zeros[0], dtype)
    return net.model(net.qdq(build(net, x), scales[1], zeros[1], dtype))


def requantized(build, dtype, scales=(0.05, 0.04), zeros=(3, 20), shape=IMAGE, opset=17):
    """x quantized, an operator on it, its result quantized."""
    net = Net(opset)
    x = net.qdq(net.input(shape), scales[0], zeros[0], dtype)
    return net.model(net.qdq(build(net, x), scales[1], zeros[1], dtype))


def op(name, *constants, **attributes):
    return lambda net, x: net(name, x, *constants, **attributes)
