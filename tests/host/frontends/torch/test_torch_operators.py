"""Operators and shapes of modules that `torch_networks` does not have: the result is PyTorch's quantized module's."""

import numpy as np
import pytest

torch = pytest.importorskip("torch")

import lepton  # noqa: E402
from lepton.frontends.torch import convert, import_converted, load_pt2  # noqa: E402
from lepton.graph import GraphError  # noqa: E402
from lepton.runtime import Session  # noqa: E402
from torch import nn  # noqa: E402
from torch.nn import functional as F  # noqa: E402

from tests.host.frontends.torch.torch_compare import leaves, output_steps  # noqa: E402
from tests.host.frontends.torch.torch_networks import settled  # noqa: E402


@pytest.fixture(autouse=True)
def seeded():
    torch.manual_seed(2)
    torch.set_num_threads(1)


class Parts(nn.Module):
    """`function` of the modules and the inputs."""

    def __init__(self, function, *parts):
        super().__init__()
        self.parts = nn.ModuleList(parts)
        self.function = function

    def forward(self, x):
        return self.function(self.parts, x)


class Tokens(nn.Module):
    """A constant in front of the tokens, and one added to all of them."""

    def __init__(self):
        super().__init__()
        self.patches = nn.Conv2d(3, 8, 4, 4)
        self.head = nn.Linear(8, 5)
        self.first = nn.Parameter(torch.randn(1, 1, 8))
        self.places = nn.Parameter(torch.randn(1, 4, 8))

    def forward(self, x):
        x = self.patches(x).flatten(2).transpose(1, 2) + self.places
        return self.head(torch.cat([self.first.expand(x.shape[0], -1, -1), x], 1))


def conv(outputs=6, inputs=4, kernel=1, **options):
    return nn.Conv2d(inputs, outputs, kernel, **options)


def activations(p, x):
    """In float, behind a normalization that no table can hold."""
    x = p[0](p[1](x))
    last = 0
    for function in (F.hardswish, F.hardsigmoid, F.leaky_relu, F.elu, F.selu, F.celu, F.softplus, F.mish, F.relu6,
                     F.logsigmoid, F.silu, F.gelu, p[2]):
        last = last + function(x)
    return F.log_softmax(last, 1), F.glu(x, 1), x.clamp(-1, 0.5), (x.abs() + 1) ** -1.5, 1 - x


def tables(p, x):
    x = p[0](x)
    for function in (F.selu, F.celu, F.logsigmoid, F.hardshrink, F.softshrink, p[2]):
        x = p[1](function(x))
    return x


def pools(p, x):
    x = p[0](x)
    uneven = F.adaptive_avg_pool2d(x, (3, 4))
    hanging = F.avg_pool2d(x, 3, 2, 1, ceil_mode=True), F.avg_pool2d(x, 2, divisor_override=3)
    return uneven, *hanging, F.adaptive_max_pool2d(x, 1), x.max(1)[0], F.max_pool2d(p[1](x), 3, 2, 1)


def moves(p, x):
    x = p[0](x)
    y = F.pad(x, (-1, 2, 0, -2)), F.pad(x, (1, 2, 3, 0), mode="circular"), x.flip(2, 3), x.roll(2, 3), x.roll(3)
    return *map(p[1], y), x.repeat(2, 1, 3, 1), x.sum((2, 3), keepdim=True).expand_as(x)


NETWORKS = {
    "one dimension": ((3, 50), lambda: nn.Sequential(
        nn.Conv1d(3, 8, 5, 2, padding=2), nn.BatchNorm1d(8), nn.ReLU(), nn.Conv1d(8, 8, 3, dilation=2, groups=8),
        nn.MaxPool1d(2), nn.Conv1d(8, 6, 3, padding="same"), nn.AvgPool1d(3, 2), nn.ConvTranspose1d(6, 5, 3, 2, 1),
        nn.BatchNorm1d(5), nn.AdaptiveAvgPool1d(1), nn.Flatten(), nn.Linear(5, 4))),
    "transposed in groups": ((6, 5, 6), lambda: nn.Sequential(
        nn.ConvTranspose2d(6, 8, 3, 2, 1, groups=2), nn.ConvTranspose2d(8, 8, 4, 2, 1, groups=8),
        nn.ConvTranspose2d(8, 3, 3, dilation=2))),
    "shared weights": ((4, 7, 6), lambda: Parts(lambda p, x: p[0](p[0](p[0](x)).relu()), conv(4, kernel=3, padding=1))),
    "constants": ((3, 8, 8), Tokens),
    "a constant image": ((4, 5, 6), lambda: Parts(lambda p, x: p[0](x) + torch.arange(6.0).view(1, 6, 1, 1), conv())),
    "activations in float": ((4, 5, 6), lambda: Parts(activations, nn.GroupNorm(2, 6), conv(), nn.PReLU(6))),
    "activations as tables": ((4, 5, 6), lambda: Parts(tables, conv(), conv(inputs=6), nn.PReLU())),
    "pools": ((4, 8, 10), lambda: Parts(pools, conv(), nn.InstanceNorm2d(6))),
    "moves": ((4, 6, 7), lambda: Parts(moves, conv(), conv(3, 6, 3))),
    "the input itself": ((4, 5, 6), lambda: Parts(lambda p, x: {"same": x, "made": F.normalize(p[0](x))}, conv())),
}


@pytest.mark.parametrize("name", NETWORKS)
def test_within_one_step_of_pytorch(name):
    shape, make = NETWORKS[name]
    converted, example = convert(settled(make()), [torch.randn(4, *shape)])
    graph = import_converted(converted, (example,), name)
    steps = output_steps(graph)
    model = lepton.compile(graph, config="tiny")
    x = torch.randn(1, *shape)
    with lepton.device.open("golden", config="tiny") as device, Session(model, device) as session:
        got = session.run(x.numpy()).outputs
    with torch.no_grad():
        expected = leaves(converted(x))
    for ours, theirs in zip(got.values(), expected, strict=True):
        assert ours.shape == theirs.shape and ours.dtype == theirs.dtype
        assert (np.abs(ours - theirs) > 1.01 * max(steps, default=0)).mean() <= 0.001
        assert np.abs(ours - theirs).mean() < 0.05 * max(steps, default=1)


class Sum(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv = conv()

    def forward(self, x, y):
        return self.conv(x) + y


def test_two_inputs(tmp_path):
    module = Sum().eval()
    data = [(torch.randn(3, 4, 5, 6), torch.randn(3, 6, 5, 6), "labels") for _ in range(2)]
    converted, examples = convert(module, data)
    graph = import_converted(converted, examples, "sum")
    assert graph.inputs == ["x", "y"]
    model = lepton.compile(graph, config="tiny")
    inputs = {"x": examples[0].numpy(), "y": examples[1].numpy()}
    with lepton.device.open("golden", config="tiny") as device, Session(model, device) as session:
        got = session.run(inputs).outputs["output"]
    np.testing.assert_allclose(got, converted(*examples).detach().numpy(), atol=1e-6)
    torch.export.save(torch.export.export(module, examples), tmp_path / "sum.pt2")
    np.savez(tmp_path / "data.npz", x=np.concatenate([d[0] for d in data]), y=np.concatenate([d[1] for d in data]))
    assert load_pt2(tmp_path / "sum.pt2", tmp_path / "data.npz").inputs == ["x", "y"]
    for wrong, text in ((data[0][0], "must have the 2 inputs x, y, not 1"),
                        ((data[0][0], data[0][1][:2]), r"equally many of each input, not \[3, 2\]")):
        with pytest.raises(GraphError, match=text):
            convert(module, [wrong])


def test_calibration_data_of_one_array(tmp_path):
    """As `lepton compile net.pt2 --calibration images.npy` gives them."""
    module = nn.Sequential(conv(), nn.ReLU()).eval()
    data = torch.randn(3, 4, 5, 6)
    torch.export.save(torch.export.export(module, (data[:1],)), tmp_path / "net.pt2")
    np.save(tmp_path / "images.npy", data.numpy())
    graphs = [load_pt2(tmp_path / "net.pt2", given) for given in (tmp_path / "images.npy", data, data.numpy(), [data])]
    scales = [[t.quantization.scale.tolist() for t in g.tensors.values() if t.quantization] for g in graphs]
    assert all(found == scales[0] for found in scales), scales
    (tmp_path / "junk.npy").write_bytes(b"junk")
    np.save(tmp_path / "other.npy", data.numpy()[:, :3])
    for name, text in (("junk.npy", "not a .npy or .npz file of calibration data"),
                       ("other.npy", r"has the shape \(3, 3, 5, 6\), the network's input is \(1, 4, 5, 6\)")):
        with pytest.raises(GraphError, match=text):
            load_pt2(tmp_path / "net.pt2", tmp_path / name)
    with pytest.raises(FileNotFoundError):
        load_pt2(tmp_path / "net.pt2", tmp_path / "none.npy")


def test_weights_that_are_not_finite():
    module = nn.Sequential(conv())
    nn.init.constant_(module[0].weight, float("nan"))
    with pytest.raises(GraphError, match=r"0\.weight of the module holds values that are not finite"):
        convert(module.eval(), [torch.randn(1, 4, 5, 6)])
    with pytest.raises(GraphError, match="calibration data must be batches, not 5"):
        convert(nn.Sequential(conv()).eval(), 5)


@pytest.mark.parametrize(("function", "text"), [
    (lambda p, x: F.conv2d(x, x[:, :, :1, :1].reshape(1, 4, 1, 1)), "aten.conv2d.default is supported neither in int8"),
])
def test_what_is_refused(function, text):
    converted, example = convert(Parts(function, conv()).eval(), [torch.randn(1, 4, 5, 6)])
    with pytest.raises(GraphError, match=text):
        import_converted(converted, (example,), "refused")
