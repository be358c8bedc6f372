"""Every operator of the front end's table is executed against PyTorch's own quantized module: one without a case here
fails the first test."""

import operator

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from lepton.frontends.torch import convert, import_converted  # noqa: E402
from lepton.frontends.torch.operators import OPERATORS  # noqa: E402
from lepton.graph.interpret import evaluate  # noqa: E402
from torch import nn  # noqa: E402
from torch.nn import functional as F  # noqa: E402

from tests.host.frontends.torch.torch_compare import leaves, output_steps  # noqa: E402

aten = torch.ops.aten
IMAGE = (1, 4, 6, 8)
LINE = (1, 4, 12)
CLAMPS = ("relu", "relu6", "hardtanh", "clamp", "clamp_min", "clamp_max")
FUNCTIONS = ("sigmoid", "tanh", "exp", "abs", "neg", "hardswish", "hardsigmoid", "silu", "gelu", "leaky_relu", "elu",
             "selu", "celu", "mish", "softplus", "log_sigmoid", "hardshrink", "softshrink", "threshold", "erf", "floor",
             "ceil", "round", "sqrt", "reciprocal", "square", "log")
ARGUMENTS = {"clamp": (-1, 1.5), "clamp_min": (-0.5,), "clamp_max": (0.5,), "threshold": (0.1, 0.2)}
POSITIVE = ("sqrt", "reciprocal", "log")


def plain(name: str):
    """`name` of one tensor, of a positive one where it needs that."""
    target = getattr(aten, name).default
    return lambda p, x: target(x.abs() + 0.5 if name in POSITIVE else x, *ARGUMENTS.get(name, ()))


# A group is one module: (shape, its parts, the overloads and what calls each of them)
GROUPS = {
    "clamps": (IMAGE, [], {getattr(aten, name).default: plain(name) for name in CLAMPS}),
    "functions": (IMAGE, [], {getattr(aten, name).default: plain(name) for name in FUNCTIONS}),
    "layers": (IMAGE, [nn.Conv2d(4, 4, 3), nn.Conv2d(4, 4, 3, padding="same"), nn.ConvTranspose2d(4, 3, 2),
                       nn.Linear(8, 5), nn.BatchNorm2d(4), nn.PReLU()], {
        aten.conv2d.default: lambda p, x: p[0](x), aten.conv2d.padding: lambda p, x: p[1](x),
        aten.conv_transpose2d.input: lambda p, x: p[2](x), aten.linear.default: lambda p, x: p[3](x),
        aten.batch_norm.default: lambda p, x: p[4](torch.tanh(x)), aten.prelu.default: lambda p, x: p[5](x),
        aten.max_pool2d.default: lambda p, x: F.max_pool2d(x, 2), aten.avg_pool2d.default: lambda p, x: F.avg_pool2d(
            x, 2), aten.adaptive_avg_pool2d.default: lambda p, x: F.adaptive_avg_pool2d(x, 1),
        aten.softmax.int: lambda p, x: torch.softmax(x, -1),
        aten._softmax.default: lambda p, x: aten._softmax(x, -1, False)}),
    "lines": (LINE, [nn.Conv1d(4, 4, 3), nn.Conv1d(4, 4, 3, padding="same"), nn.ConvTranspose1d(4, 3, 2)], {
        aten.conv1d.default: lambda p, x: p[0](x), aten.conv1d.padding: lambda p, x: p[1](x),
        aten.conv_transpose1d.default: lambda p, x: p[2](x), aten.max_pool1d.default: lambda p, x: F.max_pool1d(x, 2),
        aten.avg_pool1d.default: lambda p, x: F.avg_pool1d(x, 2),
        aten.adaptive_avg_pool1d.default: lambda p, x: F.adaptive_avg_pool1d(x, 3)}),
    "arithmetic": (IMAGE, [], {
        aten.add.Tensor: lambda p, x: x + x.flip(3), aten.sub.Tensor: lambda p, x: x - x.flip(3),
        aten.mul.Tensor: lambda p, x: x * x.flip(3), aten.div.Tensor: lambda p, x: x / (x.flip(3).abs() + 1),
        aten.add.Scalar: lambda p, x: aten.add.Scalar(x, 0.5), aten.sub.Scalar: lambda p, x: aten.sub.Scalar(x, 0.5),
        aten.mul.Scalar: lambda p, x: aten.mul.Scalar(x, 0.5), aten.div.Scalar: lambda p, x: aten.div.Scalar(x, 3.0),
        aten.div.Tensor_mode: lambda p, x: torch.div(x, x.abs() + 1, rounding_mode="floor"),
        aten.div.Scalar_mode: lambda p, x: aten.div.Scalar_mode(x, 0.3, rounding_mode="trunc"),
        aten.rsub.Scalar: lambda p, x: 1 - x, aten.pow.Tensor_Scalar: lambda p, x: x**2,
        aten.maximum.default: lambda p, x: torch.maximum(x, x.flip(3)),
        aten.minimum.default: lambda p, x: torch.minimum(x, x.flip(3)),
        aten.matmul.default: lambda p, x: x @ x.transpose(2, 3),
        aten.bmm.default: lambda p, x: torch.bmm(x[0], x[0].transpose(1, 2)),
        aten.mm.default: lambda p, x: torch.mm(x[0, 0], x[0, 0].t()), aten.t.default: lambda p, x: x[0, 1].t()}),
    "reductions": (IMAGE, [], {
        aten.mean.dim: lambda p, x: x.mean((2, 3)), aten.mean.default: lambda p, x: x.mean(),
        aten.sum.default: lambda p, x: x.sum(), aten.sum.dim_IntList: lambda p, x: x.sum(1),
        aten.amax.default: lambda p, x: x.amax(2), aten.amin.default: lambda p, x: x.amin(2)}),
    "moves": (IMAGE, [], {
        aten.detach.default: lambda p, x: x.detach(), aten.flatten.using_ints: lambda p, x: x.flatten(2),
        aten.reshape.default: lambda p, x: x.reshape(1, 8, 24), aten.squeeze.default: lambda p, x: x.squeeze(),
        aten.squeeze.dim: lambda p, x: x.squeeze(0), aten.squeeze.dims: lambda p, x: aten.squeeze.dims(x, [0, 1]),
        aten.unflatten.int: lambda p, x: x.unflatten(1, (2, 2)), aten.unsqueeze.default: lambda p, x: x.unsqueeze(1),
        aten.view.default: lambda p, x: x.view(4, 48), aten._unsafe_view.default: lambda p, x: aten._unsafe_view(
            x, [4, 48]), aten.permute.default: lambda p, x: x.permute(0, 2, 3, 1),
        aten.transpose.int: lambda p, x: x.transpose(1, 2), aten.slice.Tensor: lambda p, x: x[:, 1:3],
        aten.select.int: lambda p, x: x[:, 1], aten.pad.default: lambda p, x: F.pad(
            x, (1, 1, 1, 1), mode="reflect"),
        aten.constant_pad_nd.default: lambda p, x: aten.constant_pad_nd(x, [1, 2, 0, 1], 0.0),
        aten.flip.default: lambda p, x: x.flip(2), aten.roll.default: lambda p, x: x.roll(2, 3),
        aten.repeat.default: lambda p, x: x.repeat(1, 2, 1, 1),
        aten.index_copy.default: lambda p, x: x.index_copy(1, torch.tensor([2]), x[:, :1]),
        aten.scatter.src: lambda p, x: x.scatter(1, torch.full((1, 1, 6, 8), 3), x[:, 1:2])}),
    "parts": (IMAGE, [], {
        aten.upsample_nearest2d.default: lambda p, x: aten.upsample_nearest2d(x, [12, 16]),
        aten.upsample_nearest2d.vec: lambda p, x: F.interpolate(x, scale_factor=2),
        aten.upsample_bilinear2d.default: lambda p, x: aten.upsample_bilinear2d(x, [12, 16], False),
        aten.upsample_bilinear2d.vec: lambda p, x: F.interpolate(x, scale_factor=2, mode="bilinear"),
        aten.pixel_shuffle.default: lambda p, x: F.pixel_shuffle(x, 2),
        aten.pixel_unshuffle.default: lambda p, x: F.pixel_unshuffle(x, 2),
        aten.channel_shuffle.default: lambda p, x: F.channel_shuffle(x, 2),
        aten.expand.default: lambda p, x: x[:, :1].expand(1, 3, 6, 8),
        aten.expand_as.default: lambda p, x: x[:, :1].expand_as(x),
        aten.split.Tensor: lambda p, x: x.split(2, 1)[1],
        aten.split_with_sizes.default: lambda p, x: x.split([1, 3], 1)[1], aten.chunk.default: lambda p, x: x.chunk(
            2, 1)[1], aten.unbind.int: lambda p, x: x.unbind(1)[2], aten.cat.default: lambda p, x: torch.cat(
            [x, x.flip(2)], 1), aten.stack.default: lambda p, x: torch.stack([x, x.flip(2)], 1)}),
    "casts": (IMAGE, [], {
        aten.to.device: lambda p, x: aten.to.device(x, torch.device("cpu"), torch.float32),
        aten.to.dtype: lambda p, x: x.to(torch.int32), aten.to.dtype_layout: lambda p, x: aten.to.dtype_layout(
            x, dtype=torch.float32), aten.to.other: lambda p, x: aten.to.other(
            x, x[:, :1]),
        aten._to_copy.default: lambda p, x: aten._to_copy(x, dtype=torch.int32),
        aten.type_as.default: lambda p, x: x.type_as(x[:, :1])}),
}
# Of sizes that are known only when a program runs, which the front end asks for while it imports.
OF_SIZES = {operator.add, operator.sub, operator.mul}


class Group(nn.Module):
    def __init__(self, parts, functions):
        super().__init__()
        self.parts = nn.ModuleList(parts)
        self.functions = list(functions)

    def forward(self, x):
        return tuple(function(self.parts, x) for function in self.functions)


def test_every_operator_of_the_table_has_a_case():
    cases = [target for _, _, functions in GROUPS.values() for target in functions]
    assert len(cases) == len(set(cases))
    assert set(OPERATORS) == set(cases) | OF_SIZES


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("name", GROUPS)
def test_group(name):
    torch.manual_seed(4)
    torch.set_num_threads(1)
    shape, parts, functions = GROUPS[name]
    module = Group(parts, functions.values()).eval()
    exported = torch.export.export(module, (torch.randn(shape),)).module()
    missing = set(functions) - {node.target for node in exported.graph.nodes}
    assert not missing
    converted, example = convert(module, [torch.randn(shape) for _ in range(3)])
    graph = import_converted(converted, (example,), name)
    x = torch.randn(shape)
    values = evaluate(graph, {graph.inputs[0]: x.numpy()})
    with torch.no_grad():
        expected = leaves(converted(x))
    step = max(output_steps(graph), default=0.0)
    for target, output, theirs in zip(functions, graph.outputs, expected, strict=True):
        ours = values[output]
        assert ours.shape == theirs.shape and ours.dtype == theirs.dtype, target
        away = np.abs(ours.astype(np.float64) - theirs)
        assert away.max() <= 1.01 * step + 1e-5 * np.abs(theirs).max() and (away > 1e-5).mean() <= 0.02, target
