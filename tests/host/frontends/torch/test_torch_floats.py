"""Operators on floats and whole numbers, on the host: with PyTorch's own kernels every byte, in numpy nearly."""

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from lepton.graph import Aten, GraphError, OperandList, Tensor  # noqa: E402
from lepton.graph.numerics import torch_kernels  # noqa: E402
from torch import nn  # noqa: E402
from torch.nn import functional as F  # noqa: E402

from tests.host.frontends.torch.torch_compare import compare  # noqa: E402

IMAGE = (4, 5, 6)
TOKENS = (5, 8)


@pytest.fixture(autouse=True)
def seeded():
    torch.manual_seed(6)
    torch.set_num_threads(1)


class Call(nn.Module):
    def __init__(self, function, *parts):
        super().__init__()
        self.function = function
        self.parts = nn.ModuleList(parts)
        self.register_buffer("ramp", torch.arange(6.0).view(1, 6, 1, 1))

    def forward(self, x):
        return self.function(self, x)


def normal(m, x):
    """Floats that no table can make of int8."""
    return F.group_norm(m.parts[0](x), 2)


def of_images(function):
    return IMAGE, lambda: Call(function, nn.Conv2d(4, 6, 1))


def of_tokens(function, *parts):
    return TOKENS, lambda: Call(function, *(part() for part in parts))


MODULES = {
    "activations": of_images(lambda m, x: tuple(f(normal(m, x)) for f in (
        F.gelu, F.mish, F.silu, F.hardswish, F.hardsigmoid, F.elu, F.selu, F.celu, F.softplus, F.logsigmoid, F.relu6,
        F.leaky_relu, F.hardtanh, F.hardshrink, F.softshrink, torch.sigmoid, torch.tanh))),
    "gelu by tanh": of_images(lambda m, x: F.gelu(normal(m, x), approximate="tanh")),
    "functions": of_images(lambda m, x: tuple(f(normal(m, x)) for f in (
        torch.exp, torch.sin, torch.cos, torch.sign, torch.floor, torch.round, torch.trunc, torch.square, torch.erf,
        torch.expm1, torch.atan))),
    "roots and powers": of_images(lambda m, x: (
        (normal(m, x)**2 + 1).rsqrt(), normal(m, x).abs()**0.7, normal(m, x)**3, (normal(m, x).abs() + 1).log())),
    "functions of two values": of_images(lambda m, x: tuple(f(normal(m, x), normal(m, x.flip(-1))) for f in (
        torch.hypot, torch.logaddexp, torch.copysign, torch.atan2))),
    "windows as columns, and back": of_images(lambda m, x: (
        F.unfold(m.parts[0](x), (2, 3), padding=(1, 0), stride=(2, 1)), F.fold(
            F.unfold(normal(m, x), 2, dilation=2), (5, 6), 2, dilation=2))),
    "square roots": of_images(lambda m, x: (m.parts[0](x).abs() + 0.5).sqrt()),
    "quotients": of_images(lambda m, x: (normal(m, x) / (m.ramp + 1), normal(m, x) // 0.5, normal(m, x) % 0.5,
                                         torch.div(normal(m, x), 0.3, rounding_mode="trunc"))),
    "softmax": of_images(lambda m, x: (m.parts[0](x).softmax(1), normal(m, x).log_softmax(2),
                                       normal(m, x).logsumexp(1))),
    "norms": of_images(lambda m, x: (F.layer_norm(normal(m, x), (6,)), F.instance_norm(normal(m, x)),
                                     F.normalize(normal(m, x)), normal(m, x).norm(1, 1))),
    "statistics": of_images(lambda m, x: (normal(m, x).std((2, 3)), normal(m, x).var(1, unbiased=False),
                                          normal(m, x).mean(), normal(m, x).sum(2), normal(m, x).amin((1, 2)))),
    "bilinear": of_images(lambda m, x: (F.interpolate(m.parts[0](x), scale_factor=2, mode="bilinear"),
                                        F.interpolate(x, (7, 9), mode="bilinear", align_corners=True))),
    "nearest": of_images(lambda m, x: tuple(F.interpolate(v, scale_factor=f) for v in (x, normal(m, x))
                                            for f in (1.7, (2.5, 1.3), 0.6, 9, 2.1, 1.1))),
    "nearest to a size": of_images(lambda m, x: tuple(F.interpolate(x, s) for s in ((7, 9), (49, 18), (3, 41)))),
    "rounded to places": of_images(lambda m, x: (normal(m, x).round(), normal(m, x).round(decimals=1))),
    "multiples": of_images(lambda m, x: (torch.add(normal(m, x), 1.5, alpha=2), torch.sub(normal(m, x), x[:, :1],
                                                                                         alpha=3))),
    "other interpolations": of_images(lambda m, x: (F.interpolate(x, scale_factor=2, mode="bicubic"),
                                                    F.interpolate(x, scale_factor=1.5, mode="nearest-exact"))),
    "pools": of_images(lambda m, x: (F.avg_pool2d(normal(m, x), 3, 2, 1), F.max_pool2d(normal(m, x), 2, dilation=2),
                                     F.adaptive_avg_pool2d(normal(m, x), (2, 4)), F.lp_pool2d(normal(m, x), 2, 2))),
    "comparisons": of_images(lambda m, x: (m.parts[0](x) > 0, torch.where(normal(m, x) < 0.5, normal(m, x), m.ramp),
                                           normal(m, x).masked_fill(m.ramp > 3, -1.0),
                                           ((x > 0) & (x < 1)).float())),
    "places": of_images(lambda m, x: (m.parts[0](x).argmax(1), normal(m, x).argmin(), *m.parts[0](x).max(1),
                                      *normal(m, x).topk(2, 1), normal(m, x).sort(3, descending=True)[0])),
    "running sums": of_images(lambda m, x: (normal(m, x).cumsum(1), normal(m, x).prod(1))),
    "taken": of_images(lambda m, x: (m.parts[0](x)[:, [0, 2, 1]], x.index_select(1, torch.tensor([0, 3])),
                                     torch.gather(x, 1, torch.zeros(1, 2, 5, 6, dtype=torch.long)))),
    "parts replaced": of_images(lambda m, x: (torch.slice_scatter(x, x[:, 1:3] * 2, 1, 0, 4, 2),
                                              torch.select_scatter(x, x[:, 0] * 2, 1, 2))),
    "windows and medians": of_images(lambda m, x: (x.unfold(3, 2, 2), x.unfold(1, 3, 1), normal(m, x).median(2)[0],
                                                   normal(m, x).median(1, True)[0], normal(m, x).median())),
    "types": of_images(lambda m, x: (m.parts[0](x).to(torch.int32), (x > 0).long() + 1, x.to(torch.bool))),
    "moved": of_images(lambda m, x: (x.movedim(1, -1), x.tile(1, 2, 1, 1), torch.rot90(x, 1, (2, 3)), x.narrow(1, 1, 2),
                                     torch.cat(torch.tensor_split(x, 3, 1)[::-1], 1), torch.diff(x, dim=3),
                                     torch.triu(x), x.swapaxes(1, 2))),
    "made": of_images(lambda m, x: (torch.cat([m.parts[0](x), x.new_ones(1, 1, 5, 6)], 1), x + torch.zeros_like(x),
                                    x + torch.arange(6), x * x.shape[2])),
    "attention": of_tokens(lambda m, x: m.parts[0](x, x, x, need_weights=False)[0],
                           lambda: nn.MultiheadAttention(8, 2, batch_first=True)),
    "encoder": of_tokens(lambda m, x: m.parts[0](x), lambda: nn.TransformerEncoderLayer(8, 2, 16, batch_first=True)),
    "rms": of_tokens(lambda m, x: m.parts[0](x), lambda: nn.RMSNorm(8)),
    "products": of_tokens(lambda m, x: (x @ x.transpose(1, 2), torch.einsum("bij,bkj->bik", x, x),
                                        F.cosine_similarity(x, x + 1, 1))),
    "recurrent": of_tokens(lambda m, x: m.parts[0](x)[0], lambda: nn.LSTM(8, 3, batch_first=True)),
}


@pytest.mark.parametrize("name", MODULES)
def test_every_byte_is_pytorchs(name):
    shape, make = MODULES[name]
    found = compare(make().eval(), [torch.randn(2, *shape)], [torch.randn(1, *shape) for _ in range(2)])
    assert found.differing == 0, f"{found.differing} of {found.values}"


@pytest.mark.parametrize("name", ["activations", "gelu by tanh", "functions", "functions of two values",
                                  "roots and powers", "softmax", "norms", "statistics", "bilinear", "pools",
                                  "comparisons", "attention", "encoder", "rms", "running sums", "taken", "types",
                                  "parts replaced", "windows and medians", "square roots",
                                  "windows as columns, and back"])
def test_without_pytorch_the_same_to_the_last_places(name, monkeypatch):
    """Such as on a device that has the compiled network only."""
    monkeypatch.setenv(torch_kernels.SWITCH, "0")
    shape, make = MODULES[name]
    found = compare(make().eval(), [torch.randn(2, *shape)], [torch.randn(1, *shape)], tolerance=3e-6)
    assert found.beyond == 0, f"{found.beyond} of {found.values} beyond 3e-6"


def test_what_depends_on_pytorch_is_noted():
    def function(m, x):
        return m.parts[0](x).softmax(1), F.gelu(normal(m, x)), x > 0, m.parts[0](x)

    module = Call(function, nn.Conv2d(4, 6, 1))
    notes = compare(module.eval(), [torch.randn(2, *IMAGE)], []).graph.notes
    assert [note.split()[0] for note in notes] == ["Softmax", "Aten", "Aten"]  # the norm and the GELU
    assert all("PyTorch's bytes where torch is installed at run time, else the same" in note for note in notes)


def test_embeddings_take_whole_numbers():
    module = nn.Sequential(nn.Embedding(10, 8), nn.Linear(8, 3)).eval()
    found = compare(module, [torch.arange(10).view(2, 5)], [torch.tensor([[3, 1, 9, 0, 0]])])
    assert found.differing == 0
    assert found.graph.tensors[found.graph.inputs[0]].dtype == np.int64


@pytest.mark.parametrize(("function", "text"), [
    (lambda m, x: x + torch.rand(6), r"rand \(aten.rand.default\): its result is random; take it out, or make it a"),
    (lambda m, x: F.dropout(x, 0.5, True), "dropout.*: its result is random"),
    (lambda m, x: torch.fft.fft(x).abs(), "values must be of type float32, int32, int64, bool, not torch.complex64"),
    (lambda m, x: m.parts[0](x).double() * 2, "values must be of type float32, int32, int64, bool, not torch.float64"),
    (lambda m, x: F.max_pool2d(x, 2, return_indices=True), "only the largest values are supported, not their places"),
    (lambda m, x: F.grid_sample(x, x[:, :2].permute(0, 2, 3, 1)), "operator aten.grid_sampler_2d.default is supported"),
    (lambda m, x: m.parts[0](x)[:, :0], r"'slice_1' of shape \(1, 0, 5, 6\) has no elements"),
    (lambda m, x: torch.cond(x.sum() > 0, lambda a: a + 1, lambda a: a - 1, (x,)), "operator cond is supported"),
])
def test_what_is_refused(function, text):
    with pytest.raises(GraphError, match=text):
        compare(Call(function, nn.Conv2d(4, 6, 1)).eval(), [torch.randn(1, *IMAGE)], [])


def test_only_known_functions_are_called():
    """A compiled file cannot name any operator of PyTorch's."""
    x = Tensor("x", (2,), np.dtype(np.float32))
    with pytest.raises(GraphError, match=r"the ATen operator from_file\.default is not supported on the host"):
        Aten("from_file.default", (2,), "float32").infer(OperandList([x]))
