"""Changes in place that other views of the memory show, and buffers that keep what a module writes."""

import pytest

torch = pytest.importorskip("torch")

from lepton.frontends.torch import export_module, prepare_qat  # noqa: E402
from lepton.frontends.torch.functional import states_of  # noqa: E402
from lepton.graph.numerics.torch_kernels import SWITCH  # noqa: E402
from torch import nn  # noqa: E402

from tests.host.frontends.torch.torch_compare import compare, leaves  # noqa: E402

SHAPE = (4, 6, 6)


@pytest.fixture(autouse=True)
def seeded():
    torch.manual_seed(11)
    torch.set_num_threads(1)


class Call(nn.Module):
    def __init__(self, function):
        super().__init__()
        self.function = function
        self.conv = nn.Conv2d(4, 4, 3, padding=1)
        self.norm = nn.BatchNorm2d(4)
        self.register_buffer("state", torch.zeros(1, 4, 6, 6))

    def forward(self, x):
        return self.function(self, x)


def one_channel(m, x):
    y = m.norm(m.conv(x))
    y[:, 0] = 0
    return y


def where_true(m, x):
    y = m.conv(x)
    y[y > 0.5] = 0.25
    return y


def blocks_of_values(m, x):
    y = m.conv(x)
    y[:, :2].relu_()
    y[:, 2:] += x[:, :2]
    y[..., 1:-1] = x[..., 1:-1]
    y[:, 1:1] = 3
    y[:] = y * 2
    return y


def view_before_the_change(m, x):
    y = m.conv(x)
    view = y.view(1, 4, -1)
    y.relu_()
    return view, y


def at_places(m, x):
    y = m.conv(x)
    y[:, torch.tensor([0, 2])] = x[:, :2]
    y[:, :, torch.tensor([1, -1]), torch.tensor([0, 5])] = 0.5
    y.index_put_((torch.tensor([0, 0]), torch.tensor([1, 1])), x[:, 2], accumulate=True)
    return y


def every_other_column(m, x):
    y = torch.zeros_like(x)
    y[..., ::2] = m.conv(x)[..., ::2]
    y[:, 1, 2:4, 1:3] = 1.5
    return y


def copies_and_permuted(m, x):
    y = m.conv(x)
    y[0].copy_(x[0])
    y.permute(0, 2, 3, 1)[..., 3].zero_()
    y[:, 1].copy_(x[:, 0, :1])
    return y


def diagonals_and_masks(m, x):
    y = m.conv(x)
    y.diagonal(dim1=2, dim2=3).fill_(1.0)
    y.diagonal(1, 2, 3).mul_(2)
    y[:, 1].masked_fill_(x[:, 0] > 0, -1)
    y[:, 2:].masked_scatter_(x[:, 2:] > 0, x)
    return y


def along_an_axis(m, x):
    y = m.conv(x)
    index = torch.tensor([1, 1])
    y.scatter_(1, torch.zeros(1, 1, 6, 6, dtype=torch.int64), x[:, :1])
    y.scatter_add_(2, torch.ones(1, 4, 2, 6, dtype=torch.int64), x)
    y.scatter_(3, torch.full((1, 4, 6, 1), 2), 0.75)
    y.index_fill_(2, torch.tensor([1]), 0.5)
    y.index_add_(1, index, x[:, :2], alpha=0.5)
    y.index_copy_(1, torch.tensor([3]), x[:, :1])
    return y


def of_an_input(m, x):
    x[:, 0] = 0
    x.mul_(2)
    return m.conv(x), x


CHANGES = [one_channel, where_true, blocks_of_values, view_before_the_change, at_places, every_other_column,
           copies_and_permuted, diagonals_and_masks, along_an_axis, of_an_input]


@pytest.mark.parametrize(("function", "with_torch"), [
    *((function, "1") for function in CHANGES),
    (at_places, "0"), (diagonals_and_masks, "0"), (along_an_axis, "0")])
def test_values_are_those_of_the_module(function, with_torch, monkeypatch):
    """The exported program is the module's, and the golden device computes what PyTorch's converted module does, with
    PyTorch's kernels and without."""
    monkeypatch.setenv(SWITCH, with_torch)
    module = Call(function).eval()
    x = torch.randn(1, *SHAPE)
    exported = export_module(module, x.clone())
    with torch.no_grad():
        for ours, theirs in zip(leaves(exported(x.clone())), leaves(module(x.clone())), strict=True):
            assert (ours == theirs).all()
    assert compare(module, [torch.randn(3, *SHAPE)], [torch.randn(1, *SHAPE) for _ in range(2)]).differing == 0


def test_blocks_of_channels_stay_on_the_chip():
    def channels(m, x):
        y = m.conv(x)
        y[:, :2].relu_()
        y[:, 2:] += x[:, :2]
        return y
    assert compare(Call(channels).eval(), [torch.randn(3, *SHAPE)], [torch.randn(1, *SHAPE)]).on_host == ()


def test_training():
    prepared = prepare_qat(Call(blocks_of_values).train(), torch.randn(2, *SHAPE))
    assert prepared(torch.randn(2, *SHAPE)).shape == (2, *SHAPE)


def counted(m, x):
    m.state.add_(1)
    return m.conv(x) + m.state


def kept(m, x):
    m.state = m.conv(x) + m.state
    return m.state


def kept_in_part(m, x):
    y = m.conv(x)
    m.state[:, 0] = y[:, 0]
    return y * m.state


@pytest.mark.parametrize("function", [counted, kept, kept_in_part])
def test_a_buffer_on_which_results_depend_is_a_state(function):
    module = Call(function).eval()
    exported = export_module(module, torch.randn(1, *SHAPE))
    (state,) = states_of(exported)
    assert state.name == "state"
    value = state.initial
    for _ in range(3):
        x = torch.randn(1, *SHAPE)
        with torch.no_grad():
            made, value = exported(x, value)
            assert torch.equal(made, module(x)) and torch.equal(value, module.state)


def test_counters_that_no_result_depends_on():
    def counting(m, x):
        m.state.add_(1)
        return m.conv(x)
    assert compare(Call(counting).eval(), [torch.randn(3, *SHAPE)], [torch.randn(1, *SHAPE)]).differing == 0
