"""CumSum against LiteRT and ONNX Runtime, bit for bit: the sums are made one after the other."""

import numpy as np
import pytest
from lepton.graph import Arithmetic, CumSum, Graph, GraphError, Quantization
from lepton.graph.builder import GraphBuilder
from lepton.graph.interpret import evaluate
from lepton.graph.passes import apply
from lepton.graph.verify import verify

SHAPE = (2, 5, 4, 3)


def values(dtype, seed=0):
    random = np.random.default_rng(seed)
    return random.normal(0, 10, SHAPE).astype(dtype) if dtype == np.float32 else random.integers(
        np.iinfo(dtype).min, np.iinfo(dtype).max, SHAPE, dtype)


@pytest.mark.parametrize("dtype", [np.float32, np.int32, np.int64])
@pytest.mark.parametrize("exclusive", [False, True])
@pytest.mark.parametrize("reverse", [False, True])
@pytest.mark.parametrize("axis", [0, 2, -1])
def test_litert(dtype, exclusive, reverse, axis):
    pytest.importorskip("ai_edge_litert", reason="LiteRT is not installed")
    from lepton.frontends import import_tflite

    from tests.litert_models import Tensor, build, reference
    x = values(dtype)
    model = build("CUMSUM", [Tensor(shape=SHAPE, dtype=dtype), Tensor(data=np.int32(axis).reshape(()))],
                  Tensor(shape=SHAPE, dtype=dtype), 1, "CumsumOptions", Exclusive=exclusive, Reverse=reverse)
    graph = import_tflite(model)
    got = evaluate(graph, {graph.inputs[0]: x})[graph.outputs[0]]
    np.testing.assert_array_equal(got, reference(model, x))  # integers wrap around in both


@pytest.mark.parametrize("exclusive", [0, 1])
@pytest.mark.parametrize("reverse", [0, 1])
@pytest.mark.parametrize("axis", [0, 1, -1])
def test_onnx_runtime(exclusive, reverse, axis):
    pytest.importorskip("onnxruntime", reason="ONNX Runtime is not installed")
    from tests.host.frontends.onnx.onnx_models import Net, array, difference
    for quantized in (False, True):
        net = Net()
        x = net.input(SHAPE)
        x = net.qdq(x, 0.5, 3) if quantized else x
        model = net.model(net("CumSum", x, array(axis, np.int64), exclusive=exclusive, reverse=reverse))
        assert not difference(model, np.random.default_rng(axis + 7))


def test_with_its_axes_permuted():
    b = GraphBuilder(Graph("net", arithmetic=Arithmetic.FLOAT))
    y = b.input("x", SHAPE, np.float32).transpose((0, 3, 1, 2))
    b.output(y.apply(CumSum(1, reverse=True)), "y")
    graph = apply(b.graph, "channels-last")
    x = values(np.float32)
    np.testing.assert_array_equal(evaluate(graph, {"x": x})["y"], evaluate(b.graph, {"x": x})["y"])
    assert type(graph.nodes[0].op) is CumSum, "nothing is transposed before it"


def test_refused():
    def one(op, dtype, q=None):
        b = GraphBuilder(Graph("net"))
        b.output(b.emit(op, [b.input("x", (2, 3), dtype, q)], quantization=q), "y")
        verify(b.graph)

    with pytest.raises(GraphError, match="axis -3 must be one of a tensor of 2 dimensions"):
        one(CumSum(-3), np.float32)
    with pytest.raises(GraphError, match="'x' must be float32 or int32 or int64, not int8"):
        one(CumSum(0), np.int8, Quantization(np.float32([1]), np.int32([0])))
