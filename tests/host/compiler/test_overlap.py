"""Layers in pieces, in an order in which TENSOR computes while ROWS does: golden against the host's kernels."""

import pytest
from lepton.compiler import compile_graph
from lepton.compiler.image import Image, Steps
from lepton.compiler.pieces import BufferPart, region

from tests.host.compiler.compiler_attention import attention
from tests.host.compiler.compiler_graphs import exact


@pytest.mark.parametrize(("config", "sizes"), [
    ("tiny", (40, 37, 3, 8)), ("base", (64, 64, 4, 16)), ("cramped16", (33, 40, 3, 20)), ("cramped4", (70, 33, 2, 5))])
def test_attention_head_by_head(config, sizes):
    """Golden checks for races; memories in which everything stays, and nothing."""
    exact(attention(*sizes, 7, (0, 3, 0), softmax=True), config, on_host=None)


def test_softmax_is_hidden_behind_the_products_of_other_heads():
    """Twelve heads of 32 for 128 tokens: the softmax alone takes 147 thousand cycles of its engine."""
    model = compile_graph(attention(128, 128, 12, 32, 3, softmax=True), "base")
    rows = sum(layer.plan.compute_cycles for layer in model.layers if layer.op == "Softmax")
    others = sum(layer.plan.compute_cycles for layer in model.layers) - rows
    assert rows > 140_000 and others > 100_000
    assert model.cycles < rows + others / 3
    assert sum(layer.plan.cycles for layer in model.layers) == pytest.approx(model.cycles, abs=200)


def test_regions_of_images():
    image = Image("x", 4, 3, 5, 16, 80)
    assert region(image) == BufferPart("x", (0, 4), (0, 15))
    assert region(image.part(1, 2).pixels(4, 6)) == BufferPart("x", (1, 3), (4, 10))
    assert region(image.every(Steps(1, 2, 1), Steps(0, 2, 3))).pixels == (0, 240)  # not a run
    assert region(image.part(1, 1)).meets(region(image.pixels(14, 1)))
    assert not region(image.part(1, 1)).meets(region(image.part(2, 2)))
    assert not region(image.pixels(0, 5)).meets(region(image.pixels(5, 10)))
