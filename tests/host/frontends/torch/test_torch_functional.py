"""Modules that change tensors in place, and operators that do nothing."""

import pytest

torch = pytest.importorskip("torch")

from lepton.frontends.torch import convert, export_module, prepare_qat  # noqa: E402
from lepton.frontends.torch.functional import functional  # noqa: E402
from lepton.graph import GraphError  # noqa: E402
from torch import nn  # noqa: E402
from torch.nn import functional as F  # noqa: E402

from tests.host.frontends.torch.torch_compare import compare, leaves  # noqa: E402

SHAPE = (4, 5, 6)


@pytest.fixture(autouse=True)
def seeded():
    torch.manual_seed(8)
    torch.set_num_threads(1)


class Call(nn.Module):
    def __init__(self, function):
        super().__init__()
        self.function = function
        self.conv = nn.Conv2d(4, 4, 1)
        self.register_buffer("buffer", torch.arange(4.0).view(1, 4, 1, 1))

    def forward(self, x):
        return self.function(self, x)


def relu_seen_by_all(m, x):
    y = m.conv(x)
    y.relu_()
    return y + x, F.relu_(y)


def sums_in_place(m, x):
    y = m.conv(x)
    y += x
    y.mul_(0.5)
    y.clamp_(-1, 1)
    return y


def of_a_part(m, x):
    return m.conv(x)[:, :2].relu_()


def view_after_the_change(m, x):
    y = m.conv(x)
    y.relu_()
    return y[:, 1:] - x[:, 1:]


def nothing(m, x):
    x = x.clone().contiguous().to(torch.float32).float()
    y = torch.ops.aten.alias(m.conv(x)).detach()
    return F.dropout(F.dropout2d(y, training=m.training), training=m.training)


def assertions(m, x):
    torch._assert(x.shape[1] == 4, "four channels")
    return m.conv(x)


@pytest.mark.parametrize("function", [relu_seen_by_all, sums_in_place, of_a_part, view_after_the_change, nothing,
                                      assertions])
def test_values_are_those_of_the_module(function):
    module = Call(function).eval()
    x = torch.randn(1, *SHAPE)
    exported = export_module(module, x)
    assert not any(getattr(getattr(node.target, "_schema", None), "is_mutable", False) for node in exported.graph.nodes)
    with torch.no_grad():
        for ours, theirs in zip(leaves(exported(x.clone())), leaves(module(x.clone())), strict=True):
            assert (ours == theirs).all()
    assert compare(module, [x], [torch.randn(1, *SHAPE)]).differing == 0


def test_operators_that_do_nothing_are_gone():
    exported = export_module(Call(nothing).eval(), torch.randn(1, *SHAPE))
    assert [str(n.target) for n in exported.graph.nodes if n.op == "call_function"] == ["aten.conv2d.default"]


def test_changes_through_views_need_the_program():
    """`import_converted` gets a module, which cannot be functionalized."""
    def assigned(m, x):
        y = m.conv(x)
        y[:, 0] = 0
        return y

    module = torch.export.export(Call(assigned).eval(), (torch.randn(1, *SHAPE),)).module()
    with pytest.raises(GraphError, match="in place, which 'output' reads through 'conv2d'; write it as an expression"):
        functional(module)


def test_gradients_stop_where_they_did():
    module = Call(lambda m, x: m.conv(x) + m.conv(x).detach())
    prepared = prepare_qat(module.train(), torch.randn(2, *SHAPE))
    assert any(node.target is torch.ops.aten.detach.default for node in prepared.graph.nodes)
    converted, _ = convert(prepared, [torch.randn(2, *SHAPE)])
    assert converted is not None


@pytest.mark.parametrize("function", [
    lambda m, x: (m.conv(x), torch.ones(3)), lambda m, x: (m.buffer, m.conv(x)), lambda m, x: {"a": x, "b": [x]},
    lambda m, x: (m.conv(x),) * 2, lambda m, x: (m.conv(x), x, m.conv(x).sum()), lambda m, x: x])
def test_outputs_of_every_kind(function):
    """Constants, buffers, inputs, the same value twice, scalars."""
    found = compare(Call(function).eval(), [torch.randn(3, *SHAPE)], [torch.randn(1, *SHAPE)])
    assert found.differing == 0


@pytest.mark.parametrize(("function", "text"), [
    (lambda m, x: (m.conv(x), 3), "an output of the module must be a tensor, not 3; return tensors only"),
    (lambda m, x: (m.conv(x), None), "an output of the module must be a tensor, not None"),
    (lambda m, x: x * x.sum().item(), r"_local_scalar_dense .*: values must be of type float32, .*, not float"),
])
def test_outputs_and_values_that_are_no_tensors(function, text):
    with pytest.raises(GraphError, match=text):
        compare(Call(function).eval(), [torch.randn(1, *SHAPE)], [])


def test_weights_are_observed_once_and_examples_counted():
    calls = []
    module = nn.Sequential(nn.Conv2d(4, 4, 1), nn.ReLU(), nn.Conv2d(4, 2, 1)).eval()
    data = [torch.randn(3, *SHAPE), torch.randn(2, *SHAPE)]
    once, _ = convert(module, data, progress=lambda done, total: calls.append(done))
    assert calls == [1, 2, 3, 4, 5]
    again, _ = convert(module, [one for batch in data for one in batch.split(1)])
    x = torch.randn(1, *SHAPE)
    assert torch.equal(once(x), again(x))


@pytest.mark.parametrize(("name", "text"), [
    ("net.h5", "not '.h5'; load it in Python with KERAS_BACKEND=torch and call lepton.compile"),
    ("net.keras", "from_keras_model"), ("net.pb", "from_saved_model"),
    ("net.pt", r"lepton.compile\(module, calibration=...\), or save torch.export.export"),
    ("net.safetensors", "it holds weights or a TorchScript program"),
    ("net.lepton", "it is compiled already; lepton run takes it as it is")])
def test_files_of_other_kinds_have_a_remedy(tmp_path, name, text):
    from lepton.frontends import load
    (tmp_path / name).write_bytes(b"nothing of ours")
    with pytest.raises(GraphError, match=text):
        load(tmp_path / name)
