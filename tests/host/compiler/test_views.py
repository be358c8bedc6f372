"""Concat and Slice of channels on the chip: without work where they can be, and always exact."""

import numpy as np
import pytest
from lepton.arch import PRESETS
from lepton.compiler import compile_graph
from lepton.graph import Arithmetic, Concat, interpret

from tests.host.compiler.compiler_graphs import CRAMPED, golden, random_inputs
from tests.host.compiler.compiler_moves import builder, concat, conv, random_moves, take


def exact(graph, config, seed=1):
    inputs = random_inputs(graph, seed)
    outputs, model = golden(graph, CRAMPED.get(config, config), inputs, seed)
    wanted = interpret.evaluate(graph, inputs)
    for name in graph.outputs:
        np.testing.assert_array_equal(outputs[name], wanted[name], err_msg=name)
    return model


def kinds(model):
    return [layer.op for layer in model.layers]


def test_aligned_operands_are_written_where_they_belong():
    b = builder((1, 6, 5, 16), 1)
    x = concat(b, conv(b, "image", 16), conv(b, "image", 32))
    model = exact(b.done(conv(b, x, 8, (3, 3))), "base")
    assert kinds(model) == ["Conv2D"] * 3 and len(model.steps) == 1
    assert [(r.op, r.where) for r in model.placement] == [("Conv2D", "chip")] * 2 + [("Concat", "chip"),
                                                                                   ("Conv2D", "chip")]


def test_operands_of_any_width_are_read_where_they_lie():
    b = builder((1, 6, 5, 16), 1)
    x = concat(b, conv(b, "image", 7), conv(b, "image", 21), conv(b, "image", 2))
    assert kinds(exact(b.done(conv(b, x, 8, (3, 3))), "base")) == ["Conv2D"] * 4


def test_a_slice_costs_nothing_before_a_convolution():
    b = builder((1, 6, 5, 48), 1)
    x = conv(b, "image", 48)
    graph = b.done(conv(b, take(b, x, 5, 37), 8), conv(b, take(b, x, 1, 48, 2), 8, (3, 3)))
    assert kinds(exact(graph, "base")) == ["Conv2D"] * 3


def test_channels_are_moved_for_lane_wise_work_and_for_the_host():
    b = builder((1, 6, 6, 24), 1)
    x = concat(b, conv(b, "image", 5), conv(b, "image", 9))
    pooled = b.max_pool(x, kernel=(2, 2))
    graph = b.done(pooled, take(b, x, 3, 12))
    assert kinds(exact(graph, "tiny")) == ["Conv2D", "Conv2D", "Select", "MaxPool2D", "Select"]


def test_operands_from_outside_and_twice_the_same():
    b = builder((1, 4, 4, 20), 1)
    x = conv(b, "image", 12)
    y = concat(b, x, "image", x)
    model = exact(b.done(conv(b, y, 6), x), "tiny")
    assert kinds(model).count("Copy") == 3 and len(model.steps) == 1


def test_a_concatenation_that_is_an_output():
    b = builder((1, 4, 4, 8), 1)
    x = concat(b, conv(b, "image", 8), conv(b, "image", 6))
    y = concat(b, x, conv(b, "image", 3))
    exact(b.done(y, x), "tiny")


@pytest.mark.parametrize("config", ["tiny", "base", *CRAMPED])
@pytest.mark.parametrize("arithmetic", list(Arithmetic))
def test_shuffle_units(config, arithmetic):
    """As ShuffleNetV2 has them: even channels go on, odd ones through the branch, both are joined."""
    b = builder((1, 9, 8, 12), 2)
    x = concat(b, conv(b, "image", 12), conv(b, "image", 12))
    for _ in range(3):
        y = conv(b, take(b, x, 1, 24, 2), 12)
        y = b.depthwise(y, (3, 3), padding=((1, 1), (1, 1)))
        x = concat(b, take(b, x, 0, 24, 2), conv(b, y, 12))
    graph = b.done(conv(b, x, 10), b.average_pool(x, kernel=(3, 3), stride=(2, 2)))
    graph.arithmetic = arithmetic
    model = exact(graph, config)
    assert sum(hasattr(step, "program") for step in model.steps) == 1


@pytest.mark.parametrize("config", ["tiny", "base", *CRAMPED])
@pytest.mark.parametrize("seed", range(8))
def test_random_moves(seed, config):
    exact(random_moves(seed), config, seed)


def test_other_axes_run_on_the_host():
    b = builder((1, 4, 4, 8), 1)
    x = b.node(Concat(1), ["image", "image"], (1, 8, 4, 8), same=True)
    row = compile_graph(b.done(x), PRESETS["tiny"]).placement[0]
    assert (row.where, row.reason) == ("host", "axis 1 is not the last, that of channels")
