"""Training with the forward pass of the RTL."""

import pytest

torch = pytest.importorskip("torch")

from lepton import LeptonChip  # noqa: E402
from lepton.arch import PRESETS  # noqa: E402
from lepton.toolkit.network import LeptonNetwork  # noqa: E402

from tests.host.toolkit.small_network import CLASSES, SHAPE, data, module  # noqa: E402


def test_a_step_on_the_board_is_that_of_the_golden_model(boards):
    """Both devices give the same weights after an epoch; the RTL counts the cycles of each inference."""
    x, y = data(10)
    weights = []
    for device, counts in ((boards(PRESETS["tiny"]), True), (boards.golden(PRESETS["tiny"]), False)):
        chip = LeptonChip(device)
        network = LeptonNetwork(module(), (CLASSES,), input_shape=SHAPE).compile(chip, optimizer="sgd")
        history = network.fit(x, y, epochs=1, batch_size=5, validation=0.2, accelerate=True, verbose=False)
        assert history.chip_inferences == 10
        assert (history.chip_cycles > 0) == counts
        weights.append(network.float_module().state_dict())
    assert all(torch.equal(value, weights[1][name]) for name, value in weights[0].items())
