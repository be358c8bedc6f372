"""Concat and Slice of channels on the chip: without work where they can be, and always exact."""

import numpy as np
import pytest
from compiler_graphs import CRAMPED, Builder, golden, quantization, random_inputs
from lepton.arch import PRESETS
from lepton.compiler import compile_graph, host
from lepton.graph import Arithmetic, Concat, Slice

Q = quantization(0.05, -3)


def concat(b, *names):
    shape = b.shape(names[0])
    out = b.node(Concat(len(shape) - 1), names, (*shape[:-1], sum(b.shape(n)[-1] for n in names)), same=True)
    return out


def take(b, x, begin, end, step=1):
    shape = b.shape(x)
    count = len(range(begin, end, step))
    op = Slice((0,) * (len(shape) - 1) + (begin,), (*shape[:-1], end), (1,) * (len(shape) - 1) + (step,))
    return b.node(op, [x], (*shape[:-1], count), same=True)


def conv(b, x, channels, kernel=(1, 1), **attributes):
    """All tensors here have one quantization, so that any of them may be joined."""
    x = b.conv(x, channels, kernel, **attributes)
    b.graph.tensors[x].quantization = Q
    return x


def builder(shape, seed):
    b = Builder(shape, seed)
    b.graph.tensors["image"].quantization = Q
    return b


def exact(graph, config, seed=1):
    inputs = random_inputs(graph, seed)
    outputs, model = golden(graph, CRAMPED.get(config, config), inputs, seed)
    wanted = host.evaluate(graph, inputs)
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


def random_graph(seed):
    random = np.random.default_rng(seed)
    b = builder((1, *map(int, random.integers(1, 9, 2)), int(random.integers(1, 40))), seed)
    made = ["image"]
    for _ in range(int(random.integers(3, 9))):
        x = str(random.choice(made))
        channels = b.shape(x)[-1]
        kind = random.choice(["conv", "concat", "slice", "pool", "depthwise", "add"])
        if kind == "concat":
            made.append(concat(b, *map(str, random.choice(made, int(random.integers(1, 4))))))
        elif kind == "slice":
            begin, step = int(random.integers(0, channels)), int(random.integers(1, 4))
            made.append(take(b, x, begin, int(random.integers(begin + 1, channels + 1)), step))
        elif kind == "pool":
            made.append(b.max_pool(x, kernel=(1, 1), stride=(1, 1)))
        elif kind == "add":
            made.append(b.add(x, x))
            b.graph.tensors[made[-1]].quantization = Q
        elif kind == "depthwise":
            made.append(b.depthwise(x, (3, 3), padding=((1, 1), (1, 1))))
            b.graph.tensors[made[-1]].quantization = Q
        else:
            made.append(conv(b, x, int(random.integers(1, 40)), (3, 3), padding=((1, 1), (1, 1))))
    chosen = list(dict.fromkeys([made[-1], *map(str, random.choice(made[1:], 2))]))
    return b.done(*chosen)


@pytest.mark.parametrize("config", ["tiny", "base", *CRAMPED])
@pytest.mark.parametrize("seed", range(8))
def test_random_moves(seed, config):
    exact(random_graph(seed), config, seed)


def test_other_axes_run_on_the_host():
    b = builder((1, 4, 4, 8), 1)
    x = b.node(Concat(1), ["image", "image"], (1, 8, 4, 8), same=True)
    row = compile_graph(b.done(x), PRESETS["tiny"]).placement[0]
    assert (row.where, row.reason) == ("host", "axis 1 is not that of channels")
