"""Concat and Slice of channels on the chip: without work where they can be, and always exact."""

import numpy as np
import pytest
from lepton.arch import PRESETS
from lepton.compiler import compile_graph
from lepton.graph import Arithmetic, Concat, Gather, Tensor, interpret

from tests.host.compiler.compiler_graphs import CRAMPED, Builder, golden, random_inputs
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


def test_operands_from_outside_and_twice_the_exact():
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
    assert (row.where, row.reason) == (
        "host", "axis 1 is neither the last, that of channels, nor the first with several pixels")


def gathered(b, x, places):
    """`x` with its channels at constant places."""
    name = f"places{len(b.graph.nodes)}"
    b.graph.tensors[name] = Tensor(name, places.shape, places.dtype, None, places)
    return b.node(Gather(3), [x, name], (*b.shape(x)[:3], len(places)), same=True)


@pytest.mark.parametrize("config", ["tiny", "base", *CRAMPED])
@pytest.mark.parametrize("groups", [2, 3])
def test_a_channel_shuffle_is_only_another_order_of_lanes(config, groups):
    """Read by a convolution, it takes no layer."""
    b = Builder((1, 6, 5, 8), 4)
    x = b.conv("image", 42, (1, 1))
    y = gathered(b, x, np.arange(42).reshape(groups, -1).T.ravel())
    model = exact(b.done(b.conv(y, 20)), config)
    assert kinds(model) == ["Conv2D", "Conv2D"]


@pytest.mark.parametrize("arithmetic", Arithmetic)
@pytest.mark.parametrize("seed", range(8))
def test_channels_at_any_places(seed, arithmetic):
    """Permuted, some left out, some taken twice, counted from the end; read by every kind of layer, and an output."""
    random = np.random.default_rng([seed, 5])
    channels = int(random.choice([5, 16, 37, 50]))
    b = Builder((1, 5, 7, 9), seed)
    x = b.conv("image", channels)
    places = random.permutation(channels) if seed % 2 else random.integers(0, channels, int(random.integers(1, 60)))
    if arithmetic is not Arithmetic.FIXED:
        places = np.where(random.random(len(places)) < 0.3, places - channels, places)
    y = gathered(b, x, places.astype(np.int64))
    reader = [lambda: b.conv(y, 12, (1, 1)), lambda: b.depthwise(y), lambda: b.add(y, y),
              lambda: b.dense(y, 9), lambda: gathered(b, y, np.arange(len(places))[::-1].copy())][seed % 5]
    graph = b.done(*([reader(), y] if seed % 3 == 0 else [reader()]))
    graph.arithmetic = arithmetic
    model = exact(graph, ["tiny", "cramped16"][seed % 2])
    assert not [row for row in model.placement if row.where == "host"]
