"""TopK against LiteRT and ONNX Runtime: elements and places, equal elements included."""

import numpy as np
import pytest
from lepton.graph import Arithmetic, Graph, GraphError, TopK
from lepton.graph.builder import GraphBuilder
from lepton.graph.interpret import evaluate
from lepton.graph.passes import apply
from lepton.graph.verify import verify

SHAPE = (2, 3, 4, 7)


@pytest.mark.parametrize("dtype", [np.int8, np.float32, np.int32])
@pytest.mark.parametrize("k", [1, 3, 7])
def test_litert(dtype, k):
    pytest.importorskip("ai_edge_litert", reason="LiteRT is not installed")
    from lepton.frontends import import_tflite

    from tests.litert_models import Tensor, build, references
    x = np.random.default_rng(k).integers(-3, 4, SHAPE).astype(dtype)  # few different ones, so that many are equal
    x.flat[:2] = -128, 127
    scale = (0.5, 3) if dtype == np.int8 else ((), 0)
    made = (*SHAPE[:-1], k)
    model = build("TOPK_V2", [Tensor(*scale, shape=SHAPE, dtype=dtype), Tensor(data=np.int32(k).reshape(()))],
                  [Tensor(*scale, shape=made, dtype=dtype), Tensor(shape=made, dtype=np.int32)],
                  2 if dtype == np.int8 else 1, "TopKV2Options")
    graph = import_tflite(model)
    got = evaluate(graph, {graph.inputs[0]: x})
    for name, wanted in zip(graph.outputs, references(model, x), strict=True):
        assert got[name].dtype == wanted.dtype
        np.testing.assert_array_equal(got[name], wanted)


@pytest.mark.parametrize("largest", [0, 1])
@pytest.mark.parametrize("axis", [0, 2, -1])
def test_onnx_runtime(largest, axis):
    pytest.importorskip("onnxruntime", reason="ONNX Runtime is not installed")
    from tests.host.frontends.onnx.onnx_models import Net, array, difference
    for quantized in (False, True):
        net = Net()
        x = net.input(SHAPE)
        x = net.qdq(x, 0.5, 3) if quantized else x
        values, places = net("TopK", x, array([2], np.int64), outputs=2, axis=axis, largest=largest)
        assert not difference(net.model(values, places), np.random.default_rng(axis + 7), low=-2.0, high=2.0)
        assert not difference(net.model(places), np.random.default_rng(axis + 8), low=-2.0, high=2.0)


def test_with_its_axes_permuted():
    b = GraphBuilder(Graph("net", arithmetic=Arithmetic.FLOAT))
    y = b.input("x", SHAPE, np.float32).transpose((0, 3, 1, 2))
    b.output(y.apply(TopK(2, 1)), "y")
    graph = apply(b.graph, "channels-last")
    x = np.random.default_rng(0).normal(size=SHAPE).astype(np.float32)
    np.testing.assert_array_equal(evaluate(graph, {"x": x})["y"], evaluate(b.graph, {"x": x})["y"])
    assert type(graph.nodes[0].op) is TopK, "nothing is transposed before it"


def test_refused():
    def one(op):
        b = GraphBuilder(Graph("net"))
        b.output(b.input("x", (2, 3), np.float32).apply(op), "y")
        verify(b.graph)

    with pytest.raises(GraphError, match=r"k must be in 1\.\.3, the extent of axis 1, not 4"):
        one(TopK(4))
    with pytest.raises(GraphError, match="the output must be int32 or int64, not float32"):
        one(TopK(1, dtype="float32"))
