"""The one verifier: what is declared must be what operators infer, and the rules are those of the frameworks."""

from dataclasses import replace

import numpy as np
import pytest
from lepton.graph import (
    Add,
    Arithmetic,
    AveragePool2D,
    Conv2D,
    DepthwiseConv2D,
    FullyConnected,
    Graph,
    GraphError,
    MaxPool2D,
    Mean,
    Node,
    OperandList,
    Quantization,
    Reshape,
    Softmax,
    Tensor,
)
from lepton.graph.interpret import evaluate
from lepton.graph.verify import verify

from tests.host.frontends.frontend_graphs import every_operator

INT8 = np.dtype(np.int8)


def q(scale, zero=0):
    return Quantization(np.float32([scale]), np.int32([zero]))


def one(op, inputs, output, arithmetic=Arithmetic.FIXED):
    """A graph of one node; tensors are (shape, scale)."""
    tensors = {name: Tensor(name, shape, INT8, q(scale)) for name, (shape, scale) in {**inputs, "y": output}.items()}
    return Graph("net", tensors, [Node(op, list(inputs), ["y"], "node")], list(inputs), ["y"], arithmetic)


IMAGE = (1, 4, 4, 8)


@pytest.mark.parametrize("arithmetic", [Arithmetic.FLOAT, Arithmetic.TORCH])
def test_a_sum_of_small_scale_is_the_frameworks_that_add_in_float(arithmetic):
    """TFLite has 20 bits below its inputs' scale; the others saturate."""
    given = ({"a": (IMAGE, 1.0), "b": (IMAGE, 1.0)}, (IMAGE, 1e-7))
    graph = verify(one(Add(), *given, arithmetic))
    ones = np.ones(IMAGE, np.int8)
    assert (evaluate(graph, {"a": ones, "b": -2 * ones})["y"] == -128).all()
    with pytest.raises(GraphError, match=r"Add 'node': an addition whose output scale .* cannot be computed"):
        verify(one(Add(), *given))


@pytest.mark.parametrize("kind", [MaxPool2D, AveragePool2D])
@pytest.mark.parametrize("scales", [(1e-7, 8e-7), (0.5, 0.5 + 2e-6)])
def test_scales_of_pools_are_compared_as_tflite_does(kind, scales):
    """To 1e-6, as its kernels assert: they hand the bytes on. Frameworks that compute in reals want the same scale of a
    maximum."""
    pytest.importorskip("ai_edge_litert", reason="LiteRT is not installed")
    from lepton.frontends import import_tflite

    from tests import litert_models as lite
    name = "MAX_POOL_2D" if kind is MaxPool2D else "AVERAGE_POOL_2D"
    model = lite.build(name, [lite.Tensor(scales[0], 3, shape=IMAGE)], lite.Tensor(scales[1], 3, shape=(1, 2, 2, 8)), 2,
                       "Pool2DOptions", Padding=1, StrideH=2, StrideW=2, FilterHeight=2, FilterWidth=2)
    x = np.random.default_rng(0).integers(-128, 128, IMAGE).astype(np.int8)
    graph = one(kind(), {"x": (IMAGE, scales[0])}, ((1, 2, 2, 8), scales[1]))
    if abs(scales[0] - scales[1]) < 1e-6:
        np.testing.assert_array_equal(evaluate(import_tflite(model), {import_tflite(model).inputs[0]: x})[
            import_tflite(model).outputs[0]], lite.reference(model, x))
        verify(graph)
    else:
        text = r"'x' and 'y' must have the same scale and zero point, not 0\.5, 0 and 0\.5"
        with pytest.raises(GraphError, match=text):
            verify(graph)
    graph.arithmetic = Arithmetic.FLOAT
    if kind is AveragePool2D:
        verify(graph)
    else:
        with pytest.raises(GraphError, match="'x' and 'y' must have the same scale and zero point"):
            verify(graph)


@pytest.mark.parametrize("kind", [MaxPool2D, AveragePool2D])
def test_a_pool_has_no_window_of_padding_alone(kind):
    """ONNX Runtime: "Pad should be smaller than kernel"; PyTorch: at most half of it; TFLite's SAME never is."""
    graph = one(kind(padding=((2, 2), (2, 2))), {"x": (IMAGE, 0.1)}, ((1, 4, 4, 8), 0.1))
    with pytest.raises(GraphError, match=r"padding \(\(2, 2\), \(2, 2\)\) must be less than the kernel \(2, 2\)"):
        verify(graph)
    onnx = pytest.importorskip("onnxruntime", reason="ONNX Runtime is not installed")
    from tests.host.frontends.onnx.onnx_models import Net
    net = Net()
    name = "MaxPool" if kind is MaxPool2D else "AveragePool"
    with pytest.raises(Exception, match="Pad should be smaller than kernel"):
        model = net.model(net(name, net.input((1, 8, 4, 4)), kernel_shape=[2, 2], pads=[2, 2, 2, 2]))
        onnx.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])


@pytest.mark.parametrize("clamp", [(10, -10), (-129, 0), (0, 128)])
@pytest.mark.parametrize("op", [MaxPool2D((1, 1), (1, 1)), AveragePool2D((1, 1), (1, 1)), Add()])
def test_clamps_lie_in_int8_and_are_not_empty(op, clamp):
    inputs = {"a": (IMAGE, 0.1), "b": (IMAGE, 0.1)} if isinstance(op, Add) else {"x": (IMAGE, 0.1)}
    with pytest.raises(GraphError, match=r"the clamp range must lie in -128\.\.127 and not be empty"):
        verify(one(replace(op, clamp=clamp), inputs, (IMAGE, 0.1)))


def test_softmax_has_tflites_scale_only_in_tflite():
    given = ({"x": ((1, 8), 0.1)}, ((1, 8), 0.5))
    with pytest.raises(GraphError, match=r"the output must have scale 1/256 and zero point -128, not 0\.5 and 0"):
        verify(one(Softmax(), *given))
    verify(one(Softmax(), *given, Arithmetic.FLOAT))


@pytest.mark.parametrize("name", ["same", "depthwise", "odd", "add", "max", "average", "flat", "dense",
                                  "probabilities", "mean", "mean_kept"])
def test_another_shape_or_type_than_inferred_is_refused(name):
    graph = every_operator()
    verify(graph)
    tensor = graph.tensors[name]
    graph.tensors[name] = replace(tensor, shape=(*tensor.shape[:-1], tensor.shape[-1] + 1))
    with pytest.raises(GraphError, match=f"{name}': '{name}' must have shape"):
        verify(graph)
    graph.tensors[name] = replace(tensor, dtype=np.dtype(np.int32))
    with pytest.raises(GraphError, match=rf"{name}': '{name}' must be int8, not int32"):
        verify(graph)


@pytest.mark.parametrize(("op", "shape", "made"), [
    (FullyConnected(), (2, 3, 12), (2, 3, 5)), (FullyConnected(keep_dims=False), (2, 3, 12), (6, 5)),
    (FullyConnected(), (1, 2, 2, 3), (1, 5)), (FullyConnected(), (12,), (5,)),
    (Reshape((3, -1)), (2, 3), None), (Reshape((3, 2)), (2, 3), (3, 2)), (Mean(), (2, 4, 4, 3), (2, 1, 1, 3)),
    (Mean(False), (2, 4, 4, 3), (2, 3)), (Conv2D(), (2, 4, 4, 3), None), (DepthwiseConv2D(), (4, 4, 3), None),
])
def test_shapes_are_inferred(op, shape, made):
    weights = Tensor("w", (5, 12), INT8, q(0.1), np.zeros((5, 12), np.int8))
    inputs = [Tensor("x", shape, INT8, q(0.1))] + [weights] * (op.operands[0] - 1)
    if made is None:
        with pytest.raises(GraphError):
            op.infer(OperandList(inputs))
    else:
        assert op.infer(OperandList(inputs)) == (made, INT8)
