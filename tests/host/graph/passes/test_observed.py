"""Rewrites are seen by name, those of front ends too, and leave the graph that they are given as it was."""

import numpy as np
import pytest
from lepton.graph import Dequantize, Graph, GraphError, MaxPool2D, Quantization, Quantize, Transpose
from lepton.graph.builder import GraphBuilder
from lepton.graph.interpret import evaluate
from lepton.graph.passes import PASSES, apply, observed
from lepton.graph.printer import graph_text

Q = Quantization(np.float32([0.5]), np.int32([3]))


def pooled():
    """float32 (N, C, H, W) in and out, a pool of int8 (N, H, W, C) between."""
    b = GraphBuilder(Graph("net"))
    x = b.emit(Quantize(), [b.input("x", (1, 3, 4, 6), np.float32)], "codes", Q)
    y = x.apply(Transpose((0, 2, 3, 1))).apply(MaxPool2D()).apply(Transpose((0, 3, 1, 2)))
    b.output(y.apply(Dequantize()), "y")
    return b.graph


def test_every_rewrite_is_seen_by_its_name():
    seen = []
    with observed(lambda name, graph: seen.append((name, len(graph.nodes)))), observed(None):
        apply(pooled(), "channels-last", "collapse-moves")
    assert [name for name, _ in seen] == ["channels-last", "collapse-moves"]
    apply(pooled(), "channels-last")
    assert len(seen) == 2, "the observer is still called"


@pytest.mark.parametrize("name", PASSES)
def test_the_graph_that_is_given_stays_as_it_was(name):
    graph = pooled()
    before = graph_text(graph)
    apply(graph, name)
    assert graph_text(graph) == before


def test_int8_edges():
    graph = pooled()
    changed = apply(graph, "channels-last", "int8-edges")
    assert [type(node.op) for node in changed.nodes] == [MaxPool2D]
    assert changed.tensors["x"].shape == (1, 4, 6, 3) and changed.tensors["x"].dtype == np.int8
    x = np.random.default_rng(0).normal(0, 30, (1, 3, 4, 6)).astype(np.float32)
    codes = np.clip(np.round(x * 2) + 3, -128, 127).astype(np.int8).transpose(0, 2, 3, 1)
    inner = evaluate(changed, {"x": codes})["y"]
    np.testing.assert_array_equal((inner.transpose(0, 3, 1, 2).astype(np.float32) - 3) / 2,
                                  evaluate(graph, {"x": x})["y"])


def test_edges_that_are_not_quantized_are_refused():
    b = GraphBuilder(Graph("net"))
    b.output(b.input("x", (2, 3), np.float32) * 2.0, "y")
    with pytest.raises(GraphError, match="input 'x' is not quantized before it is used"):
        apply(b.graph, "int8-edges")
