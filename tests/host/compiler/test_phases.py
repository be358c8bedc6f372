"""Images of more pixels on the chip: nearest neighbours and transposed convolutions, phase by phase."""

import numpy as np
import pytest
from lepton.graph import Arithmetic, Table, interpret

from tests.host.compiler.compiler_graphs import CRAMPED, Builder, golden, random_inputs
from tests.host.compiler.compiler_moves import enlarged, transposed


def exact(graph, config, arithmetic=Arithmetic.FIXED):
    graph.arithmetic = arithmetic
    inputs = random_inputs(graph, 1)
    outputs, model = golden(graph, CRAMPED.get(config, config), inputs, 5)
    for name, wanted in interpret.evaluate(graph, inputs).items():
        if name in graph.outputs:
            np.testing.assert_array_equal(outputs[name], wanted, err_msg=name)
    return model


@pytest.mark.parametrize("config", ["tiny", "base", *CRAMPED])
@pytest.mark.parametrize("steps", [(2, 2), (1, 3)])
def test_nearest_neighbours(config, steps):
    b = Builder((1, 6, 5, 20), 1)
    x = enlarged(b, b.conv("image", 20, (1, 1)), steps)
    graph = b.done(b.conv(x, 9, (3, 3), padding=((1, 1), (1, 1))), enlarged(b, "image", steps))
    model = exact(graph, config)
    assert [r.where for r in model.placement] == ["chip"] * 4 and len(model.steps) == 1


@pytest.mark.parametrize("coordinates,nearest", [
    ("half_pixel", "round_prefer_floor"), ("half_pixel", "round_prefer_ceil"), ("asymmetric", "floor")])
@pytest.mark.parametrize("arithmetic", list(Arithmetic))
def test_places_that_are_even(coordinates, nearest, arithmetic):
    b = Builder((1, 4, 3, 6), 1)
    model = exact(b.done(enlarged(b, "image", (2, 2), coordinates=coordinates, nearest=nearest)), "tiny", arithmetic)
    assert model.placement[0].where == "chip"


def test_a_table_goes_into_every_phase():
    b = Builder((1, 4, 3, 6), 1)
    values = np.random.default_rng(1).integers(-128, 128, 256).astype(np.int8).tobytes()
    x = enlarged(b, b.conv("image", 6, (1, 1)), (2, 2))
    model = exact(b.done(b.node(Table(values), [x], b.shape(x))), "tiny")
    assert [layer.op for layer in model.layers] == ["Conv2D", "Resize+Table"]


@pytest.mark.parametrize("config", ["tiny", "base", *CRAMPED])
@pytest.mark.parametrize("kernel,stride,padding", [
    ((2, 2), (2, 2), ((0, 0), (0, 0))), ((3, 3), (2, 2), ((0, 0), (1, 1))), ((4, 4), (2, 2), ((1, 1), (1, 1))),
    ((1, 5), (2, 3), ((0, 0), (2, 0))), ((3, 2), (1, 1), ((1, 1), (0, 0)))])
def test_transposed_convolutions(kernel, stride, padding, config):
    b = Builder((1, 5, 4, 19), 3)
    x = transposed(b, b.conv("image", 21, (1, 1)), 18, kernel, stride, padding)
    graph = b.done(b.conv(x, 7, (2, 2)), transposed(b, "image", 5, kernel, stride, padding))
    for arithmetic in Arithmetic:
        model = exact(graph, config, arithmetic)
        assert all(r.where == "chip" for r in model.placement)
        assert sum(layer.macs for layer in model.layers if "Transpose" in layer.op) > 0


@pytest.mark.parametrize("size", [(11, 9), (1, 3)])
def test_an_output_that_is_no_multiple_of_the_stride(size):
    b = Builder((1, 5, 4, 6), 3)
    model = exact(b.done(transposed(b, "image", 5, (3, 3), (2, 2), size=size)), "tiny")
    assert model.placement[0].where == "chip"
