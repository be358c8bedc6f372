"""PyTorch modules to int8 graphs; what the graphs compute is checked by LiteRT's reference kernels."""

import numpy as np
import pytest

from tests.host.frontends.frontend_graphs import difference, run_litert

torch = pytest.importorskip("torch")

from lepton.frontends import export_tflite  # noqa: E402
from lepton.frontends import quantize as quantize_module  # noqa: E402
from lepton.graph import (  # noqa: E402
    Arithmetic,
    AveragePool2D,
    Conv2D,
    DepthwiseConv2D,
    GraphError,
    MaxPool2D,
    Mean,
)
from lepton.graph.passes import apply  # noqa: E402
from torch import nn  # noqa: E402
from torch.nn import functional as F  # noqa: E402

from tests.host.frontends.torch.torch_networks import settled  # noqa: E402


@pytest.fixture(autouse=True)
def seeded():
    torch.manual_seed(0)
    torch.set_num_threads(1)


def quantize(module, data, *arguments, **options):
    """The graph with int8 edges and TFLite's rounding, so that LiteRT can run it."""
    graph = apply(quantize_module(module, data, *arguments, **options), "int8-edges")
    graph.arithmetic = Arithmetic.FIXED
    return graph


def batches(shape=(3, 12, 10), count=4, size=8):
    return [torch.randn(size, *shape) for _ in range(count)]


def as_graph_input(graph, x: torch.Tensor) -> np.ndarray:
    q = graph.tensors[graph.inputs[0]].quantization
    values = x.permute(0, 2, 3, 1) if x.ndim == 4 else x
    return np.clip(np.round(values.numpy() / q.scale[0]) + q.zero_point[0], -128, 127).astype(np.int8)


def error(graph, module: nn.Module, x: torch.Tensor) -> float:
    """Largest difference between LiteRT's int8 result and the module's, in steps of the output's scale."""
    q = graph.tensors[graph.outputs[0]].quantization
    got = (run_litert(export_tflite(graph), as_graph_input(graph, x))[0].astype(float) - q.zero_point[0]) * q.scale[0]
    with torch.no_grad():
        expected = module(x)
    expected = (expected.permute(0, 2, 3, 1) if expected.ndim == 4 else expected).numpy()
    return float(np.abs(got - expected).max() / q.scale[0])


def check(module: nn.Module, shape=(3, 12, 10), steps=6.0, **options):
    """Quantizes, compares with float within `steps` of 255, and round-trips through TFLite. The graph."""
    module = settled(module)
    data = batches(shape)
    graph = quantize(module, data, **options)
    assert error(graph, module, data[0]) <= steps
    return graph


def ops(graph) -> list:
    return [node.op for node in graph.nodes]


class Everything(nn.Module):
    """Normalization, in-place and functional activations, a residual, both poolings, dropout, a softmax."""

    def __init__(self):
        super().__init__()
        self.stem = nn.Sequential(nn.Conv2d(3, 8, 3, padding="same", bias=False), nn.BatchNorm2d(8),
                                  nn.ReLU(inplace=True))
        self.depthwise = nn.Conv2d(8, 16, 3, stride=2, padding=1, groups=8)
        self.norm = nn.BatchNorm2d(16)
        self.project = nn.Conv2d(16, 16, 1)
        self.wide = nn.Conv2d(16, 12, (3, 2), dilation=(1, 2), groups=2)
        self.drop = nn.Dropout()
        self.dense = nn.Linear(12 * 2 * 1, 10)

    def forward(self, x):
        x = F.relu6(self.norm(self.depthwise(self.stem(x))))
        x = F.relu(x + self.project(x))
        x = F.avg_pool2d(F.max_pool2d(self.wide(x), (2, 1)), (1, 3))
        return self.dense(self.drop(torch.flatten(x, 1)))


def test_network_with_everything():
    graph = check(Everything(), steps=8)
    assert [node.name for node in graph.nodes] == [
        "stem.0.conv2d", "depthwise", "project", "add", "wide", "max_pool2d", "avg_pool2d", "dense", "dense"]
    assert ops(graph)[0] == Conv2D(padding=((1, 1), (1, 1)))
    assert ops(graph)[1] == DepthwiseConv2D(stride=(2, 2), padding=((1, 1), (1, 1)), multiplier=2)
    assert ops(graph)[4] == Conv2D(dilation=(1, 2), groups=2)
    weights = graph.tensors["stem.0.conv2d.weight"]
    assert weights.shape == (8, 3, 3, 3) and weights.quantization.scale.shape == (8,)
    assert weights.data.min() >= -127 and np.abs(weights.data).reshape(8, -1).max(1).tolist() == [127] * 8
    assert graph.tensors[graph.nodes[-1].inputs[1]].quantization.scale.shape == (1,)
    scale = graph.tensors["x"].quantization.scale * weights.quantization.scale
    assert np.array_equal(graph.tensors["stem.0.conv2d.bias"].quantization.scale, scale)
    wide, pooled = (graph.tensors[graph.nodes[i].outputs[0]].quantization for i in (4, 5))
    assert wide.scale == pooled.scale and wide.zero_point == pooled.zero_point


def test_class_decisions_survive_quantization():
    module = settled(nn.Sequential(nn.Conv2d(3, 16, 3, stride=2), nn.ReLU(), nn.Conv2d(16, 16, 3), nn.ReLU(),
                                  nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(16, 10)))
    graph = quantize(module, batches(count=8))
    x = torch.randn(64, 3, 12, 10)
    got = run_litert(export_tflite(graph), as_graph_input(graph, x))[0].argmax(1)
    with torch.no_grad():
        assert (got == module(x).argmax(1).numpy()).mean() >= 0.85  # untrained: many near ties


def test_linear_after_flatten_has_its_columns_in_nhwc_order():
    module = settled(nn.Sequential(nn.Conv2d(3, 5, 3), nn.Flatten(), nn.Linear(5 * 10 * 8, 7)))
    graph = check(module)
    weights = graph.tensors["2.linear.weight.t"]
    expected = module[2].weight.detach().reshape(7, 5, 10, 8).permute(0, 2, 3, 1).reshape(7, -1).numpy()
    assert np.abs(weights.data * weights.quantization.scale[0] - expected).max() <= weights.quantization.scale[0]


def test_normalization_on_its_own_is_a_depthwise_convolution():
    graph = check(nn.Sequential(nn.MaxPool2d(2), nn.BatchNorm2d(3)))
    assert ops(graph)[1] == DepthwiseConv2D()
    assert graph.tensors[graph.nodes[1].inputs[1]].shape == (1, 1, 1, 3)


class Pad(nn.Module):
    def __init__(self, after: nn.Module, pad=(0, 1, 2, 1), value=0.0):
        super().__init__()
        self.pad = pad
        self.value = value
        self.after = after

    def forward(self, x):
        return self.after(F.pad(x, self.pad, value=self.value))


def test_zero_pad_becomes_the_convolutions_padding():
    graph = check(Pad(nn.Conv2d(3, 4, 3, stride=2, padding=1)))
    assert ops(graph) == [Conv2D(stride=(2, 2), padding=((3, 2), (1, 2)))]


def test_ceil_mode_and_uncounted_padding():
    graph = check(nn.Sequential(nn.MaxPool2d(3, 2, ceil_mode=True), nn.AvgPool2d(3, 1, 1, count_include_pad=False)),
                  steps=2)
    assert ops(graph) == [MaxPool2D((3, 3), (2, 2), ((0, 1), (0, 1))),
                          AveragePool2D((3, 3), (1, 1), ((1, 1), (1, 1)))]


class HeightWidthMean(nn.Module):
    def forward(self, x):
        return x.mean((-1, -2))


def test_means_have_their_own_range():
    for module, keep_dims in ((HeightWidthMean(), False), (nn.AdaptiveAvgPool2d(1), True)):
        graph = check(module, steps=2)
        assert ops(graph) == [Mean(keep_dims)]
        scales = [graph.tensors[name].quantization.scale[0] for name in (*graph.outputs, *graph.inputs)]
        assert scales[0] < scales[1]


@pytest.mark.parametrize(("activation", "lowest", "highest"), [
    (nn.Hardtanh(-0.3, 0.2), -0.3, 0.2), (nn.ReLU6(), 0.0, 6.0), (nn.ReLU(), 0.0, np.inf)])
def test_activations_bound_the_output(activation, lowest, highest):
    module = settled(nn.Sequential(nn.Conv2d(3, 4, 3), activation))
    data = batches()
    graph = quantize(module, data)
    q = graph.tensors[graph.outputs[0]].quantization
    clamp = graph.nodes[0].op.clamp
    step = float(q.scale[0])
    assert (clamp[0] - q.zero_point[0]) * step >= lowest - step
    assert (clamp[1] - q.zero_point[0]) * step <= highest + step
    assert len(graph.nodes) == 1


def test_zero_channels_and_huge_biases_stay_finite():
    conv = nn.Conv2d(3, 4, 3)
    with torch.no_grad():
        conv.weight[1] = 0
        conv.weight[2] *= 1e-9
        conv.bias[2] = 3.0
    graph = check(conv, steps=4)
    assert np.all(graph.tensors[graph.nodes[0].inputs[1]].data[1] == 0)
    assert np.abs(graph.tensors[graph.nodes[0].inputs[2]].data.astype(np.int64)).max() <= 2**30


def test_features_only():
    check(nn.Sequential(nn.Linear(20, 16), nn.ReLU(), nn.Linear(16, 4)), shape=(20,))


def test_progress_and_loader_tuples():
    seen = []
    quantize(nn.Conv2d(3, 4, 1).eval(), [(x, torch.zeros(8)) for x in batches(count=3)],
             progress=lambda done, total: seen.append(done))
    assert seen == list(range(1, 25))


def test_calibration_from_numpy_gives_the_same_graph():
    module = nn.Conv2d(3, 4, 1).eval()
    data = batches()
    assert difference(quantize(module, data), quantize(module, [x.numpy() for x in data])) == ""


def test_calibration_is_not_repeated():
    graph = quantize(nn.Conv2d(3, 4, 1).eval(), (x for x in batches(count=3)), name="once")
    assert graph.name == "once"


# What is refused


class Call(nn.Module):
    def __init__(self, function):
        super().__init__()
        self.function = function

    def forward(self, x):
        return self.function(x)


def test_training_mode_is_refused():
    with pytest.raises(GraphError, match=r"the module is in training mode: call module\.eval\(\) first"):
        quantize(nn.Conv2d(3, 4, 1), batches(count=1))


@pytest.mark.parametrize(("calibration", "text"), [
    ([], "calibration needs at least one batch"),
    ([torch.zeros(2, 3, 4, 4, dtype=torch.uint8)],
     r"must be a float, int32, int64 or bool tensor or array .* not torch.uint8 \(2, 3, 4, 4\)"),
    (["image"], "must be a float, int32, int64 or bool tensor or array .* not str"),
    ([torch.zeros(2, 3, 4, 4), torch.zeros(2, 3, 5, 4)],
     r"batch 2 has the shape \(2, 3, 5, 4\), the network's input is"),
    ([torch.zeros(2, 3, 4, 4), torch.full((2, 3, 4, 4), torch.nan)],
     "a calibration batch must be finite"),
])
def test_bad_calibration_is_refused(calibration, text):
    with pytest.raises(GraphError, match=text):
        quantize(nn.Conv2d(3, 4, 1).eval(), calibration)


