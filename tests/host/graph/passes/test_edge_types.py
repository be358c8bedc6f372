"""Inputs and outputs of other types: the same numbers, in the same places."""

import numpy as np
import pytest
from lepton.graph import (
    Dequantize,
    Graph,
    GraphError,
    MaxPool2D,
    Quantization,
    Quantize,
    Recenter,
    Reshape,
    Transpose,
)
from lepton.graph.builder import GraphBuilder
from lepton.graph.interpret import evaluate
from lepton.graph.passes import edge_types
from lepton.graph.printer import graph_text
from lepton.graph.verify import verify

Q = Quantization(np.float32([0.5]), np.int32([3]))
SHAPE = (1, 3, 4, 6)
TYPES = ("float32", "int8", "uint8")


def network(moves_inside=True):
    """float32 (N, C, H, W) in and out, a pool of int8 (N, H, W, C) between; moves of int8 or of float32 values."""
    b = GraphBuilder(Graph("net"))
    x = b.input("x", SHAPE, np.float32)
    to = Transpose((0, 2, 3, 1))
    back = Transpose((0, 3, 1, 2))
    x = b.emit(Quantize(), [x], "codes", Q).apply(to) if moves_inside else b.emit(Quantize(), [x.apply(to)], "codes", Q)
    y = x.apply(MaxPool2D(kernel=(1, 1), stride=(1, 1)))
    b.output(y.apply(back).apply(Dequantize()) if moves_inside else y.apply(Dequantize()).apply(back), "y")
    return b.graph


def as_type(values, dtype):
    """Whole steps of Q as numbers of a type: real ones, or the stored ones."""
    return {"float32": lambda: np.float32(0.5) * (values.astype(np.float32) - 3), "int8": lambda: values,
            "uint8": lambda: (values.astype(np.int16) + 128).astype(np.uint8)}[dtype]()


@pytest.mark.parametrize("moves_inside", (True, False))
@pytest.mark.parametrize("output_type", TYPES)
@pytest.mark.parametrize("input_type", TYPES)
def test_every_type_gives_the_same_numbers(input_type, output_type, moves_inside):
    graph = network(moves_inside)
    before = graph_text(graph)
    changed = verify(edge_types(graph, input_type, output_type))
    assert graph_text(graph) == before
    assert changed.inputs == ["x"] and changed.outputs == ["y"]
    for name, dtype in (("x", input_type), ("y", output_type)):
        tensor = changed.tensors[name]
        assert tensor.shape == SHAPE and tensor.dtype == dtype
        if dtype != "float32":
            assert (float(tensor.scale), tensor.zero_point) == (0.5, 3 if dtype == "int8" else 131)
    x = np.random.default_rng(5).integers(-128, 128, SHAPE, np.int8)
    np.testing.assert_array_equal(evaluate(graph, {"x": as_type(x, "float32")})["y"], as_type(x, "float32"))
    y = evaluate(changed, {"x": as_type(x, input_type)})["y"]
    np.testing.assert_array_equal(y, as_type(x, output_type))


@pytest.mark.parametrize("input_type", TYPES)
@pytest.mark.parametrize("own", ("int8", "uint8"))
def test_networks_whose_edges_have_8_bits(own, input_type):
    """As legacy uint8 files: an 8-bit network takes and gives real numbers too."""
    b = GraphBuilder(Graph("net"))
    q = Q if own == "int8" else Quantization(Q.scale, Q.zero_point + 128)
    x = b.input("x", SHAPE, np.dtype(own), q)
    if own == "uint8":
        x = b.emit(Recenter(), [x], "centred", Q)
    y = b.emit(Reshape(SHAPE), [x], "z", Q)
    b.output(b.emit(Recenter(), [y], "stored", q) if own == "uint8" else y, "y")
    changed = verify(edge_types(b.graph, input_type, input_type))
    values = np.arange(-36, 36).astype(np.int8).reshape(SHAPE)
    given = as_type(values, input_type)
    np.testing.assert_array_equal(evaluate(changed, {"x": given})[changed.outputs[0]], given)


def test_what_holds_no_real_numbers_stays():
    b = GraphBuilder(Graph("net"))
    b.output(b.emit(Reshape((6,)), [b.input("x", (2, 3), np.int64)], "y"), "y")
    changed = edge_types(b.graph, "int8", "int8")
    assert changed.tensors["x"].dtype == np.int64 and changed.tensors["y"].dtype == np.int64


def test_what_cannot_be_is_refused():
    b = GraphBuilder(Graph("net"))
    b.output(b.input("x", (2, 3), np.float32) * 2.0, "y")
    with pytest.raises(GraphError, match="input 'x' cannot have 8 bits, since the network uses it in float32; leave"):
        edge_types(b.graph, input_type="int8")
    with pytest.raises(GraphError, match=r"output 'y' cannot have 8 bits, since the network computes it in float32"):
        edge_types(b.graph, output_type="uint8")
    with pytest.raises(GraphError, match="the type of inputs must be one of float32, int8, uint8, not 'int4'"):
        edge_types(b.graph, "int4")


def test_a_value_that_leaves_the_network_as_real_and_as_stored_number():
    """Both outputs are made of one tensor; each has its own type afterwards."""
    b = GraphBuilder(Graph("net"))
    codes = b.emit(Quantize(), [b.input("x", SHAPE, np.float32)], "codes", Q)
    b.output(codes, "stored")
    b.output(codes.apply(Dequantize()), "y")
    changed = verify(edge_types(b.graph, output_type="uint8"))
    x = np.random.default_rng(1).normal(0, 20, SHAPE).astype(np.float32)
    made = evaluate(changed, {"x": x})
    np.testing.assert_array_equal(made["y"], made["stored"])
    assert made["y"].dtype == np.uint8
