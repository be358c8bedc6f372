"""ArgMax and ArgMin against LiteRT and ONNX Runtime, equal elements included."""

import numpy as np
import pytest
from lepton.graph import ArgMax, Arithmetic, Graph, GraphError
from lepton.graph.builder import GraphBuilder
from lepton.graph.interpret import evaluate
from lepton.graph.passes import apply
from lepton.graph.verify import verify


def values(dtype, seed=0):
    """Few different ones, so that many are equal."""
    return np.random.default_rng(seed).integers(-3, 4, (2, 5, 4, 3)).astype(dtype)


@pytest.mark.parametrize("operator", ["ARG_MAX", "ARG_MIN"])
@pytest.mark.parametrize("dtype", [np.int8, np.float32, np.int32])
@pytest.mark.parametrize("out", [np.int32, np.int64])
@pytest.mark.parametrize("axis", [0, 2, -1])
def test_litert(operator, dtype, out, axis):
    pytest.importorskip("ai_edge_litert", reason="LiteRT is not installed")
    from lepton.frontends import import_tflite

    from tests.litert_models import Tensor, build, reference
    x = values(dtype)
    scale = (0.5, 3) if dtype == np.int8 else ((), 0)
    shape = np.delete(x.shape, axis)
    kind = "ArgMaxOptions" if operator == "ARG_MAX" else "ArgMinOptions"
    model = build(operator, [Tensor(*scale, shape=x.shape, dtype=dtype), Tensor(data=np.int32(axis).reshape(()))],
                  Tensor(shape=shape, dtype=out), 2 if dtype == np.int8 else 1, kind,
                  OutputType={np.int32: 2, np.int64: 4}[out])
    graph = import_tflite(model)
    got = evaluate(graph, {graph.inputs[0]: x})[graph.outputs[0]]
    np.testing.assert_array_equal(got, reference(model, x))
    assert got.dtype == out


@pytest.mark.parametrize("operator", ["ArgMax", "ArgMin"])
@pytest.mark.parametrize("last", [0, 1])
@pytest.mark.parametrize("keep", [0, 1])
def test_onnx_runtime(operator, last, keep):
    pytest.importorskip("onnxruntime", reason="ONNX Runtime is not installed")
    from tests.host.frontends.onnx.onnx_models import Net, difference
    for quantized in (False, True):
        for axis in (0, 1, -1):
            net = Net()
            x = net.input((2, 5, 4, 3))
            x = net.qdq(x, 0.5, 3) if quantized else x
            model = net.model(net(operator, x, axis=axis, keepdims=keep, select_last_index=last))
            assert not difference(model, np.random.default_rng(axis + 7), low=-2.0, high=2.0)


@pytest.mark.parametrize("keep", [False, True])
@pytest.mark.parametrize("last", [False, True])
def test_with_its_axes_permuted(keep, last):
    """Channels last: the operator moves through the transpose, places stay what they were."""
    b = GraphBuilder(Graph("net", arithmetic=Arithmetic.FLOAT))
    y = b.input("x", (2, 5, 4, 3), np.float32).transpose((0, 3, 1, 2))
    b.output(y.apply(ArgMax(1, keep, last=last)), "y")
    graph = apply(b.graph, "channels-last")
    x = values(np.float32)
    np.testing.assert_array_equal(evaluate(graph, {"x": x})["y"], evaluate(b.graph, {"x": x})["y"])
    assert type(graph.nodes[0].op) is ArgMax, "nothing is transposed before it"


def test_refused():
    def one(op):
        b = GraphBuilder(Graph("net"))
        b.output(b.input("x", (2, 3), np.float32).apply(op), "y")
        verify(b.graph)

    with pytest.raises(GraphError, match="axis 2 must be one of a tensor of 2 dimensions"):
        one(ArgMax(2))
    with pytest.raises(GraphError, match="the output must be int32 or int64, not int8"):
        one(ArgMax(0, dtype="int8"))
