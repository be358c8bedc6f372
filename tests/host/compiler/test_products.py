"""Products of two computed tensors, and operands that are repeated over rows or columns, in the tail.

Golden against the host's kernels, which are the frameworks' (`tests/system/test_frameworks.py`).
"""

import numpy as np
import pytest
from lepton.compiler import compile_graph
from lepton.graph import Add, Arithmetic, Mul, Sub, Table, Tensor

from tests.host.compiler.compiler_graphs import CONFIGS, Builder, exact, quantization
from tests.host.compiler.compiler_moves import take

PADDED = ((1, 1), (1, 1))


def scaled_like(b, name, *operands, factor=None):
    """Give a result the scale that lets products of int8 fill its range; `factor` is that of the integer product."""
    tensors = b.graph.tensors
    scale = (factor or b.random.uniform(60, 140)) * np.prod([float(tensors[operand].scale) for operand in operands])
    tensors[name].quantization = quantization(scale, int(b.random.integers(-20, 20)))
    return name


def any_image(seed):
    """A generator, and a (height, width, channels) that it has chosen."""
    random = np.random.default_rng(seed)
    height, width = (int(n) for n in random.integers(2, 14, 2))
    return random, (height, width, int(random.choice([1, 3, 16, 20, 50])))


def any_of_one_size(random):
    """Scales near one another, so that sums can be expressed."""
    return quantization(random.uniform(0.04, 0.06), int(random.integers(-99, 99)))


def fitting(b, name, op, *operands):
    """Give the result of a sum or product of such operands a scale that it fills."""
    if op is Mul:
        scaled_like(b, name, *operands)
    else:
        b.graph.tensors[name].quantization = quantization(0.09, 3)


def gated(b, x):
    """Squeeze and excite: a mean, two 1 x 1 layers, the second through a table, and one factor for each channel."""
    channels = b.shape(x)[3]
    squeezed = b.conv(b.mean(x), max(channels // 4, 1), (1, 1))
    excited = b.conv(squeezed, channels, (1, 1))
    rising = tuple(range(-128, 128))
    gate = b.node(Table(bytes(value & 255 for value in rising)), [excited], b.shape(excited))
    b.graph.tensors[gate].quantization = quantization(1 / 256, -128)
    return gate


@pytest.mark.parametrize("config", CONFIGS)
@pytest.mark.parametrize("arithmetic", Arithmetic)
@pytest.mark.parametrize("gate_first", [False, True])
def test_gates_of_channels_stay_on_the_chip(config, arithmetic, gate_first):
    """One job: the mean, the layers of the gate, the product, the layer behind it."""
    b = Builder((1, 9, 7, 21), 5)
    x = b.conv("image", 37, padding=PADDED)
    gate = gated(b, x)
    y = b.multiply(gate, x) if gate_first else b.multiply(x, gate)
    model = exact(b.done(b.conv(y, 18, (1, 1))), config, arithmetic)
    assert [layer.op for layer in model.layers if "Mul" in layer.op] == ["Mul"]


@pytest.mark.parametrize("config", CONFIGS)
@pytest.mark.parametrize("arithmetic", Arithmetic)
def test_products_are_fused_into_their_producer(config, arithmetic):
    """A gated linear unit: two branches of one size, the second behind a clamp, and their product."""
    b = Builder((1, 11, 6, 9), 8)
    a = b.conv("image", 40, padding=PADDED)
    c = b.depthwise(b.conv("image", 40, (1, 1)), padding=PADDED, clamp=(-50, 100))
    model = exact(b.done(b.multiply(a, c, clamp=(-90, 127))), config, arithmetic)
    assert [layer.op for layer in model.layers if "Mul" in layer.op] == ["DepthwiseConv2D+Mul"]


@pytest.mark.parametrize("arithmetic", Arithmetic)
@pytest.mark.parametrize("op", [Add, Sub, Mul])
@pytest.mark.parametrize("seed", range(12))
def test_every_broadcast_of_rows_and_columns(seed, op, arithmetic):
    """Random shapes; one operand, the first or the second, has one row, one column, or both."""
    random, (height, width, channels) = any_image([seed, 77])
    b = Builder((1, height, width, 6), seed)
    whole = b.conv("image", channels, padding=PADDED)
    small = b.conv("image", channels, padding=PADDED)
    axes = [(1,), (2,), (1, 2)][seed % 3]
    kernel = tuple(n if axis in axes else 1 for axis, n in ((1, height), (2, width)))
    small = b.depthwise(small, kernel)
    operands = [whole, small] if random.random() < 0.5 else [small, whole]
    result = b.node(op(), operands, b.shape(whole))
    for name in operands:
        b.graph.tensors[name].quantization = any_of_one_size(random)
    fitting(b, result, op, whole, small)
    exact(b.done(result), ["tiny", "cramped4", "cramped16"][seed % 3], arithmetic)


@pytest.mark.parametrize("arithmetic", Arithmetic)
@pytest.mark.parametrize("op", [Add, Sub, Mul])
@pytest.mark.parametrize("seed", range(10))
def test_constant_operands(seed, op, arithmetic):
    """For every channel, row, column, pixel or element; one value for all; fused into a layer or not."""
    random, (height, width, channels) = any_image([seed, 78])
    b = Builder((1, height, width, 6), seed)
    x = b.conv("image", channels, padding=PADDED)
    b.graph.tensors[x].quantization = any_of_one_size(random)
    shape = [(channels,), (1, 1, channels), (height, 1, channels), (1, 1, width, channels),
             (1, height, width, channels),
             (1, height, width, 1), (height, 1, 1), (1,), (), (1, 1, 1, channels)][seed]
    data = random.integers(-128, 128, shape).astype(np.int8)
    b.graph.tensors["constant"] = Tensor("constant", data.shape, data.dtype, any_of_one_size(random), data)
    operands = [x, "constant"] if random.random() < 0.5 else ["constant", x]
    result = b.node(op(), operands, b.shape(x))
    fitting(b, result, op, x, "constant")
    outputs = [result, b.max_pool(x, kernel=(2, 2))] if seed % 2 else [result]
    exact(b.done(*outputs), ["tiny", "cramped4", "cramped16"][seed % 3], arithmetic)


@pytest.mark.parametrize("arithmetic", Arithmetic)
@pytest.mark.parametrize("seed", range(8))
def test_one_channel_for_all(seed, arithmetic):
    """A spatial gate: the channel is copied to all lanes, also from the middle of a block, or from the host."""
    random, (height, width, channels) = any_image([seed, 79])
    b = Builder((1, height, width, 6), seed)
    x = b.conv("image", channels, padding=PADDED)
    if seed % 4 == 0:
        b.graph.inputs.append(b._activation("one", (1, height, width, 1)))
        one = "one"
    elif seed % 4 == 1:
        one = take(b, b.conv("image", 7, padding=PADDED), 3, 4)
    else:
        one = b.conv("image", 1, padding=PADDED)
        if seed % 4 == 2:
            one = b.depthwise(one, (height, 1))  # one row, too
    y = b.multiply(*([x, one] if random.random() < 0.5 else [one, x]))
    exact(b.done(y), ["tiny", "cramped4", "cramped16"][seed % 3], arithmetic)


def test_products_of_a_tensor_with_itself():
    b = Builder((1, 5, 5, 18), 3)
    x = b.conv("image", 20)
    exact(b.done(b.multiply(x, x)), "tiny")


def test_inputs_of_the_network_are_multiplied():
    b = Builder((1, 5, 6, 18), 3)
    b.graph.inputs.append(b._activation("gate", (1, 1, 1, 18)))
    exact(b.done(b.multiply("gate", "image")), "tiny")


@pytest.mark.parametrize(("shapes", "reason"), [
    (((1, 4, 1, 6), (1, 1, 5, 6)),
     "neither operand, (4, 1, 6) and (1, 5, 6) as (height, width, channels), has the result's shape (4, 5, 6)"),
])
def test_other_broadcasts_are_the_hosts(shapes, reason):
    b = Builder(shapes[0], 1)
    b.graph.inputs.append(b._activation("other", shapes[1]))
    b.conv("image", 4, (1, 1))
    result = b.multiply("image", "other")
    model = compile_graph(b.done("t0", result), "tiny")
    assert [(row.op, row.reason) for row in model.placement if row.where == "host"] == [("Mul", reason)]


def test_a_product_that_no_integers_give_is_the_hosts():
    """Scales whose product is twice that of the output: the factor would need a left shift."""
    b = Builder((1, 4, 5, 6), 1)
    x = b.conv("image", 8)
    y = scaled_like(b, b.node(Mul(), [x, x], b.shape(x)), x, x, factor=0.5)
    model = exact(b.done(y), "tiny", on_host=["Mul"])
    assert "no integers give the results that the framework gives" in str([row.reason for row in model.placement])
