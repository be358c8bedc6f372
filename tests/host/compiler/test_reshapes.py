"""Reshapes before, between and behind all operators of the chip: results are those of the graph, whatever each sees."""

import lepton.device
import numpy as np
import pytest
from lepton.frontends import import_tflite
from lepton.graph import GraphError, Maximum, Recenter, Sub, Table, Tensor, interpret
from lepton.program import dump, parse
from lepton.runtime import Session

from tests import litert_models
from tests.host.compiler.compiler_graphs import CRAMPED, Builder, golden, litert
from tests.host.compiler.compiler_reshapes import KINDS, UNSIGNED, ReshapingBuilder, append, reshaping_network


def random_values(graph, seed):
    random = np.random.default_rng(seed)
    return {name: random.integers(0, 256, graph.tensors[name].shape).astype(np.uint8).view(graph.tensors[name].dtype)
            for name in graph.inputs}


def exact(graph, config, seed):
    inputs = random_values(graph, seed)
    outputs, model = golden(graph, CRAMPED.get(config, config), inputs, seed)
    wanted = interpret.evaluate(graph, inputs)
    for name in graph.outputs:
        np.testing.assert_array_equal(outputs[name], wanted[name], err_msg=f"seed {seed}, {name}")
        assert outputs[name].dtype == graph.tensors[name].dtype
    return model


@pytest.mark.parametrize("config", ["tiny", "small", "base", *CRAMPED])
@pytest.mark.parametrize("seed", range(40))
def test_random_networks(seed, config):
    exact(reshaping_network(seed), config, seed)


@pytest.mark.parametrize("config", ["tiny", "base"])
@pytest.mark.parametrize("before", KINDS)
def test_every_pair_of_operators(before, config):
    for seed, after in enumerate(KINDS):
        exact(reshaping_network(seed + 1000, [before, after]), config, seed)


LITERT = ("conv", "depthwise", "max", "average", "mean", "add", "dense")  # what the exporter has words for


@pytest.mark.parametrize("seed", range(4))
def test_networks_against_litert(seed):
    compared = 0
    for number in range(100 * seed, 100 * seed + 12):
        graph = reshaping_network(number, list(np.random.default_rng(number).choice(LITERT, 5)))
        inputs = random_values(graph, number)
        try:
            wanted = litert(graph, inputs)
        except GraphError:  # pools with paddings that TFLite has no words for, unsigned edges
            continue
        compared += 1
        outputs, _ = golden(graph, "tiny" if number % 2 else "base", inputs, number)
        for name in graph.outputs:
            np.testing.assert_array_equal(outputs[name], wanted[name], err_msg=f"seed {number}")
    assert compared >= 2


def dense_on_rows(shape, units, keep_dimensions):
    """A TFLite file with a fully connected layer over the last axis, as converters write it."""
    random = np.random.default_rng(1)
    x = litert_models.Tensor(0.05, shape=shape)
    weights = litert_models.Tensor(0.02, data=random.integers(-127, 128, (units, shape[-1])).astype(np.int8))
    bias = litert_models.Tensor(0.001, data=random.integers(-99, 99, units).astype(np.int32))
    rows = int(np.prod(shape[:-1]))
    y = litert_models.Tensor(0.3, shape=(*shape[:-1], units) if keep_dimensions else (rows, units))
    operator = litert_models.Operator("FULLY_CONNECTED", 5, [x, weights, bias], [y], "FullyConnectedOptions",
                                      {"KeepNumDims": keep_dimensions})
    return litert_models.build_network([operator], [x], [y])


@pytest.mark.parametrize("config", ["tiny", "base"])
@pytest.mark.parametrize("shape", [(1, 5, 3), (5, 3, 3), (1, 3, 4, 2), (1, 1, 12, 4), (1, 12, 1, 4), (15, 3)])
@pytest.mark.parametrize("keep_dimensions", [True, False])
def test_rows_of_a_fully_connected_layer(shape, keep_dimensions, config):
    """Its output may have other rows than its input: (rows, units) for an image of height and width."""
    file = dense_on_rows(shape, 7, keep_dimensions)
    values = np.random.default_rng(2).integers(-128, 128, shape).astype(np.int8)
    graph = import_tflite(file)
    outputs, model = golden(graph, config, {graph.inputs[0]: values})
    np.testing.assert_array_equal(outputs[graph.outputs[0]], litert_models.reference(file, values))
    assert {row.where for row in model.placement} == {"chip"}


def test_channels_of_a_slice_in_other_rows():
    """A slice of an input is read as (64, 1) in strips, then as (4, 16) at once: all of it must have been loaded."""
    b = ReshapingBuilder((1, 64, 1, 24), 3)
    part = append(b, "slice", "image", ["image"])
    x = b.conv(part, 8, (1, 1))
    y = b.conv(b.reshape(part, (1, 4, 16, b.shape(part)[3])), 8, (3, 3))
    graph = b.done(x, y)
    for config in ("tiny", "base", *CRAMPED):
        exact(graph, config, 1)


def test_a_residual_whose_operands_are_reshaped():
    """The addition is fused behind a Reshape; which operand is the layer's own must not depend on names."""
    for first in (True, False):
        b = ReshapingBuilder((1, 3, 8, 12), 3)
        x = b.reshape(b.conv("image", 12, (1, 1)), (1, 4, 6, 12))
        other = b.reshape(b.conv("image", 12, (3, 3), padding=((1, 1), (1, 1))), (1, 4, 6, 12))
        second = b.max_pool(other, kernel=(1, 1), stride=(1, 1))
        pair = [x, second] if first else [second, x]
        graph = b.done(b.node(Sub(), pair, (1, 4, 6, 12)), second)
        model = exact(graph, "tiny", 1)
        assert [layer.op for layer in model.layers] == ["Conv2D", "MaxPool2D", "Conv2D+Sub"]


def test_bytes_at_the_edges_are_the_layouts_work():
    """Unsigned bytes and tables at the edges cost neither a job nor a step, and few channels still share lanes."""
    b = ReshapingBuilder((1, 9, 8, 3), 5)
    shape = b.graph.tensors.pop("image").shape
    b.graph.tensors["bytes"] = Tensor("bytes", shape, np.dtype(np.uint8), UNSIGNED)
    b.graph.inputs = ["bytes"]
    x = b.node(Recenter(), ["bytes"], shape)
    x = b.node(Table(np.roll(np.arange(256), 3).astype(np.uint8).tobytes()), [x], shape)
    y = b.node(Recenter(), [b.conv(x, 5, (3, 3))], (1, 7, 6, 5))
    b.graph.tensors[y].dtype = np.dtype(np.uint8)
    b.graph.tensors[y].quantization = UNSIGNED
    model = exact(b.done(y), "base", 1)
    step, = model.steps
    assert [row.where for row in model.placement] == ["free", "free", "chip", "free"]
    assert (step.inputs[0].dtype, step.outputs[0].dtype) == ("uint8", "uint8")
    assert type(step.inputs[0].layout).__name__ == "Rows"
    again = parse(dump(model))
    inputs = random_values(b.graph, 2)
    with lepton.device.open("golden", config="base") as device, Session(again, device) as session:
        np.testing.assert_array_equal(session.run(inputs).outputs[y], interpret.evaluate(b.graph, inputs)[y])


@pytest.mark.parametrize("shape", [(1, 10, 9, 1), (1, 5, 7, 3), (1, 4, 4, 21)])
def test_a_flattened_image_takes_no_more_weights_than_it_has_values(shape):
    """From the host it comes flat; between layers it is packed where that pays."""
    for behind in (False, True):
        b = ReshapingBuilder(shape, 6)
        x = b.max_pool("image", kernel=(1, 1), stride=(1, 1)) if behind else "image"
        x = b.dense(b.reshape(x, (1, int(np.prod(shape)))), 70)
        model = exact(b.done(x), "base", 1)
        assert [layer.op for layer in model.layers] == ["MaxPool2D", "Reshape", "FullyConnected"][0 if behind else 2:]
        assert len(model.steps) == 1
        assert len(model.steps[0].program) < 1.5 * 16 * (np.prod(shape) + 16) * -(-70 // 16) + 2000


SAME = np.arange(-128, 128).astype(np.int8).tobytes()


@pytest.mark.parametrize("config", ["tiny", "base"])
def test_tables_that_change_nothing_cost_nothing(config):
    """At the edge, before an addition, as an output, and with another quantization behind them."""
    b = Builder((1, 9, 8, 3), 5)
    first = b.conv(b.node(Table(SAME), ["image"], (1, 9, 8, 3)), 7, (3, 3))
    x = b.node(Table(SAME), [first], (1, 7, 6, 7))
    y = b.conv(b.node(Table(SAME), [x], (1, 7, 6, 7)), 7, (1, 1))
    total = b.add(y, x)
    graph = b.done(b.node(Table(SAME), [total], (1, 7, 6, 7)), b.conv(total, 2, (1, 1)))
    model = exact(graph, config, 1)
    assert [layer.op for layer in model.layers] == ["Conv2D", "Conv2D+Add", "Conv2D"]
    assert [row.where for row in model.placement if row.op == "Table"] == ["free"] * 4
    assert len(model.steps) == 1


def test_a_table_between_host_operators_is_no_job():
    b = ReshapingBuilder((1, 1, 1, 40), 5)
    x = b.node(Maximum(), [b.dense("image", 20)] * 2, (1, 20))
    x = b.node(Table(np.roll(np.arange(256), 9).astype(np.uint8).tobytes()), [b.reshape(x, (4, 5))], (4, 5))
    other = b.node(Table(SAME), [b.node(Maximum(), [x, x], (4, 5))], (4, 5))
    model = exact(b.done(x, other), "tiny", 1)
    assert sum(hasattr(step, "program") for step in model.steps) == 1
    assert [row.reason for row in model.placement if row.op == "Table"] == [
        "the host has its operand and reads its result", "only the host reads its result"]


@pytest.mark.parametrize("shape", [(), (1, 1, 1, 1, 1), (2, 1, 1, 3, 2)])
@pytest.mark.parametrize("config", ["tiny", "base"])
def test_a_table_that_only_the_host_can_compute_between_layers(shape, config):
    """The host looks up a tensor that is no image; only the chip reads the results, through a Reshape."""
    b = ReshapingBuilder((1, 1, 1, 20), 7)
    size = int(np.prod(shape))
    x = b.reshape(b.dense("image", size), shape)
    x = b.node(Table(np.roll(np.arange(256), 9).astype(np.uint8).tobytes()), [x], shape)
    exact(b.done(b.dense(b.reshape(x, (1, size)), 30)), config, 1)
