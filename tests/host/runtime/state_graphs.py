"""Networks with state, small enough to say by hand what they keep."""

import numpy as np
from lepton.graph import Add, Aten, FullyConnected, Graph, NetworkState, Quantization
from lepton.graph.builder import GraphBuilder

WIDTH = 24  # two blocks of channels on `tiny`, the second one ragged
GRID = Quantization(np.array([0.25], np.float32), np.array([3], np.int32))
WIDE = Quantization(np.array([0.5], np.float32), np.array([-5], np.int32))


def codes(random, *shape):
    return random.integers(-128, 128, shape, np.int8)


def accumulator(seed=0, name="accumulator"):
    """y = s' = s + W x, clamped; and "before", the s that was read."""
    random = np.random.default_rng(seed)
    b = GraphBuilder(Graph(name))
    x = b.input("x", (1, WIDTH), np.int8, GRID)
    s = b.input("s", (1, WIDTH), np.int8, WIDE)
    weights = b.constant(codes(random, WIDTH, WIDTH), "w", Quantization(np.array([0.02], np.float32),
                                                                        np.array([0], np.int32)))
    bias = b.constant(random.integers(-500, 500, WIDTH).astype(np.int32), "b")
    y = b.emit(FullyConnected(), [x, weights, bias], "wx", WIDE)
    total = b.emit(Add(), [s, y], "sum", WIDE)
    b.output(total, "y")
    b.output(s, "before")
    b.output(total, "s.next")
    b.graph.states.append(NetworkState("s", "s", "s.next", codes(random, 1, WIDTH)))
    return b.graph


def delay(length=3):
    """y = x of `length` runs before; states d0 (the newest) to d2, 0 at first. On the host alone."""
    b = GraphBuilder(Graph("delay"))
    value = b.input("x", (1, 4), np.float32)
    for i in range(length):
        old = b.input(f"d{i}", (1, 4), np.float32)
        b.output(value, f"d{i}.next")
        b.graph.states.append(NetworkState(f"d{i}", f"d{i}", f"d{i}.next", np.zeros((1, 4), np.float32)))
        value = old
    b.output(-value, "y")
    return b.graph


def cache(rows):
    """y = W c', the state c' being c with the input as its row number `row`; the host writes, the chip multiplies."""
    random = np.random.default_rng(7)
    b = GraphBuilder(Graph("cache"))
    x = b.input("x", (1, WIDTH), np.int8, GRID)
    row = b.input("row", (1,), np.int64)
    c = b.input("c", (rows, WIDTH), np.int8, GRID)
    arguments = '[[{"operand": 0}, 0, {"operand": 1}, {"operand": 2}], {}]'
    write = Aten("index_copy.default", (rows, WIDTH), "int8", arguments)
    written = b.emit(write, [c, row, x], "written", GRID)
    weights = b.constant(codes(random, WIDTH, WIDTH), "w", Quantization(np.array([0.02], np.float32),
                                                                        np.array([0], np.int32)))
    b.output(b.emit(FullyConnected(), [written, weights], "wc", WIDE), "y")
    b.output(written, "c.next")
    b.graph.states.append(NetworkState("c", "c", "c.next", np.zeros((rows, WIDTH), np.int8)))
    return b.graph
