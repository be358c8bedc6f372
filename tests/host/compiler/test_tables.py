"""Tables: fused and alone, with residuals, changing from layer to layer; whole networks on golden and RTL."""

import math

import lepton.device
import numpy as np
import pytest
from lepton.arch import PRESETS
from lepton.compiler import compile_graph
from lepton.graph import Table
from lepton.runtime import Session

from tests.host.compiler.compiler_graphs import CRAMPED, Builder, golden, random_inputs
from tests.host.compiler.compiler_reference import reference

FUNCTIONS = {
    "sigmoid": lambda x: 1 / (1 + math.exp(-x)), "tanh": math.tanh, "leaky": lambda x: max(x, x / 10),
    "hard-swish": lambda x: x * min(max(x + 3, 0), 6) / 6, "gelu": lambda x: x * (1 + math.erf(x / math.sqrt(2))) / 2,
}


def table_of(name, scale=0.05, zero=-10, out_scale=0.05, out_zero=3):
    results = [round(FUNCTIONS[name](scale * (q - zero)) / out_scale) + out_zero for q in range(-128, 128)]
    return np.clip(results, -128, 127).astype(np.int8).tobytes()


def permutation(seed):
    return np.random.default_rng(seed).permutation(256).astype(np.uint8).tobytes()


def with_table(builder, x, values):
    return builder.node(Table(values), [x], builder.shape(x))


def network(seed, channels=21):
    """A table behind every kind of layer, the same twice in a row, before and behind additions, and one alone."""
    b = Builder((1, 9, 7, channels), seed)
    names = [*FUNCTIONS]
    alone = with_table(b, "image", permutation(seed))
    x = with_table(b, b.conv(alone, channels, padding=((1, 1), (1, 1))), table_of(names[seed % 5]))
    same = with_table(b, b.depthwise(x, padding=((1, 1), (1, 1))), table_of(names[seed % 5]))
    other = with_table(b, b.conv(same, channels, (1, 1)), permutation(seed + 1))
    total = b.add(x, other)  # fused behind the table
    after = with_table(b, total, table_of(names[(seed + 1) % 5]))
    twice = with_table(b, with_table(b, after, permutation(seed + 2)), permutation(seed + 3))
    pooled = with_table(b, b.max_pool(twice), permutation(seed + 2))
    mean = with_table(b, b.mean(pooled), table_of("sigmoid"))
    b.dense(mean, 19)
    return b.done(b.graph.nodes[-1].outputs[0], pooled)


@pytest.mark.parametrize("config", ["tiny", "base", *CRAMPED])
@pytest.mark.parametrize("seed", [1, 2])
def test_network(config, seed):
    graph = network(seed)
    inputs = random_inputs(graph, seed)
    outputs, model = golden(graph, CRAMPED.get(config, config), inputs)
    assert [row.where for row in model.placement] == ["free", *["chip"] * 13], "the host applies the table at the edge"
    assert [layer.op for layer in model.layers] == [
        "Conv2D+Table", "DepthwiseConv2D+Table", "Conv2D+Table+Add", "Table", "MaxPool2D+Table", "Mean+Table",
        "FullyConnected"], "tables and the addition are fused where they can be, tables in a row composed"
    for name, wanted in reference(graph, inputs).items():
        np.testing.assert_array_equal(outputs[name], wanted, err_msg=name)


def test_the_chip_agrees():
    graph = network(3, channels=10)
    inputs = random_inputs(graph, 3)
    model = compile_graph(graph, "tiny")
    with lepton.device.open("rtl", config=PRESETS["tiny"], memory_bytes=1 << 22) as device, \
            Session(model, device) as session:
        outputs = session.run(inputs).outputs
    for name, wanted in reference(graph, inputs).items():
        np.testing.assert_array_equal(outputs[name], wanted, err_msg=name)


def test_a_table_whose_input_is_read_elsewhere_stays_apart():
    b = Builder((1, 5, 5, 8), 4)
    x = b.conv("image", 8)
    y = with_table(b, x, permutation(4))
    graph = b.done(x, y)
    inputs = random_inputs(graph, 4)
    outputs, model = golden(graph, "tiny", inputs)
    assert len(model.layers) == 2
    for name, wanted in reference(graph, inputs).items():
        np.testing.assert_array_equal(outputs[name], wanted)
