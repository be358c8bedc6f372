"""The widths of the commands' fields, the counter slots and the regions: what reaches a limit runs, what exceeds it is
cut into jobs or goes to the host, and results are right either way."""

import numpy as np
import pytest
from lepton.arch import PRESETS, Region
from lepton.arch.commands import Tensor
from lepton.compiler import compile_graph
from lepton.compiler.job_plan import check_sizes
from lepton.graph import Concat, GraphError, Pad, Resize, Slice, Table, interpret

from tests.host.compiler.compiler_graphs import Builder, golden, random_inputs
from tests.host.compiler.compiler_random import network

BYTE = Tensor.find("kernel_x").maximum
COLUMNS = Tensor.find("ix0").maximum
TINY = PRESETS["tiny"]


def exact(graph, config="tiny"):
    inputs = random_inputs(graph, 1)
    outputs, model = golden(graph, config, inputs, 1)
    wanted = interpret.evaluate(graph, inputs)
    for name in graph.outputs:
        np.testing.assert_array_equal(outputs[name], wanted[name], err_msg=name)
    return model


def places(model):
    return [row.where for row in model.placement]


def chain(layers, outputs_every=50):
    b = Builder((1, 3, 3, 2), 1)
    x = "image"
    outputs = []
    for number in range(layers):
        x = b.conv(x, 2, (1, 1))
        if number % outputs_every == outputs_every - 1:
            outputs.append(x)
    return b.done(x, *outputs)


@pytest.mark.parametrize("layers, slots, jobs", [
    (256, 256, 1), (257, 256, 2), (600, 256, 3), (12, 4, 3), (13, 4, 4), (3, 1, 3)])
def test_a_job_has_no_more_layers_than_counter_slots(layers, slots, jobs):
    model = exact(chain(layers), TINY.with_(layer_slots=slots))
    assert len(model.steps) == jobs
    for step in range(jobs):
        rows = [layer for layer in model.layers if layer.step == step]
        assert [layer.index for layer in rows] == list(range(len(rows))) and len(rows) <= slots
    assert [layer.name for layer in model.layers] == [f"n{i}" for i in range(layers)], "the report names every layer"


def test_jobs_are_cut_where_few_bytes_cross():
    """After the pool, not between the wide layers, and with a residual and a concatenation across the cut."""
    b = Builder((1, 8, 8, 4), 1)
    x = b.conv("image", 40, (3, 3), padding=((1, 1), (1, 1)))
    x = b.conv(x, 40, (3, 3), padding=((1, 1), (1, 1)))
    small = b.max_pool(x, kernel=(4, 4), stride=(4, 4))
    x = b.conv(small, 40, (1, 1))
    x = b.conv(x, 40, (1, 1))
    x = b.conv(b.add(x, small), 12, (1, 1))
    joined = b.node(Concat(3), [small, small], (1, 2, 2, 80), same=True)
    model = exact(b.done(b.conv(joined, 5, (1, 1)), x), TINY.with_(layer_slots=8))
    assert len(model.steps) == 1 and len(model.layers) == 8
    model = exact(b.graph, TINY.with_(layer_slots=4))
    assert sum(binding.size for binding in model.steps[1].inputs) <= 2 * 4 * 40 < 8 * 8 * 40


def test_an_operator_of_more_layers_than_slots_is_the_hosts():
    b = Builder((1, 3, 3, 5), 1)
    x = b.node(Concat(3), ["image"] * 33, (1, 3, 3, 165), same=True)
    model = exact(b.done(b.conv(x, 3, (1, 1))), TINY.with_(layer_slots=32))
    assert [row.where for row in model.placement] == ["host", "chip"]
    assert model.placement[0].reason == "it takes 33 layers, and a job of the chip has at most 32"


@pytest.mark.parametrize("size", [BYTE, BYTE + 1])
@pytest.mark.parametrize("what", ["kernel", "stride", "dilation", "pool"])
def test_bytes_of_a_command(what, size):
    b = Builder((1, 2, 2 * size + 5, 3), 2)
    options = {"kernel": {"kernel": (1, size)}, "stride": {"kernel": (1, 2), "stride": (1, size)},
               "dilation": {"kernel": (1, 2), "dilation": (1, size)}}
    if what == "pool":
        x = b.max_pool("image", kernel=(1, size), stride=(1, size))
    else:
        x = b.conv("image", 3, **options[what])
    assert places(exact(b.done(x))) == ["chip" if size == BYTE else "host"]


@pytest.mark.parametrize("width", [COLUMNS, COLUMNS + 1, 65535, 65536, 70_000])
@pytest.mark.parametrize("what", ["table", "concat", "slice", "cut", "pad", "pad channels", "add", "rows", "pool",
                                  "conv", "resize"])
def test_columns_of_an_image(what, width):
    """Rows and columns are counted in 16 bits, with a sign where they may lie in the padding."""
    b = Builder((1, 1, width, 3), 2)
    shape = (1, 1, width, 3)
    if what == "table":
        x = b.node(Table(np.roll(np.arange(256), 5).astype(np.uint8).tobytes()), ["image"], shape)
    elif what == "concat":
        x = b.node(Concat(3), ["image", "image"], (1, 1, width, 6), same=True)
    elif what == "slice":
        x = b.node(Slice((0, 0, 0, 1), shape, (1, 1, 1, 1)), ["image"], (1, 1, width, 2), same=True)
    elif what == "cut":
        x = b.node(Slice((0, 0, 1, 0), shape, (1, 1, 1, 1)), ["image"], (1, 1, width - 1, 3), same=True)
    elif what == "pad":
        x = b.node(Pad(((0, 0), (0, 0), (1, 0), (0, 0)), 3), ["image"], (1, 1, width + 1, 3), same=True)
    elif what == "pad channels":
        x = b.node(Pad(((0, 0), (0, 0), (0, 0), (0, 2)), 3), ["image"], (1, 1, width, 5), same=True)
    elif what == "add":
        x = b.add("image", "image")
    elif what == "rows":
        x = b.conv(b.reshape("image", (1, width, 1, 3)), 2, (1, 1))
    elif what == "pool":
        x = b.max_pool("image", kernel=(1, 3), stride=(1, 2))
    elif what == "conv":
        x = b.conv("image", 2, (1, 3), padding=((0, 0), (1, 1)))
    else:
        resize = Resize((1, width * 2), coordinates="asymmetric", nearest="floor")
        x = b.node(resize, ["image"], (1, 1, width * 2, 3), same=True)
    model = exact(b.done(x))
    if width <= COLUMNS - 2:
        assert set(places(model)) <= {"chip", "free"}


def test_a_region_ends_where_offsets_do():
    """Offsets and sizes have 32 bits, so that a region of 4 GiB is one byte too large."""
    check_sizes("net", {Region.INPUT: (1 << 32) - 1})
    with pytest.raises(GraphError, match="a region has at most 4294967295 bytes: use smaller images or split"):
        check_sizes("net", {Region.INPUT: 1 << 32})


def test_long_reductions_and_many_units():
    b = Builder((1, 1, 1, 70_000), 3)
    x = b.dense("image", 3)
    assert places(exact(b.done(x))) == ["chip"]
    b = Builder((1, 1, 1, 3), 3)
    x = b.dense("image", 70_000)
    assert places(exact(b.done(x))) == ["chip"]


def test_deep_networks_on_chips_of_few_slots():
    for slots in (2, 16):
        for seed in range(3):
            graph = network(seed)
            model = exact(graph, TINY.with_(layer_slots=slots))
            assert all(layer.index < slots for layer in model.layers)
            assert compile_graph(graph, TINY.with_(layer_slots=slots)).steps[0].program == model.steps[0].program
