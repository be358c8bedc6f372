"""What is promised about PyTorch's bytes, for each class of operator, and what float32 sums do to whole networks.

docs/pytorch.md has the promise and these tests' figures.
"""

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from lepton.frontends.torch import convert, import_converted  # noqa: E402
from lepton.frontends.torch.execution import Recorder  # noqa: E402
from lepton.frontends.torch.importer import TorchImporter  # noqa: E402
from lepton.graph.interpret import compute, evaluate, operands  # noqa: E402
from torch import nn  # noqa: E402
from torch.nn import functional as F  # noqa: E402

from tests.host.frontends.torch.torch_compare import compare, output_steps  # noqa: E402
from tests.host.frontends.torch.torch_networks import MobileNetLike, ResNet18Like, settled  # noqa: E402

IMAGE = (8, 12, 10)
ROW = (8, 40)
VECTOR = (24,)


@pytest.fixture(autouse=True)
def seeded():
    torch.manual_seed(3)
    torch.set_num_threads(1)


class Call(nn.Module):
    def __init__(self, function, *parts):
        super().__init__()
        self.function = function
        self.parts = nn.ModuleList(parts)

    def forward(self, x):
        return self.function(self.parts, x)


class LastAxis(nn.Module):
    """A factor for each element of the last axis, as ConvNeXt's layer scale."""

    def __init__(self):
        super().__init__()
        self.factors = nn.Parameter(torch.rand(10) + 0.5)

    def forward(self, x):
        return x * self.factors


def conv(outputs=8, kernel=3, **options):
    return nn.Conv2d(8, outputs, kernel, padding=kernel // 2, **options)


def behind(module):
    """Behind a convolution, so that its input is no quantized noise."""
    return lambda: nn.Sequential(conv(), module())


# Functions of one or two int8 values, moves, and floats that PyTorch's own kernels compute: every byte is PyTorch's.
ALWAYS = {
    "normalization": (IMAGE, lambda: nn.BatchNorm2d(8)),
    "normalization of rows": (ROW, lambda: nn.Sequential(nn.BatchNorm1d(8), nn.ReLU())),
    "normalization of vectors": (VECTOR, lambda: nn.BatchNorm1d(24)),
    "sum": (IMAGE, lambda: Call(lambda p, x: F.relu(F.max_pool2d(x, 3, 1, 1) + x))),
    "difference": (IMAGE, lambda: Call(lambda p, x: F.max_pool2d(x, 3, 1, 1) - x)),
    "product": (IMAGE, lambda: Call(lambda p, x: torch.sigmoid(x) * x)),
    "a value with itself": (IMAGE, lambda: Call(lambda p, x: torch.cat([
        torch.maximum(x, x), torch.minimum(F.relu(x), F.relu(x)), x + x, x * x], 1))),
    "gate": (IMAGE, lambda: Call(lambda p, x: x * torch.sigmoid(F.max_pool2d(x, (12, 10))))),
    "factors of the last axis": (IMAGE, LastAxis),
    "product of a column": (IMAGE, lambda: Call(lambda p, x: F.relu6(torch.tanh(F.max_pool2d(x, (1, 10))) * x))),
    "maximum pool": (IMAGE, lambda: nn.MaxPool2d(3, 2, 1)),
    "tables": (IMAGE, lambda: nn.Sequential(nn.SiLU(), nn.GELU(), nn.Hardswish(), nn.LeakyReLU(), nn.Tanh())),
    "moves": (IMAGE, lambda: nn.Sequential(nn.PixelUnshuffle(2), nn.ChannelShuffle(4), nn.ReflectionPad2d(2))),
    "concatenation": (IMAGE, lambda: Call(lambda p, x: torch.cat([F.relu(x), x.flip(3)], 1))),
    "nearest neighbours": (IMAGE, lambda: nn.Sequential(nn.ReLU(), nn.Upsample(scale_factor=2))),
    "softmax": (IMAGE, lambda: nn.Softmax(1)),
    "group norm": (IMAGE, lambda: nn.GroupNorm(2, 8)),
}
# Sums of products: PyTorch rounds each of its sums to float32, here they are exact.
SUMS = {
    "convolution": (IMAGE, conv), "strided": (IMAGE, lambda: conv(12, stride=2)),
    "depthwise": (IMAGE, lambda: conv(groups=8)), "grouped": (IMAGE, lambda: conv(groups=2)),
    "dilated": (IMAGE, lambda: nn.Conv2d(8, 5, 3, dilation=2)),
    "transposed": (IMAGE, lambda: nn.ConvTranspose2d(8, 6, 3, 2, 1)),
    "of rows": (ROW, lambda: nn.Conv1d(8, 9, 5, padding=2)),
    "normalized": (IMAGE, lambda: nn.Sequential(conv(bias=False), nn.BatchNorm2d(8), nn.ReLU6())),
    "linear": (VECTOR, lambda: nn.Sequential(nn.Linear(24, 32), nn.ReLU(), nn.Linear(32, 10))),
    "average pool": (IMAGE, behind(lambda: nn.AvgPool2d(3, 2, 1))),
    "average of four": (IMAGE, behind(lambda: nn.AvgPool2d(2))),
    "global average": (IMAGE, behind(lambda: nn.AdaptiveAvgPool2d(1))),
    "adaptive average": (IMAGE, behind(lambda: nn.AdaptiveAvgPool2d((3, 5)))),
    "mean": (IMAGE, lambda: Call(lambda p, x: p[0](x).mean((2, 3)), conv())),
    "mean of rows": (IMAGE, lambda: Call(lambda p, x: p[0](x).mean(2, keepdim=True), conv())),
    "mean of columns": (IMAGE, lambda: Call(lambda p, x: p[0](x).mean(3), conv())),
    "mean of tokens": (ROW, lambda: nn.Sequential(nn.Linear(40, 24), Call(lambda p, x: x.mean(1)))),
    "residual": (IMAGE, lambda: Call(lambda p, x: F.relu(p[0](x) + x), conv())),
    "bilinear": (IMAGE, lambda: nn.Upsample(scale_factor=2, mode="bilinear")),
    "bilinear, three times": (IMAGE, lambda: nn.Upsample(scale_factor=3, mode="bilinear")),
    "bilinear, four times": (IMAGE, lambda: nn.Sequential(conv(), nn.Upsample(scale_factor=4, mode="bilinear"),
                                                          nn.ReLU())),
}


ROWS = {
    "layer norm": (IMAGE, lambda: nn.LayerNorm(10)),
    "root mean squares": (IMAGE, lambda: nn.RMSNorm(10)),
    "softmax": (IMAGE, lambda: nn.Sequential(nn.Softmax(-1), nn.ReLU())),
}


@pytest.mark.parametrize("name", ALWAYS)
def test_every_byte(name):
    shape, make = ALWAYS[name]
    found = compare(settled(make()), [torch.randn(8, *shape) for _ in range(2)],
                    [torch.randn(1, *shape) for _ in range(8)])
    assert found.differing == 0, f"{found.differing} of {found.values}"


@pytest.mark.parametrize("name", ROWS)
def test_functions_of_rows(name):
    """In integers, as on the chip: one value in a thousand at most, by one step."""
    shape, make = ROWS[name]
    found = compare(settled(make()), [torch.randn(8, *shape) for _ in range(2)],
                    [torch.randn(1, *shape) for _ in range(8)])
    assert found.largest < 1.01 and found.differing <= found.values // 1000, f"{found.differing} of {found.values}"


def test_interpolation_on_the_grid_of_its_input():
    """Where pixels are kept, so that the result has its input's scale, many sums are exactly a half: PyTorch's float32
    noise rounds those. Within one step, one value in ten at most."""
    for size, corners in (((18, 15), False), ((23, 19), True)):
        found = compare(nn.Upsample(size, mode="bilinear", align_corners=corners).eval(),
                        [torch.randn(8, *IMAGE) for _ in range(2)], [torch.randn(1, *IMAGE) for _ in range(8)])
        assert found.largest < 1.01 and found.differing <= found.values / 10, f"{found.differing} of {found.values}"
        assert not found.on_host


def test_sums_of_products(record_property):
    """One value in 10 000 at most, by one step: where PyTorch's float32 sum lies on the other side of a half."""
    values = differing = 0
    for name, (shape, make) in SUMS.items():
        found = compare(settled(make()), [torch.randn(8, *shape) for _ in range(2)],
                        [torch.randn(1, *shape) for _ in range(8)])
        assert found.largest < 1.01, f"{name}: {found.largest} steps"
        values = values + found.values
        differing = differing + found.differing
    record_property("differing", f"{differing} of {values}")
    assert differing <= values / 10_000, f"{differing} of {values}"


NETWORKS = {"resnet18": ResNet18Like, "mobilenet": MobileNetLike}


def layers_that_differ(converted, example, x) -> tuple[int, int, int]:
    """(values, values that differ, largest difference in steps) over all int8 tensors, each layer given PyTorch's own
    operands."""
    importer = TorchImporter(converted, (example,), "layers")
    theirs = Recorder(converted)
    with torch.no_grad():
        theirs.run(x)
    by_name = {node.name: value for node, value in theirs.made.items()}
    wanted = {value.name: by_name[node.name].numpy() for node, value in importer.int8.items()
              if isinstance(by_name.get(node.name), torch.Tensor) and by_name[node.name].dtype == torch.int8}
    graph = importer.graph
    values = {graph.inputs[0]: x.numpy()}
    total = differing = largest = 0
    for node in graph.nodes:
        inputs = graph.operands(node)
        output = graph.tensors[node.outputs[0]]
        made = compute(node.op, graph.arithmetic, inputs, operands(inputs, values), output)
        values[output.name] = made
        if output.name in wanted:
            right = wanted[output.name]
            away = np.abs(made.astype(int) - right)
            total = total + made.size
            differing = differing + int((away > 0).sum())
            largest = max(largest, int(away.max()))
            values[output.name] = right
            if output.name in importer.images.turned and right.ndim == 4:
                values[importer.images.turned[output.name].name] = right.transpose(0, 2, 3, 1)
    return total, differing, largest


@pytest.mark.parametrize("name", NETWORKS)
def test_layers_of_whole_networks(name, record_property):
    """Every layer, given what PyTorch's layer before it made: at most one value in 20 000 differs, by one step."""
    converted, example = convert(settled(NETWORKS[name]()), [torch.randn(8, 3, 64, 64)])
    total, differing, largest = layers_that_differ(converted, example, torch.randn(1, 3, 64, 64))
    record_property("differing", f"{differing} of {total}")
    assert total > 100_000
    assert differing <= total / 20_000 and largest <= 1, f"{differing} of {total}, largest {largest}"


@pytest.mark.parametrize("name", NETWORKS)
def test_results_of_whole_networks(name, record_property):
    """A value that differs in one layer touches many of the next: results differ by a step or two, if at all."""
    converted, example = convert(settled(NETWORKS[name]()), [torch.randn(8, 3, 64, 64)])
    graph = import_converted(converted, (example,), name)
    step = output_steps(graph)[-1]
    away = []
    for x in torch.randn(4, 1, 3, 64, 64):
        with torch.no_grad():
            expected = converted(x).numpy()
        away.append(np.abs(evaluate(graph, {graph.inputs[0]: x.numpy()})[graph.outputs[0]] - expected) / step)
    record_property("differing", f"{int((np.array(away) > 0).sum())} of {np.size(away)}")
    assert np.max(away) < 2.01
    assert (np.array(away) > 0).mean() <= 0.3
