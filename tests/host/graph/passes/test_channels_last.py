"""The pass that removes transposes: random graphs compute the same before and after, known ones have none left."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from lepton.graph import (
    Add,
    Concat,
    FullyConnected,
    Gather,
    Graph,
    MaxPool2D,
    Node,
    Pad,
    Quantization,
    Reduce,
    Reshape,
    Slice,
    Table,
    Tensor,
    Transpose,
)
from lepton.graph.interpret import evaluate
from lepton.graph.passes import apply

ONE = Quantization(np.ones(1, np.float32), np.zeros(1, np.int32))
TO_NHWC = (0, 2, 3, 1)
TO_NCHW = (0, 3, 1, 2)


class Builder:
    """A graph of int8 tensors, built as a front end for (N, C, H, W) would."""

    def __init__(self, shape):
        self.graph = Graph("net")
        self.graph.tensors["x"] = Tensor("x", shape, np.dtype(np.int8), ONE)
        self.graph.inputs = ["x"]

    def shape(self, name):
        return self.graph.tensors[name].shape

    def constant(self, data, q=None):
        name = f"c{len(self.graph.tensors)}"
        self.graph.tensors[name] = Tensor(name, data.shape, data.dtype, q, data)
        return name

    def __call__(self, op, *inputs, shape):
        name = f"t{len(self.graph.tensors)}"
        self.graph.tensors[name] = Tensor(name, tuple(shape), np.dtype(np.int8), ONE)
        self.graph.nodes.append(Node(op, list(inputs), [name], name))
        return name

    def transpose(self, x, order):
        return self(Transpose(order), x, shape=[self.shape(x)[i] for i in order])

    def reshape(self, x, shape):
        return self(Reshape(shape), x, shape=shape)

    def pool(self, x):
        """An operator that needs channels last."""
        n, c, h, w = self.shape(x)
        y = self(MaxPool2D((2, 1), (1, 1)), self.transpose(x, TO_NHWC), shape=(n, h - 1, w, c))
        return self.transpose(y, TO_NCHW)

    def table(self, x):
        return self(Table(np.arange(-128, 128).astype(np.int8)[::-1].tobytes()), x, shape=self.shape(x))

    def finish(self, *outputs):
        self.graph.outputs = list(outputs)
        return self.graph


def same(graph, rng):
    changed = apply(graph, "channels-last", "collapse-moves")
    x = rng.integers(-128, 128, graph.tensors["x"].shape).astype(np.int8)
    before = evaluate(graph, {"x": x})
    after = evaluate(changed, {"x": x})
    for name in graph.outputs:
        np.testing.assert_array_equal(after[name], before[name])
        assert changed.tensors[name].shape == graph.tensors[name].shape
    assert changed.inputs == graph.inputs and changed.outputs == graph.outputs
    return [type(node.op).__name__ for node in changed.nodes]


def shuffle(b, x, groups):
    n, c, h, w = b.shape(x)
    y = b.reshape(x, (n, groups, c // groups, h, w))
    return b.reshape(b.transpose(y, (0, 2, 1, 3, 4)), (n, c, h, w))


def step(b, x, kind, rng):
    """One more operator behind x (N, C, H, W)."""
    n, c, h, w = b.shape(x)
    if kind == "pool":
        return b.pool(x) if h > 1 else b.table(x)
    if kind == "table":
        return b.table(x)
    if kind == "shuffle":
        return shuffle(b, x, 2 if c % 2 == 0 else 1)
    if kind == "residual":
        other = b.table(x)
        return b(Add(), x, other, shape=(n, c, h, w))
    if kind == "scale":
        return b(Add(), x, b.constant(rng.integers(-9, 9, (c, 1, 1)).astype(np.int8), ONE), shape=(n, c, h, w))
    if kind == "concat":
        axis = int(rng.integers(1, 4))
        shape = [n, c, h, w]
        shape[axis] *= 2
        return b(Concat(axis), x, b.table(x), shape=shape)
    if kind == "slice":
        start = int(rng.integers(0, c))
        return b(Slice((0, start, 0, 0), (n, c, h, w), (1, 2, 1, 1)), x, shape=(n, -(-(c - start) // 2), h, w))
    if kind == "pad":
        return b(Pad(((0, 0), (1, 0), (0, 2), (0, 0)), 5), x, shape=(n, c + 1, h + 2, w))
    if kind == "reduce":
        return b(Reduce("max", (3,), True), x, shape=(n, c, h, 1))
    if kind == "gather":
        index = b.constant(rng.integers(0, c, 3))
        return b(Gather(1), x, index, shape=(n, 3, h, w))
    flat = b.reshape(x, (n, c * h * w))
    return b.reshape(flat, (n, c, h, w))


KINDS = ("pool", "table", "shuffle", "residual", "scale", "concat", "slice", "pad", "reduce", "gather", "flatten")


@settings(max_examples=60, deadline=None, derandomize=True)
@given(kinds=st.lists(st.sampled_from(KINDS), min_size=1, max_size=7), seed=st.integers(0, 2**32 - 1))
def test_random_graphs_compute_the_same(kinds, seed):
    rng = np.random.default_rng(seed)
    b = Builder((1, int(rng.integers(1, 5)), int(rng.integers(1, 6)), int(rng.integers(1, 5))))
    x = b.table("x")
    middle = x
    for i, kind in enumerate(kinds):
        x = step(b, x, kind, rng)
        middle = x if i == len(kinds) // 2 else middle
    same(b.finish(x, *({middle} - {x})), rng)


def test_only_the_edges_are_transposed():
    b = Builder((1, 4, 6, 5))
    rng = np.random.default_rng(1)
    x = b.pool("x")
    for kind in ("table", "residual", "scale", "concat", "slice", "pad", "pool", "reduce"):
        x = step(b, x, kind, rng)
    assert same(b.finish(x), rng).count("Transpose") == 2
    b = Builder((1, 4, 6, 5))
    assert same(b.finish(b.pool(b.table(b.pool("x")))), rng) == [
        "Transpose", "MaxPool2D", "Table", "MaxPool2D", "Transpose"]


def test_a_shuffle_is_a_gather_of_channels_and_its_halves_are_slices():
    b = Builder((1, 6, 4, 5))
    rng = np.random.default_rng(2)
    found = same(b.finish(b.pool(shuffle(b, b.pool("x"), 2))), rng)
    assert found == ["Transpose", "MaxPool2D", "Gather", "MaxPool2D", "Transpose"]
    b = Builder((1, 6, 4, 5))
    pooled = b.pool("x")
    pairs = b.transpose(b.reshape(pooled, (3, 2, 15)), (1, 0, 2))
    halves = b.reshape(pairs, (2, 1, 3, 3, 5))
    first, second = (b(Gather(0), halves, b.constant(np.array(i)), shape=(1, 3, 3, 5)) for i in (0, 1))
    found = same(b.finish(b.pool(first), b.pool(second)), rng)
    assert found.count("Slice") == 2 and "Reshape" not in found and found.count("Transpose") == 3


def test_a_classifier_takes_the_image_as_it_lies():
    b = Builder((1, 4, 6, 5))
    rng = np.random.default_rng(3)
    pooled = b.pool("x")
    flat = b.reshape(pooled, (1, 100))
    weights = b.constant(rng.integers(-3, 4, (7, 100)).astype(np.int8), ONE)
    y = b(FullyConnected(), flat, weights, shape=(1, 7))
    assert same(b.finish(y), rng) == ["Transpose", "MaxPool2D", "Reshape", "FullyConnected"]


@pytest.mark.parametrize("order", ((0, 1, 3, 2), (0, 2, 1, 3), (0, 3, 2, 1)))
def test_transposes_of_other_axes_stay(order):
    b = Builder((1, 4, 6, 5))
    rng = np.random.default_rng(4)
    assert same(b.finish(b.table(b.transpose("x", order))), rng) == ["Table", "Transpose"]
