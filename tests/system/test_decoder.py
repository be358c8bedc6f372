"""A decoder block with its key/value cache: RTL and golden model byte for byte, near to float, and its cycles."""

import lepton.device
import numpy as np
import pytest
from lepton.compiler import compile_graph
from lepton.program import ChipStep, dump, parse
from lepton.runtime import ComparingSession

torch = pytest.importorskip("torch")

from lepton.frontends.torch import quantize  # noqa: E402

from tests.system.decoder import DecoderBlock, tokens  # noqa: E402


def block(dim, heads, length, at_place):
    torch.manual_seed(5)
    return DecoderBlock(dim, heads, length, at_place).eval()


@pytest.mark.parametrize("at_place", [False, True])
def test_tokens_on_the_rtl(at_place):
    module = block(32, 2, 10, at_place)
    data = tokens(1, 24, 32)
    model = parse(dump(compile_graph(quantize(module, [data]), "tiny")))
    on_chip = {placed.op for placed in model.placement if placed.where == "chip"}
    assert on_chip >= {"LayerNorm", "FullyConnected", "HeadProduct", "Softmax", "Table", "Add"}
    errors = []
    with lepton.device.open("rtl", config="tiny") as rtl, lepton.device.open("golden", config="tiny") as golden, \
            ComparingSession(model, rtl, golden) as session:
        for token in data[:14]:  # the cache is full after 10
            compared = session.run(token[None].numpy())
            assert not compared.differences
            with torch.no_grad():
                wanted = module(token[None]).numpy()
            made = compared.result.outputs["output"]
            errors.append(np.linalg.norm(made - wanted) / np.linalg.norm(wanted))
        assert {name: value.dtype.name for name, value in session.device.states.items()} == {
            "keys": "int8", "values": "int8"} | ({"place": "int64"} if at_place else {})
    assert max(errors) < 0.03
    expected = sum(step.cycles for step in model.steps if isinstance(step, ChipStep))
    assert abs(expected / compared.result.report.cycles - 1) < 0.08


@pytest.mark.parametrize(("at_place", "most"), [(True, 1.13), (False, 1.5)])
def test_cycles_of_a_large_block(at_place, most):
    """dim 384, 6 heads, 256 tokens in the cache: weights, keys and values are read once, 16 bytes a cycle.

    At a place that the network computes, the host writes the new row between two jobs. A cache that moves on by a token
    is moved by the chip, in one job.
    """
    model = compile_graph(quantize(block(384, 6, 256, at_place), [tokens(1, 4, 384)]), "base")
    read = sum(layer.weight_bytes for layer in model.layers) + 2 * 256 * 384
    assert sum(layer.weight_bytes for layer in model.layers) == 12 * 384 * 384
    assert model.cycles <= most * read / 16
    assert sum(isinstance(step, ChipStep) for step in model.steps) == 1 + at_place
