"""The builder: names, constants, shapes and types that follow from the operators, errors with their place."""

import numpy as np
import pytest
from lepton.graph import (
    Add,
    Arithmetic,
    Cast,
    Conv2D,
    Dequantize,
    Graph,
    GraphError,
    MaxPool2D,
    Mul,
    Quantization,
    Reshape,
    Softmax,
    Tensor,
    Transpose,
)
from lepton.graph.builder import GraphBuilder
from lepton.graph.interpret import evaluate
from lepton.graph.numerics import onnxruntime_kernels
from lepton.graph.verify import verify

Q = Quantization(np.float32([0.5]), np.int32([3]))


def builder(**options):
    return GraphBuilder(Graph("net", arithmetic=Arithmetic.FLOAT), **options)


def test_a_formula_computes_what_numpy_does(monkeypatch):
    monkeypatch.setenv(onnxruntime_kernels.SWITCH, "0")  # whose exponential rounds differently
    b = builder()
    x = b.input("x", (2, 3), np.float32)
    b.output((x * 2.0 + 1.0) / (x - x.reduce("mean", (1,))).unary("exp"), "y")
    values = np.random.default_rng(0).normal(size=(2, 3)).astype(np.float32)
    wanted = (values * np.float32(2) + np.float32(1)) / np.exp(values - values.mean(1, keepdims=True))
    np.testing.assert_array_equal(evaluate(verify(b.graph), {"x": values})["y"], wanted)


def test_shapes_types_and_quantizations_follow_from_the_operators():
    b = builder()
    x = b.input("x", (1, 4, 6, 8), np.int8, Q)
    weights = b.constant(np.zeros((5, 3, 3, 8), np.int8), "w", Quantization(np.float32([0.1]), np.int32([0])))
    y = b.emit(Conv2D(stride=(1, 2), padding=((1, 1), (0, 1))), [x, weights, None], "y", Q)
    assert (y.shape, y.dtype) == ((1, 4, 3, 5), np.int8)
    assert y.apply(MaxPool2D()).tensor.quantization is Q, "a pool keeps the quantization"
    assert y.transpose((0, 3, 1, 2)).tensor.quantization is Q
    assert y.apply(Dequantize()).dtype == np.float32
    assert y.apply(Dequantize()).apply(Cast("int32")).dtype == np.int32


def test_names_are_unique_and_nodes_carry_the_label():
    b = builder()
    x = b.input("x", (4,), np.float32)
    b.label = "x"
    names = [(x + float(i)).name for i in range(3)]
    assert len({*names, "x"}) == 4 and {node.name for node in b.graph.nodes} == {"x"}
    assert names == ["x.1", "x.2", "x.3"]


def test_moves_that_change_nothing_are_left_out():
    b = builder()
    x = b.input("x", (2, 3), np.float32)
    for same in (x.reshape((2, 3)), x.transpose((0, 1)), x.slice(1, 0, 3)):
        assert same is x
    assert not b.graph.nodes


def test_constants_are_copies_that_cannot_change():
    b = builder()
    data = np.zeros(3, np.float32)
    constant = b.constant(data, "c")
    data[0] = 1
    assert constant.data.tolist() == [0, 0, 0]
    with pytest.raises(ValueError, match="read-only"):
        constant.data[0] = 1


def test_operators_on_constants_are_folded_up_to_a_size():
    b = builder(fold_bytes=16)
    small = b.constant(np.ones(4, np.float32), "a")
    large = b.constant(np.ones(5, np.float32), "b")
    assert (small * 3.0).data.tolist() == [3, 3, 3, 3] and not b.graph.nodes
    assert (large * 3.0).data is None and [type(node.op) for node in b.graph.nodes] == [Mul]


def test_operators_that_are_folded_keep_their_contract():
    """No verifier sees them: they become no node."""
    b = builder(fold_bytes=16)
    b.where = "SOFTMAX 3"
    with pytest.raises(GraphError, match=r"^SOFTMAX 3: .*int32"):
        b.emit(Softmax(), [b.constant(np.ones(4, np.int32))])


def test_a_declared_output_must_be_what_the_operator_makes():
    b = builder()
    x = b.input("x", (2, 3), np.float32)
    b.where = "operator 7 (TRANSPOSE)"
    with pytest.raises(GraphError, match=r"operator 7 \(TRANSPOSE\): output 'y' is declared as float32 \(2, 3\), the "
                                         r"operator makes float32 \(3, 2\)"):
        b.emit(Transpose((1, 0)), [x], output=Tensor("y", (2, 3), np.dtype(np.float32)))
    assert b.emit(Transpose((1, 0)), [x], output=Tensor("y", (3, 2), np.dtype(np.float32))).name == "y"


def test_errors_name_the_place():
    b = builder()
    x = b.input("x", (2, 3), np.float32)
    b.where = "Add 'sum'"
    with pytest.raises(GraphError, match=r"^Add 'sum': shapes \(2, 3\) and \(4,\) do not broadcast$"):
        b.emit(Add(), [x, b.constant(np.zeros(4, np.float32))])
    with pytest.raises(GraphError, match=r"^Add 'sum': axis 2 is outside the 2 dimensions of the input$"):
        x.reduce("sum", (2,))
    with pytest.raises(GraphError, match=r"input \(2, 3\) and output \(5,\) must have as many elements"):
        x.apply(Reshape((5,)))
