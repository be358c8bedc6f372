"""Operands that are left out, what a node's signature is, and the facts that passes ask operators for."""

import numpy as np
import pytest
from lepton.graph import (
    Add,
    Arithmetic,
    Conv2D,
    DepthwiseConv2D,
    Div,
    Graph,
    GraphError,
    MaxPool2D,
    Mul,
    Node,
    OperandList,
    Quantization,
    Reduce,
    Signature,
    Softmax,
    Sub,
    Tensor,
    Unary,
)
from lepton.graph.interpret import compute
from lepton.graph.ops.conditions import MAX_WINDOW

FLOAT32 = np.dtype(np.float32)


def tensor(name: str = "x", dtype: type = np.float32, shape: tuple[int, ...] = (2, 3)) -> Tensor:
    q = Quantization(np.float32([0.5]), np.int32([3])) if dtype == np.int8 else None
    return Tensor(name, shape, np.dtype(dtype), q)


def test_required_operands_raise_where_they_are_left_out():
    operands = OperandList([1, None, 3, None])
    assert operands[0] == 1 and operands[2] == 3 and operands[:1] == [1]
    with pytest.raises(GraphError, match="operand 1 is missing"):
        operands[1]
    with pytest.raises(GraphError, match="operand 1 is missing"):
        list(operands)
    with pytest.raises(GraphError, match="operand 3 is missing"):
        operands[2:]
    with pytest.raises(IndexError):
        operands[4]


def test_optional_operands_are_none_where_they_are_left_out():
    operands = OperandList([1, None, 3])
    assert [operands.get(i) for i in range(4)] == [1, None, 3, None]
    assert operands.given == [1, 3]
    assert len(operands) == 3 and OperandList(operands).items == (1, None, 3)


def test_a_node_without_bias_has_a_signature_without_it():
    graph = Graph("net", {name: tensor(name) for name in "xwy"}, [Node(Conv2D(), ["x", "w", ""], ["y"])],
                  arithmetic=Arithmetic.TORCH)
    signature = graph.signature(graph.nodes[0])
    assert signature.torch and signature.output is graph.tensors["y"]
    assert signature.inputs.given == [graph.tensors["x"], graph.tensors["w"]] and signature.inputs.get(2) is None
    assert signature.traffic == 3 * 6 * 4  # x, w and y of 6 float32 each


def test_a_tensor_that_must_be_quantized_says_so():
    with pytest.raises(GraphError, match="'x' must be quantized"):
        _ = tensor().scale
    assert tensor(dtype=np.int8).scale == np.float32(0.5) and tensor().zero_point == 0


@pytest.mark.parametrize("kind", [Conv2D, DepthwiseConv2D])
def test_padding_of_convolutions_is_widened_up_to_the_largest(kind):
    op = kind(stride=(2, 1), padding=((1, 0), (2, 3)))
    assert op.padded(((1, 2), (3, 4))) == kind(stride=(2, 1), padding=((2, 2), (5, 7)))
    assert op.padded(((MAX_WINDOW - 1, 0), (0, 0))).padding[0][0] == MAX_WINDOW
    assert op.padded(((MAX_WINDOW, 0), (0, 0))) is None


def test_operators_without_zero_padding_take_no_border():
    assert MaxPool2D().padded(((1, 1), (1, 1))) is None and Add().padded(((0, 0), (0, 0))) is None


@pytest.mark.parametrize(("op", "arithmetic", "dtype", "matters"), [
    (Reduce("sum", (1,)), Arithmetic.FLOAT, np.float32, True),
    (Reduce("max", (1,)), Arithmetic.FLOAT, np.float32, False),
    (Reduce("sum", (1,)), Arithmetic.FLOAT, np.int8, False), (Reduce("sum", (1,)), Arithmetic.FIXED, np.float32, False),
    (Reduce("max", (1,)), Arithmetic.TORCH, np.float32, True), (Reduce("sum", (1,)), Arithmetic.TORCH, np.int8, False),
    (Softmax(), Arithmetic.TORCH, np.float32, True), (Softmax(), Arithmetic.TORCH, np.int8, False),
    (Softmax(), Arithmetic.FLOAT, np.float32, False), (Unary("exp"), Arithmetic.TORCH, np.float32, False)])
def test_the_layout_matters_where_sums_of_floats_depend_on_it(op, arithmetic, dtype, matters):
    signature = Signature(arithmetic, OperandList([tensor(dtype=dtype)]), tensor("y", dtype))
    assert op.layout_matters(signature) is matters


@pytest.mark.parametrize("arithmetic", list(Arithmetic))
@pytest.mark.parametrize(("op", "count"), [(Add(), 2), (Div(), 2), (Unary("sqrt"), 1), (Reduce("sum", ()), 1)])
def test_results_without_dimensions_are_arrays(op, count, arithmetic):
    inputs = [tensor(f"x{i}", shape=()) for i in range(count)]
    made = compute(op, arithmetic, inputs, [np.array(2, np.float32)] * count, tensor("y", shape=()))
    assert isinstance(made, np.ndarray) and made.shape == () and made.dtype == FLOAT32


@pytest.mark.parametrize("arithmetic", list(Arithmetic))
@pytest.mark.parametrize("op", [Add(), Sub(), Mul()])
def test_arrays_may_have_other_shapes_than_their_tensors(op, arithmetic):
    """As tables of all pairs have that the compiler makes of an image's operators."""
    image = (1, 32, 32, 16)
    inputs = [tensor("a", np.int8, image), tensor("b", np.int8, image)]
    every = np.arange(-128, 128).astype(np.int8)
    made = compute(op, arithmetic, inputs, [every[:, None], every[None, :]], tensor("y", np.int8, (256, 256)))
    for row in (0, 130, 255):
        one = compute(op, arithmetic, inputs, [every[row:row + 1], every], tensor("y", np.int8, (256,)))
        np.testing.assert_array_equal(made[row], one)
