"""What each pass does to a graph, and that the result does not change."""

import numpy as np
import pytest
from lepton.compiler import compile_graph
from lepton.graph import (
    Add,
    Arithmetic,
    Conv2D,
    GraphError,
    Maximum,
    Minimum,
    Mul,
    Node,
    Op,
    Pad,
    Prelu,
    Reshape,
    Sub,
    Table,
    Tensor,
    Transpose,
    interpret,
    passes,
)
from lepton.graph.passes import COMPILER, PASSES, apply
from lepton.graph.printer import graph_text

from tests.host.compiler.compiler_graphs import Builder, quantization, random_inputs


def operators(graph):
    return [type(node.op).__name__ for node in graph.nodes]


def same(graph, changed):
    inputs = random_inputs(graph, 1)
    wanted = interpret.evaluate(graph, inputs)
    got = interpret.evaluate(changed, inputs)
    for name in graph.outputs:
        np.testing.assert_array_equal(got[name], wanted[name])


def padded(value=None, users=1):
    b = Builder((1, 5, 6, 3), 2)
    zero = int(b.graph.tensors["image"].quantization.zero_point[0])
    x = b.node(Pad(((0, 0), (1, 2), (0, 1), (0, 0)), zero if value is None else zero + value), ["image"], (1, 8, 7, 3),
               same=True)
    outputs = [b.conv(x, 4, (3, 3), padding=((1, 0), (0, 0))), b.depthwise(x, (2, 2))]
    return b.done(*outputs, *([x] if users > 2 else []))


def test_padding_moves_into_convolutions():
    graph = padded()
    changed = PASSES["fold-pads"](graph)
    assert operators(changed) == ["Conv2D", "DepthwiseConv2D"]
    assert changed.nodes[0].op.padding == ((2, 2), (0, 1)) and changed.nodes[1].op.padding == ((1, 2), (0, 1))
    same(graph, changed)
    assert operators(graph)[0] == "Pad", "the graph that was given must stay as it was"


def test_padding_that_stays():
    """Another value than the zero point; and where another node reads the result, the Pad stays."""
    graph = padded(value=1)
    changed = PASSES["fold-pads"](graph)
    assert operators(changed) == operators(graph)
    same(graph, changed)
    graph = padded(users=3)
    changed = PASSES["fold-pads"](graph)
    assert operators(changed) == operators(graph) and [n.inputs[0] for n in changed.nodes] == ["image"] * 3
    same(graph, changed)


def test_padding_behind_padding_and_before_a_transpose():
    b = Builder((1, 3, 5, 6), 2)
    zero = int(b.graph.tensors["image"].quantization.zero_point[0])
    x = b.node(Pad(((0, 0), (0, 0), (1, 2), (0, 1)), zero), ["image"], (1, 3, 8, 7), same=True)
    x = b.node(Transpose((0, 2, 3, 1)), [x], (1, 8, 7, 3), same=True)
    x = b.node(Pad(((0, 0), (0, 0), (2, 0), (0, 0)), zero), [x], (1, 8, 9, 3), same=True)
    graph = b.done(b.conv(x, 4, (3, 3)))
    changed = PASSES["fold-pads"](graph)
    assert operators(changed) == ["Transpose", "Conv2D"]
    assert changed.nodes[1].op.padding == ((1, 2), (2, 1))
    same(graph, changed)


def table(b, x, seed):
    values = np.random.default_rng(seed).integers(-128, 128, 256).astype(np.int8).tobytes()
    return b.node(Table(values), [x], b.shape(x))


def test_tables_in_a_row_are_joined():
    b = Builder((1, 4, 4, 3), 1)
    x = table(b, table(b, table(b, "image", 1), 2), 3)
    graph = b.done(x)
    changed = PASSES["join-tables"](graph)
    assert operators(changed) == ["Table"]
    same(graph, changed)
    b = Builder((1, 4, 4, 3), 1)
    y = table(b, "image", 1)
    graph = b.done(table(b, y, 2), y)
    assert operators(PASSES["join-tables"](graph)) == ["Table", "Table"]


def test_tables_go_before_reshapes():
    b = Builder((1, 4, 6), 1)
    x = table(b, b.reshape(b.reshape("image", (1, 4, 2, 3)), (4, 2, 3)), 1)
    graph = b.done(x)
    changed = PASSES["tables-first"](PASSES["tables-first"](graph))
    assert operators(changed) == ["Table", "Reshape", "Reshape"]
    same(graph, changed)
    b = Builder((1, 4, 6), 1)
    x = b.reshape("image", (4, 2, 3))
    graph = b.done(table(b, x, 1), x)  # another reads the reshape
    assert operators(PASSES["tables-first"](graph)) == ["Reshape", "Table"]


@pytest.mark.parametrize("shape", [(4, 2, 5, 6), (2, 5, 6), (6,), (1, 2, 1, 1), (4, 1, 5, 1)])
def test_several_images_are_seen_as_one(shape):
    """A sum with a constant of fewer elements, a product of a tensor with itself, a softmax."""
    b = Builder((4, 2, 5, 6), 2)
    data = np.random.default_rng(1).integers(-128, 128, shape).astype(np.int8)
    b.graph.tensors["mask"] = Tensor("mask", shape, data.dtype, quantization(0.04, 9), data)
    x = b.node(Add(), ["image", "mask"], (4, 2, 5, 6))
    b.graph.tensors[x].quantization = quantization(0.07, -4)
    y = b.node(Mul(), [x, x], (4, 2, 5, 6))
    b.graph.tensors[y].quantization = quantization(0.3, 1)
    graph = b.done(b.softmax(y))
    changed = PASSES["one-image"](graph)
    assert [changed.tensors[node.outputs[0]].shape for node in changed.nodes if not isinstance(node.op, Reshape)] == [
        (8, 5, 6)] * 3
    same(graph, changed)


@pytest.mark.parametrize("op", [Add((-90, 90)), Sub(), Mul(), Maximum(), Minimum(), Prelu()])
@pytest.mark.parametrize("arithmetic", Arithmetic)
def test_a_constant_number_makes_a_table(op, arithmetic):
    for shape, first in (((), False), ((1, 1, 1, 3), False), ((), True)):
        if first and isinstance(op, Prelu):
            continue
        b = Builder((1, 2, 2, 3), 1)
        alike = isinstance(op, Maximum | Minimum)
        q = b.graph.tensors["image"].quantization if alike else quantization(0.02, 3)
        b.graph.tensors["c"] = Tensor("c", shape, np.dtype(np.int8), q, np.full(shape, -77, np.int8))
        x = b.node(op, ["c", "image"] if first else ["image", "c"], (1, 2, 2, 3), same=alike)
        graph = b.done(x)
        graph.arithmetic = arithmetic
        changed = PASSES["tabulate"](graph)
        assert operators(changed) == ["Table"] and changed.nodes[0].inputs == ["image"]
        same(graph, changed)


def test_constants_that_differ_make_none():
    b = Builder((1, 2, 2, 3), 1)
    for name, data in (("c", np.int8([1, 1, 2])), ("d", np.full((2, 2, 2, 3), 5, np.int8))):
        b.graph.tensors[name] = Tensor(name, data.shape, data.dtype, quantization(0.02, 3), data)
    graph = b.done(b.node(Add(), ["image", "c"], (1, 2, 2, 3)), b.node(Add(), ["image", "d"], (2, 2, 2, 3)))
    assert operators(PASSES["tabulate"](graph)) == ["Add", "Add"]


def test_constants_are_computed():
    b = Builder((1, 2, 2, 3), 1)
    for name in ("p", "q"):
        data = b.random.integers(-128, 128, (1, 1, 1, 3)).astype(np.int8)
        b.graph.tensors[name] = Tensor(name, data.shape, data.dtype, quantization(0.02, 3), data)
    x = b.node(Add(), ["p", "q"], (1, 1, 1, 3))
    b.graph.tensors["sum"] = Tensor("sum", (1, 2, 2, 3), np.dtype(np.int8), quantization(0.03, 1))
    b.graph.nodes.append(Node(Add(), ["image", x], ["sum"], "sum"))
    graph = b.done("sum")
    changed = PASSES["fold-constants"](graph)
    assert operators(changed) == ["Add"] and changed.tensors[x].data is not None
    same(graph, changed)


def test_what_nobody_reads_goes():
    b = Builder((1, 4, 4, 3), 1)
    x = b.conv("image", 4, (1, 1))
    b.conv(b.conv(x, 8, (1, 1)), 8, (1, 1))
    graph = b.done(x)
    changed = PASSES["remove-unused"](graph)
    assert operators(changed) == ["Conv2D"] and set(changed.tensors) == {"image", x, "w0", "w0b"}
    same(graph, changed)


def test_passes_are_shown_in_order():
    graph = padded()
    seen = []
    compile_graph(graph, "tiny", observe=lambda name, g: seen.append((name, graph_text(g))))
    assert [name for name, _ in seen] == ["import", *COMPILER]
    texts = dict(seen)
    assert "= Pad(image)" in texts["import"] and "Pad" not in texts["fold-pads"]
    assert "Conv2D(image, w1: int8[4,3,3,3] 4 scales along 0" in texts["fold-pads"]
    assert "{padding=((2, 2), (0, 1))}" in texts["fold-pads"]
    assert isinstance(apply(graph, *COMPILER).nodes[0].op, Conv2D)


def test_a_graph_that_no_pass_changes_is_returned_and_verified_once(monkeypatch):
    graph = Builder((1, 5, 6, 3), 2)
    graph = graph.done(graph.conv("image", 4, (3, 3)))
    verified = []
    monkeypatch.setattr(passes, "verify", lambda changed: verified.append(changed) or changed)
    seen = []
    with passes.observed(lambda name, changed: seen.append((name, changed))):
        assert apply(graph, *COMPILER) is graph
    assert verified == [graph] and seen == [(name, graph) for name in COMPILER]


def test_every_changed_graph_is_verified(monkeypatch):
    verified = []
    monkeypatch.setattr(passes, "verify", lambda changed: verified.append(operators(changed)) or changed)
    apply(padded(), *COMPILER)
    assert verified[0] == ["Conv2D", "DepthwiseConv2D"] and len(verified) < len(COMPILER)


@pytest.mark.parametrize("names", [(), ("fold-pads",), COMPILER])
def test_a_malformed_graph_is_refused_whether_a_pass_changes_it_or_not(names):
    graph = Builder((1, 5, 6, 3), 2)
    graph = graph.done(graph.conv("image", 4, (3, 3)))
    graph.tensors[graph.outputs[0]].shape = (1, 9, 9, 4)
    with pytest.raises(GraphError, match=r"must have shape \(1, 3, 4, 4\), not \(1, 9, 9, 4\)"):
        apply(graph, *names)


def test_operators_without_a_shape_rule_or_arithmetic_cannot_be_made():
    class Half(Op):
        def infer(self, inputs):
            return inputs[0].shape, np.dtype(np.int8)

    with pytest.raises(TypeError, match="compute"):
        Half()
