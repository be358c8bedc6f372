"""What imported graphs compute on the golden device, next to PyTorch's own quantized module."""

import numpy as np
import pytest

torch = pytest.importorskip("torch")

import lepton.device  # noqa: E402
from lepton.compiler import compile_graph  # noqa: E402
from lepton.frontends.torch import (  # noqa: E402
    LeptonQuantizer,
    convert,
    export_module,
    import_converted,
    layer_noise,
    load_pt2,
    prepare_qat,
    quantize,
)
from lepton.graph import Arithmetic, GraphError, Transpose  # noqa: E402
from lepton.runtime import Session  # noqa: E402
from torch import nn  # noqa: E402

from tests.host.frontends.torch.torch_compare import nodes_of, output_steps  # noqa: E402
from tests.host.frontends.torch.torch_networks import NETWORKS, Residual, settled  # noqa: E402


@pytest.fixture(autouse=True)
def seeded():
    torch.manual_seed(1)
    torch.set_num_threads(1)


def run(graph, inputs: list[torch.Tensor], config="tiny") -> list[np.ndarray]:
    model = compile_graph(graph, config)
    with lepton.device.open("golden", config=model.config) as device, Session(model, device) as session:
        return [session.run(x.numpy()).outputs[graph.outputs[0]] for x in inputs]


def off_by_more_than_one(graph, converted, inputs) -> float:
    """The share of outputs that differ from PyTorch's quantized module by more than a step of the output."""
    with torch.no_grad():
        expected = [converted(x).numpy() for x in inputs]
    steps = np.abs(np.array(run(graph, inputs)) - np.array(expected)) / output_steps(graph)[-1]
    return float((steps > 1.01).mean())


@pytest.mark.parametrize("name", NETWORKS)
def test_within_one_step_of_pytorch(name):
    kind, shape = NETWORKS[name]
    converted, example = convert(settled(kind()), [torch.randn(8, *shape) for _ in range(2)])
    graph = import_converted(converted, (example,), name)
    assert graph.arithmetic is Arithmetic.TORCH
    inputs = [torch.randn(1, *shape) for _ in range(3)]
    assert off_by_more_than_one(graph, converted, inputs) <= 0.001


def test_images_are_transposed_at_the_edges_only():
    kind, shape = NETWORKS["residual"]
    graph = quantize(settled(kind()), [torch.randn(4, *shape)])
    assert len(nodes_of(graph, Transpose)) == 1  # the input's; the output has no image


def test_training_with_the_same_quantizer():
    quantizer = LeptonQuantizer("moving_average")
    module = Residual()
    data = torch.randn(8, 3, 16, 12)
    labels = torch.arange(8) % 10
    prepared = prepare_qat(module.train(), data, quantizer)
    optimizer = torch.optim.SGD(prepared.parameters(), 0.02)
    losses = []
    for _ in range(8):
        optimizer.zero_grad()
        loss = nn.functional.cross_entropy(prepared(data), labels)
        loss.backward()
        optimizer.step()
        losses.append(float(loss.detach()))
    assert losses[-1] < losses[0]
    converted, example = convert(prepared, [data])
    graph = import_converted(converted, (example,), "trained")
    assert off_by_more_than_one(graph, converted, [data[i:i + 1] for i in range(3)]) <= 0.001


def test_saved_programs(tmp_path):
    kind, shape = NETWORKS["residual"]
    module = settled(kind())
    data = [torch.randn(4, *shape)]
    converted, example = convert(module, data)
    torch.export.save(torch.export.export(converted, (example,)), tmp_path / "int8.pt2")
    torch.export.save(torch.export.export(module, (example,)), tmp_path / "float.pt2")
    expected = run(import_converted(converted, (example,), "x"), [example])[0]
    np.testing.assert_array_equal(run(load_pt2(tmp_path / "int8.pt2"), [example])[0], expected)
    np.testing.assert_array_equal(run(load_pt2(tmp_path / "float.pt2", data), [example])[0], expected)
    with pytest.raises(GraphError, match="is a float program: give calibration data"):
        load_pt2(tmp_path / "float.pt2")
    (tmp_path / "damaged.pt2").write_bytes((tmp_path / "int8.pt2").read_bytes()[:2000])
    with pytest.raises(GraphError, match=r"damaged\.pt2 cannot be read as a torch\.export program"):
        load_pt2(tmp_path / "damaged.pt2")
    with pytest.raises(FileNotFoundError):
        load_pt2(tmp_path / "none.pt2")


def test_noise_of_every_layer():
    kind, shape = NETWORKS["residual"]
    module = settled(kind())
    data = [torch.randn(8, *shape)]
    converted, example = convert(module, data)
    noise = layer_noise(export_module(module, example), converted, example)
    assert [layer.operator for layer in noise].count("aten.conv2d.default") == 4
    assert all(10 < layer.decibels < 80 for layer in noise), noise
    coarse = next(layer for layer in noise if layer.name == "linear").decibels
    converted.get_submodule("")._frozen_param0.fill_(0)  # a dead first layer shows in all that follow
    dead = layer_noise(export_module(module, example), converted, example)
    assert next(layer for layer in dead if layer.name == "linear").decibels < coarse - 6


@pytest.mark.parametrize(("module", "text"), [
    (lambda x: torch.special.bessel_j0(x), r"operator aten\.special_bessel_j0\.default is supported neither in int8"),
    (lambda x: x if x.sum() > 0 else -x,
     r"torch cannot trace the module \(torch.export\): GuardOnDataDependentSymNode.*; a program must not branch "
     "on values: use torch.where"),
])
def test_what_is_not_supported_is_named(module, text):
    class Call(nn.Module):
        def forward(self, x):
            return module(x)

    with pytest.raises(GraphError, match=text):
        quantize(Call().eval(), [torch.randn(2, 3, 8, 8)])


def test_options_are_checked():
    with pytest.raises(ValueError, match="ranges must be one of minmax, moving_average, histogram, not 'kl'"):
        LeptonQuantizer("kl")
    with pytest.raises(GraphError, match=r"input_shape \(1, 3, 9, 9\) does not match the .* \(1, 3, 12, 10\)"):
        quantize(nn.Conv2d(3, 4, 1).eval(), [torch.randn(2, 3, 12, 10)], (1, 3, 9, 9))
