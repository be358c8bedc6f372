"""ReverseSequence against LiteRT and ONNX Runtime, for lengths from none to all elements."""

import numpy as np
import pytest
from lepton.graph import Arithmetic, Graph, GraphError, ReverseSequence
from lepton.graph.builder import GraphBuilder
from lepton.graph.interpret import evaluate
from lepton.graph.passes import apply
from lepton.graph.verify import verify

SHAPE = (4, 5, 3, 6)
AXES = [(1, 0), (0, 1), (3, 0), (2, 3)]  # of the elements, of the sequences


def lengths(axis, batch, dtype, seed=0):
    """Random ones, the least and the greatest among them."""
    made = np.random.default_rng(seed).integers(0, SHAPE[axis] + 1, SHAPE[batch]).astype(dtype)
    made[:2] = 0, SHAPE[axis]
    return made


@pytest.mark.parametrize("dtype", [np.uint8, np.float32, np.int32, np.int64])
@pytest.mark.parametrize("count", [np.int32, np.int64])
@pytest.mark.parametrize(("axis", "batch"), AXES)
def test_litert(axis, batch, count, dtype):
    pytest.importorskip("ai_edge_litert", reason="LiteRT is not installed")
    from lepton.frontends import import_tflite

    from tests.litert_models import Tensor, build, reference
    scale = (0.5, 3) if dtype == np.uint8 else ((), 0)
    tensors = [Tensor(*scale, shape=SHAPE, dtype=dtype), Tensor(shape=(SHAPE[batch],), dtype=count)]
    model = build("REVERSE_SEQUENCE", tensors, Tensor(*scale, shape=SHAPE, dtype=dtype), 1, "ReverseSequenceOptions",
                  SeqDim=axis, BatchDim=batch)
    graph = import_tflite(model)
    x = np.random.default_rng(axis).integers(0, 256, SHAPE).astype(dtype)
    for seed in range(3):
        given = lengths(axis, batch, count, seed)
        got = evaluate(graph, dict(zip(graph.inputs, (x, given), strict=True)))[graph.outputs[0]]
        np.testing.assert_array_equal(got, reference(model, x, given))


@pytest.mark.parametrize(("axis", "batch"), [(0, 1), (1, 0)])  # those that ONNX has
def test_onnx_runtime(axis, batch):
    pytest.importorskip("onnxruntime", reason="ONNX Runtime is not installed")
    from tests.host.frontends.onnx.onnx_models import Net, array, difference
    for quantized in (False, True):
        net = Net()
        x = net.input(SHAPE)
        x = net.qdq(x, 0.5, 3) if quantized else x
        y = net("ReverseSequence", x, array(lengths(axis, batch, np.int64), np.int64), time_axis=axis, batch_axis=batch)
        assert not difference(net.model(y), np.random.default_rng(axis + 7))


def test_with_its_axes_permuted():
    b = GraphBuilder(Graph("net", arithmetic=Arithmetic.FLOAT))
    y = b.input("x", SHAPE, np.float32).transpose((0, 3, 1, 2))
    b.output(y.apply(ReverseSequence(1, 0), b.constant(np.array([0, 6, 2, 5]))), "y")
    graph = apply(b.graph, "channels-last")
    x = np.random.default_rng(0).normal(size=SHAPE).astype(np.float32)
    np.testing.assert_array_equal(evaluate(graph, {"x": x})["y"], evaluate(b.graph, {"x": x})["y"])
    assert type(graph.nodes[0].op) is ReverseSequence, "nothing is transposed before it"


@pytest.mark.parametrize(("op", "given", "text"), [
    (ReverseSequence(1, 1), [1] * 5, "the axes of the elements and of the sequences must differ, not both be 1"),
    (ReverseSequence(4, 0), [1] * 4, "axis 4 must be one of a tensor of 4 dimensions"),
    (ReverseSequence(1, 0), [1] * 5, r"the lengths must be of shape \(4,\), one for each sequence, not \(5,\)"),
    (ReverseSequence(1, 0), [1.0] * 4, "must be int32 or int64, not float64"),
])
def test_refused(op, given, text):
    b = GraphBuilder(Graph("net"))
    x = b.input("x", SHAPE, np.float32)
    with pytest.raises(GraphError, match=text):
        x.apply(op, b.constant(np.array(given)))


def test_lengths_beyond_the_elements_are_refused_when_they_come():
    b = GraphBuilder(Graph("net"))
    y = b.input("x", SHAPE, np.float32).apply(ReverseSequence(1, 0), b.input("lengths", (4,), np.int32))
    b.output(y, "y")
    graph = verify(b.graph)
    for wrong in (6, -1):
        with pytest.raises(GraphError, match=rf"length {wrong} of 'lengths' must lie in 0\.\.5"):
            evaluate(graph, {"x": np.zeros(SHAPE, np.float32), "lengths": np.array([0, 1, wrong, 5], np.int32)})
