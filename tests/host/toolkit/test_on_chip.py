"""Training with the chip's forward pass, against PyTorch's own int8 module of the same weights."""

import itertools

import pytest

torch = pytest.importorskip("torch")

from lepton import LeptonChip  # noqa: E402
from lepton.frontends.torch import prepare_qat, quantize  # noqa: E402
from lepton.frontends.torch.quantize import convert  # noqa: E402
from lepton.toolkit.network import LeptonNetwork, ToolkitError  # noqa: E402
from lepton.toolkit.on_chip import ChipForward, Rounded  # noqa: E402

from .small_network import CLASSES, SHAPE, data, module, trained  # noqa: E402


def test_every_step_equals_the_int8_module_of_its_weights():
    """Weights, ranges and statistics change between the steps; outputs follow at once."""
    x = torch.from_numpy(data(24)[0])
    prepared = prepare_qat(trained(x), x[:2], frozen=True)
    with LeptonChip("golden", "tiny") as chip:
        forward = ChipForward(prepared, chip, "steps")
        optimizer = torch.optim.SGD(forward.parameters(), lr=0.05)
        seen = []
        for step in range(4):
            forward.train(True)
            outputs = forward(x)
            seen.append(outputs.detach())
            int8, _ = convert(prepared, x[:1])
            with torch.no_grad():
                expected = torch.cat([int8(one) for one in x.split(1)])
            size = expected.unique().diff().min()
            assert (outputs - expected).abs().max() <= 1.01 * size, step
            assert (outputs - expected).abs().gt(0.5 * size).float().mean() <= 0.01, step
            optimizer.zero_grad()
            outputs.square().mean().backward()
            optimizer.step()
        assert all(not torch.equal(a, b) for a, b in itertools.pairwise(seen))
        assert forward.inferences == 4 * 24 and forward.cycles == 0
        forward.train(False)
        with torch.no_grad():
            forward(x)
        loaded = forward._serving
        with torch.no_grad():
            forward(x)
        assert forward._serving is loaded, "the same weights were loaded again"
        forward.close()


def test_gradients_are_the_simulations():
    """d/dw of the chip's outputs squared: twice the chip's outputs times the simulation's gradient."""
    x = torch.from_numpy(data(8)[0])
    prepared = prepare_qat(trained(x), x[:2], frozen=True)
    with LeptonChip("golden", "tiny") as chip:
        forward = ChipForward(prepared, chip, "gradients").train(True)
        outputs = forward(x)
        outputs.square().sum().backward()
        found = [value.grad.clone() for value in forward.parameters()]
        for value in forward.parameters():
            value.grad = None
        prepared(x).backward(2 * outputs.detach())
        for a, value in zip(found, forward.parameters(), strict=True):
            torch.testing.assert_close(a, value.grad)
        forward.close()


def test_validation_does_not_move_ranges():
    x = torch.from_numpy(data(8)[0])
    rounded = Rounded(prepare_qat(trained(x), x[:2], frozen=True))
    rounded.train(True)
    rounded(x)
    before = {name: value.clone() for name, value in rounded.state_dict().items() if "min_val" in name}
    rounded.train(False)
    rounded(100 * x)
    after = rounded.state_dict()
    assert before and all(torch.equal(value, after[name]) for name, value in before.items())


def test_fit_on_the_chip():
    """What validation saw is what the deployed network computes, since both are the chip's."""
    x, y = data(200)
    with LeptonChip("golden", "tiny") as chip:
        network = LeptonNetwork(module(), (CLASSES,), input_shape=SHAPE).compile(chip)
        network.fit(x, y, epochs=4, verbose=False)
        history = network.fit(x, y, epochs=2, learning_rate=1e-3, accelerate=True, verbose=False)
        assert history.chip_inferences == 2 * 200 and history.chip_cycles == 0
        assert history.epochs[history.best_epoch]["val_accuracy"] >= 0.9
        network.deploy()
        assert network.score(x[180:], y[180:]) == pytest.approx(history.epochs[history.best_epoch]["val_accuracy"])
        network.close()


def test_a_chip_is_needed():
    network = LeptonNetwork(module(), (CLASSES,), input_shape=SHAPE)
    network.loss = "categorical_crossentropy"
    x, y = data(8)
    with pytest.raises(ToolkitError, match=r"fit: there is no chip yet: compile\(chip, ...\)"):
        network.fit(x, y, accelerate=True)


def test_a_trained_module_can_be_converted_and_trained_on():
    x = torch.from_numpy(data(8)[0])
    prepared = prepare_qat(trained(x), x[:2], frozen=True)
    prepared(x)
    first = quantize(prepared, x[:1])
    prepared.train(True)
    assert prepared(x).requires_grad
    assert len(quantize(prepared, x[:1]).nodes) == len(first.nodes)
