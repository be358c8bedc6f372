"""Products of two computed tensors and transposes on the chip: attention, batches, zero points.

Golden, which checks for races, against the host's kernels; the same networks run on the RTL in
`tests/system/test_head_products.py`.
"""

import numpy as np
import pytest
from lepton.compiler import compile_graph
from lepton.graph import Arithmetic, HeadProduct, MatMul, Reshape, Transpose

from tests.host.compiler.compiler_attention import attention, batched, product, random_attention
from tests.host.compiler.compiler_graphs import Builder, exact, quantization


@pytest.mark.parametrize("arithmetic", Arithmetic)
@pytest.mark.parametrize("zeros", [(0, 0, 0), (5, -7, 3), (-128, 9, -128), (127, -128, 127)])
def test_attention_without_softmax_is_one_job(zeros, arithmetic):
    """Both products, the transpose of the values, and the layers around them; any zero points."""
    model = exact(attention(10, 13, 2, 8, 3, zeros), "tiny", arithmetic)
    assert [layer.op for layer in model.layers] == [
        "Conv2D", "Conv2D", "Conv2D", "MatMul", "Transpose", "MatMul", "Conv2D"]
    assert len(model.steps) == 1


def test_attention_with_its_softmax_is_one_job():
    """The scores go to the ROWS engine and come back as the image of the second product."""
    model = exact(attention(10, 13, 2, 8, 3, (1, 2, 3), softmax=True), "tiny")
    assert [layer.op for layer in model.layers] == [
        "Conv2D", "Conv2D", "Conv2D", "MatMul", "Softmax", "Transpose", "MatMul", "Conv2D"]
    assert len(model.steps) == 1


@pytest.mark.parametrize(("config", "sizes"), [
    ("base", (128, 100, 2, 32)), ("cramped4", (33, 21, 3, 5)), ("cramped16", (33, 70, 2, 20)),
    ("cramped4", (1, 70, 4, 8)), ("base", (1, 40, 4, 16)), ("cramped16", (20, 1, 2, 9))])
def test_attention_of_other_sizes(config, sizes):
    """Heads whose channels are blocks and not, one query, one key; memories in which nothing stays."""
    model = exact(attention(*sizes, 4, (0, 3, 0)), config, on_host=None)
    assert "MatMul" in [layer.op for layer in model.layers]


@pytest.mark.parametrize("seed", range(6))
def test_random_attention(seed):
    graph = random_attention(seed)
    exact(graph, ["tiny", "base", "cramped4", "cramped16"][seed % 4], list(Arithmetic)[seed % len(Arithmetic)],
          on_host=None)


@pytest.mark.parametrize(("transposed_a", "transposed_b"), [(False, False), (False, True), (True, False), (True, True)])
@pytest.mark.parametrize("batch", [(), (3,), (2, 3)])
def test_batches_with_either_operand_transposed(batch, transposed_a, transposed_b):
    """TFLite's BATCH_MATMUL with adj_x and adj_y, of tensors that the host sends."""
    graph = batched(batch, 9, 7, 11, 5, transposed_a, transposed_b)
    model = exact(graph, "tiny", on_host=None)
    assert {row.op for row in model.placement if row.where == "chip"} >= {"HeadProduct"}


def test_transposes_between_layers_are_the_chips():
    """A mixer: tokens and channels exchanged, a layer over tokens, and exchanged back."""
    b = Builder((1, 1, 21, 10), 3)
    x = b.conv("image", 19, (1, 1))
    turned = b.node(Transpose((0, 1, 3, 2)), [x], (1, 1, 19, 21), same=True)
    mixed = b.conv(turned, 21, (1, 1))
    back = b.node(Transpose((0, 1, 3, 2)), [mixed], (1, 1, 21, 19), same=True)
    model = exact(b.done(b.conv(back, 8, (1, 1))), "tiny")
    assert [layer.op for layer in model.layers] == ["Conv2D", "Transpose", "Conv2D", "Transpose", "Conv2D"]


@pytest.mark.parametrize("config", ["tiny", "base", "cramped4"])
@pytest.mark.parametrize("reader", ["transpose", "product", "softmax", "two readers"])
def test_operands_whose_channels_a_reshape_has_changed(reader, config):
    """They lie in memory pixel by pixel, where blocks of channels are no weight tiles."""
    b = Builder((1, 3, 8, 5), 3)
    x = b.reshape(b.conv("image", 19, (1, 1)), (1, 3, 8 * 19))
    turned = b.node(Transpose((0, 2, 1)), [x], (1, 8 * 19, 3), same=True)
    if reader == "softmax":
        made = b.conv(b.reshape(b.softmax(x), (1, 1, 3, 8 * 19)), 4, (1, 1))
    elif reader == "product":
        made = b.conv(b.reshape(product(b, x, turned, (1, 3, 3)), (1, 1, 3, 3)), 4, (1, 1))
    else:
        made = b.conv(b.reshape(turned, (1, 1, 8 * 19, 3)), 4, (1, 1))
    outputs = [made]
    if reader == "two readers":
        again = b.node(Transpose((0, 2, 1)), [x], (1, 8 * 19, 3), same=True)
        outputs.append(b.conv(b.reshape(again, (1, 8, 19, 3)), 5, (1, 1)))
    exact(b.done(*outputs), config, on_host=None)


def test_transposes_at_the_edges_stay_with_the_host():
    b = Builder((1, 1, 5, 6), 3)
    x = b.node(Transpose((0, 1, 3, 2)), ["image"], (1, 1, 6, 5), same=True)
    x = b.conv(x, 7, (1, 1))
    y = b.node(Transpose((0, 1, 3, 2)), [x], (1, 1, 7, 6), same=True)
    model = compile_graph(b.done(y), "tiny")
    assert [row.reason for row in model.placement if row.op == "Transpose"] == [
        "the host has its operand", "the host reads its result"]


def test_heads_that_share_keys():
    """Grouped queries: two heads read the same keys; queries, keys and values come from one layer."""
    b = Builder((1, 1, 12, 10), 6)
    x = b.conv("image", 24, (1, 1))
    b.graph.tensors[x].quantization = quantization(0.04, -3)
    product = b.node(HeadProduct(12, 12, 6, ((0, 0), (0, 6)), ((0, 12), (0, 12)), ((0, 0), (12, 0)), (1, 24, 12)),
                     [x, x], (1, 24, 12))
    exact(b.done(b.conv(b.reshape(product, (1, 2, 12, 12)), 5, (1, 1))), "tiny")


@pytest.mark.parametrize(("changes", "message"), [
    ({"a": ((0, 0),)}, "as many parts of both operands and of the result, not 1, 2 and 2"),
    ({"b": ((0, 0), (1, 4))}, r"parts of 5 pixels of 4 channels at \[\(0, 0\), \(1, 4\)\] must lie in shape \(5, 8\)"),
    ({"out": ((0, 0), (2, 0))}, "the parts of the result must be all of it, each element once"),
])
def test_parts_that_do_not_fit(changes, message):
    given = {"rows": 6, "columns": 5, "depth": 4, "a": ((0, 0), (0, 4)), "b": ((0, 0), (0, 4)),
             "out": ((0, 0), (6, 0)), "shape": (2, 6, 5)} | changes
    b = Builder((6, 8), 1)
    b.graph.inputs.append(b._activation("other", (5, 8)))
    b.node(HeadProduct(**given), ["image", "other"], (2, 6, 5))
    with pytest.raises(Exception, match=message):
        compile_graph(b.done(), "tiny")


def test_products_with_a_constant_stay_with_the_host():
    """A batch of constant matrices is no tensor that the chip computes."""
    b = Builder((1, 3, 5, 6), 2)
    data = np.random.default_rng(1).integers(-127, 128, (1, 3, 6, 4)).astype(np.int8)
    name = b._activation("matrices", data.shape, quantization(0.02))
    b.graph.tensors[name].data = data
    x = b.node(MatMul(), [b.conv("image", 6, (1, 1)), name], (1, 3, 5, 4))
    model = exact(b.done(b.node(Reshape((3, 20)), [x], (3, 20), same=True)), "tiny", on_host=None)
    assert [row.reason for row in model.placement if row.op == "MatMul"] == ["the chip has no operation for it"]
