"""Normalizations, scales and offsets of channels that no layer takes in: on the chip, every byte PyTorch's own."""

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from lepton.frontends.torch import convert  # noqa: E402
from lepton.frontends.torch.affine import fit  # noqa: E402
from lepton.graph import DepthwiseConv2D, Quantization  # noqa: E402
from torch import nn  # noqa: E402
from torch.nn import functional as F  # noqa: E402

from tests.host.frontends.torch.torch_compare import compare, nodes_of  # noqa: E402
from tests.host.frontends.torch.torch_networks import settled  # noqa: E402

CHANNELS = 12


@pytest.fixture(autouse=True)
def seeded():
    torch.manual_seed(4)
    torch.set_num_threads(1)


class Call(nn.Module):
    def __init__(self, function, *parts):
        super().__init__()
        self.parts = nn.ModuleList(parts)
        self.function = function
        self.factor = nn.Parameter(torch.randn(CHANNELS))
        self.offset = nn.Parameter(torch.randn(CHANNELS))

    def forward(self, x):
        return self.function(self, x)


def along(values, rank, axis=1):
    shape = [1] * rank
    shape[axis] = CHANNELS
    return values.reshape(shape)


IMAGE = (CHANNELS, 9, 7)
ROW = (CHANNELS, 33)
VECTOR = (CHANNELS,)
TOKENS = (6, CHANNELS)
MODULES = {
    "normalization": (IMAGE, lambda: nn.BatchNorm2d(CHANNELS)),
    "normalization, relu": (IMAGE, lambda: nn.Sequential(nn.BatchNorm2d(CHANNELS), nn.ReLU())),
    "normalization, relu6": (IMAGE, lambda: nn.Sequential(nn.BatchNorm2d(CHANNELS), nn.ReLU6())),
    "normalization without weights": (IMAGE, lambda: nn.BatchNorm2d(CHANNELS, affine=False)),
    "of a row": (ROW, lambda: nn.Sequential(nn.BatchNorm1d(CHANNELS), nn.Hardtanh())),
    "of a vector": (VECTOR, lambda: nn.BatchNorm1d(CHANNELS)),
    "two": (IMAGE, lambda: nn.Sequential(nn.BatchNorm2d(CHANNELS), nn.ReLU(), nn.BatchNorm2d(CHANNELS))),
    "one channel": ((1, 9, 7), lambda: nn.BatchNorm2d(1)),
    "scale": (IMAGE, lambda: Call(lambda m, x: F.relu(x) * along(m.factor, 4))),
    "offset": (IMAGE, lambda: Call(lambda m, x: F.relu(x) + along(m.offset, 4))),
    "mean and deviation": (IMAGE, lambda: Call(lambda m, x: (x - along(m.offset, 4)) / along(m.factor.abs() + .3, 4))),
    "scale of tokens": (TOKENS, lambda: Call(lambda m, x: F.relu(x) * m.factor + m.offset)),
}


@pytest.mark.parametrize("name", MODULES)
def test_every_byte_is_pytorchs(name):
    shape, make = MODULES[name]
    module = settled(make())
    found = compare(nn.Sequential(module, nn.Identity()).eval(), [torch.randn(8, *shape) for _ in range(3)],
                    [torch.randn(1, *shape) * 1.3 for _ in range(6)])
    assert found.differing == 0, f"{found.differing} of {found.values}"
    assert set(found.on_host) <= {"Table"}  # one at an edge of the network is the layout's


def test_factors_of_any_size_and_sign():
    module = nn.BatchNorm2d(CHANNELS)
    settled(module)
    with torch.no_grad():
        module.weight[:6] = torch.tensor([-1.0, 0.0, 1e-12, 100.0, -0.001, 30.0])
        module.bias[6:9] = torch.tensor([200.0, -200.0, 1e-9])
        module.running_var[9] = 1e-9
    found = compare(nn.Sequential(module, nn.ReLU()).eval(), [torch.randn(8, *IMAGE)], [torch.randn(1, *IMAGE)] * 2)
    assert found.differing == 0
    layer = nodes_of(found.graph, DepthwiseConv2D)[0]
    assert layer.op.clamp[0] == -128  # of the ReLU: the output's zero point is its lowest value


def quantization(scale, zero):
    return Quantization(np.float32([scale]), np.int32([zero]))


def test_all_values_of_many_channels():
    """All 256 values of 4000 channels, as PyTorch's own kernel rounds them."""
    generator = np.random.default_rng(11)
    for scale, zero, target_scale, target_zero in ((0.031, 3, 0.027, -14), (0.0057, -128, 0.04, 0), (1.7, 12, 0.9, 90)):
        count = 1334
        x = (torch.arange(-128, 128).float() - zero) * np.float32(scale)
        norm = nn.BatchNorm2d(count).eval()
        with torch.no_grad():
            for parameter, low, high in ((norm.weight, -2, 2), (norm.bias, -1, 1), (norm.running_mean, -1, 1),
                                         (norm.running_var, 0.2, 3)):
                parameter.copy_(torch.from_numpy(generator.uniform(low, high, count)))
            image = x.reshape(1, 1, 16, 16).expand(1, count, 16, 16)
            made = norm(image)
            wanted = torch.clamp(torch.round(made * (1 / np.float32(target_scale))) + target_zero, -128, 127)
            exact = norm.double()(((torch.arange(-128, 128).double() - zero) * float(np.float32(scale)))
                                  .reshape(1, 1, 16, 16).expand(1, count, 16, 16))
        lines = fit(wanted.reshape(count, 256).numpy().astype(np.int64), exact.reshape(count, 256).numpy(),
                    quantization(scale, zero), quantization(target_scale, target_zero))
        assert lines.differing == 0
        assert 1 <= np.abs(lines.weights.astype(int)).max() <= 127


def test_curves_are_no_lines():
    codes = np.arange(-128, 128) / 50.0
    made = np.tanh(codes)[None]
    assert fit(np.rint(made / 0.01).astype(np.int64), made, quantization(0.02, 0), quantization(0.01, 0)) is None


def test_conversion_traces_no_patterns_of_training(monkeypatch):
    """convert_pt2e takes a minute to trace them, for every network with a normalization."""
    traced = []
    original = torch.export.export
    monkeypatch.setattr(torch.export, "export", lambda *a, **k: traced.append(a) or original(*a, **k))
    converted, _ = convert(nn.Sequential(nn.BatchNorm2d(3), nn.Conv2d(3, 4, 1), nn.BatchNorm2d(4)).eval(),
                           [torch.randn(2, 3, 6, 6)])
    assert len(traced) == 1
    targets = [node.target for node in converted.graph.nodes]
    assert targets.count(torch.ops.aten.batch_norm.default) == 1
