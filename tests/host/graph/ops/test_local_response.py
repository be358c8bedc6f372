"""Local response normalization as ONNX Runtime, LiteRT and PyTorch compute it."""

import numpy as np
import pytest
from lepton.graph import Arithmetic, GraphError
from lepton.graph.numerics import onnxruntime_kernels

from tests.seeds import seeds

SHAPE = (2, 7, 3, 4)
CASES = ((5, 1e-4, 0.75, 1.0), (1, 0.5, 0.5, 2.0), (3, 2.0, 1.0, 0.5), (19, 0.1, 0.5, 1.0))
NEAR = 1e-5  # sums of squares are added in another order, with cancellation where a window moves on


@pytest.mark.parametrize("seed", seeds())
@pytest.mark.parametrize("size,alpha,beta,bias", CASES)
def test_onnx(size, alpha, beta, bias, seed, monkeypatch):
    pytest.importorskip("onnxruntime")
    from lepton.frontends.onnx import import_onnx

    from tests.host.frontends.onnx.onnx_models import Net, reference, run
    net = Net()
    y = net("LRN", net.input(SHAPE), size=size, alpha=alpha, beta=beta, bias=bias)
    model = net.model(net.qdq(y, 0.02, 3), y)
    x = np.random.default_rng(seed).normal(0, 3, SHAPE).astype(np.float32)
    wanted = reference(model, {"x0": x})
    graph = import_onnx(model)
    assert graph.arithmetic is Arithmetic.FLOAT
    for ours, theirs in zip(run(graph, {"x0": x}), wanted, strict=True):
        np.testing.assert_array_equal(ours, theirs)
    monkeypatch.setenv(onnxruntime_kernels.SWITCH, "0")
    np.testing.assert_allclose(run(import_onnx(model), {"x0": x})[1], wanted[1], NEAR, NEAR)


@pytest.mark.parametrize("attributes,shape,text", [
    ({"size": 2}, SHAPE, "size must be odd and above 0, and the input .* not 2 and"),
    ({"size": 3}, (2, 7, 3), "size must be odd and above 0, and the input .* not 3 and")])
def test_what_onnxruntime_does_not_take(attributes, shape, text):
    pytest.importorskip("onnxruntime")
    from lepton.frontends.onnx import import_onnx

    from tests.host.frontends.onnx.onnx_models import Net
    net = Net()
    model = net.model(net.qdq(net("LRN", net.input(shape), **attributes), 0.02, 3))
    with pytest.raises(GraphError, match=f"{text}|ONNX Runtime cannot load the model"):
        import_onnx(model)


@pytest.mark.parametrize("seed", seeds())
@pytest.mark.parametrize("size,alpha,beta,bias", CASES)
def test_tflite(size, alpha, beta, bias, seed):
    """Its optimized kernels, which people run; the reference ones leave out the last channel of each sum."""
    pytest.importorskip("ai_edge_litert")
    from lepton.frontends import import_tflite
    from lepton.graph.interpret import evaluate

    from tests.litert_models import Tensor, build, references
    shape = (1, 3, 4, 7)
    tensors = [Tensor(shape=shape, dtype=np.float32) for _ in range(2)]
    model = build("LOCAL_RESPONSE_NORMALIZATION", tensors[:1], tensors[1], 1, "LocalResponseNormalizationOptions",
                  Radius=size // 2, Bias=bias, Alpha=alpha, Beta=beta)
    x = np.random.default_rng(seed).normal(0, 3, shape).astype(np.float32)
    graph = import_tflite(model)
    ours = evaluate(graph, {graph.inputs[0]: x})[graph.outputs[0]]
    np.testing.assert_allclose(ours, references(model, x, optimized=True)[0], NEAR, NEAR)


def test_torch():
    torch = pytest.importorskip("torch")
    from tests.host.frontends.torch.torch_compare import compare
    torch.manual_seed(3)
    module = torch.nn.Sequential(torch.nn.Conv2d(3, 8, 3), torch.nn.ReLU(), torch.nn.LocalResponseNorm(5),
                                 torch.nn.MaxPool2d(2)).eval()
    found = compare(module, [torch.randn(3, 3, 8, 8)], [torch.randn(1, 3, 8, 8) for _ in range(2)])
    assert found.differing == 0
