"""What the converter of an operator is given: its operands, its attributes, and where its results go."""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import onnx

from lepton.graph import GraphError, Op, Quantization
from lepton.graph.builder import GraphBuilder, Value

from .quantities import quantization
from .state import ImportState
from .values import BYTES, CODES, AtRunTime, Computed, Constant, OnnxValue, Settled, Tabulated


def attributes(node: onnx.NodeProto) -> dict[str, Any]:
    """The node's attributes as Python values, text as str. Raises GraphError for one without a type or a value."""
    try:
        given = {a.name: onnx.helper.get_attribute_value(a) for a in node.attribute}
    except ValueError as error:
        raise GraphError(f"{node.op_type} {node.name!r} has a malformed attribute: {' '.join(str(error).split())}"
                         ) from None
    return {name: value.decode(errors="replace") if isinstance(value, bytes) else value
            for name, value in given.items()}


class OnnxNode:
    """One operator of the model. Positions count its inputs from 0; `given` are its attributes."""

    def __init__(self, state: ImportState, proto: onnx.NodeProto) -> None:
        self.state = state
        self.proto = proto
        self.given = attributes(proto)

    @property
    def kind(self) -> str:
        """ONNX's name of the operator."""
        return self.proto.op_type

    @property
    def name(self) -> str:
        """The name of the first result."""
        return self.proto.output[0]

    @property
    def builder(self) -> GraphBuilder:
        return self.state.builder

    def error(self, text: str) -> GraphError:
        return self.state.error(text)

    def flag(self, key: str, default: int = 0) -> bool:
        """An attribute that is 0 or 1."""
        return bool(self.given.get(key, default))

    # Operands

    def __len__(self) -> int:
        return len(self.proto.input)

    def input(self, position: int) -> str:
        """The name of an operand; empty where it is left out."""
        return self.proto.input[position] if position < len(self.proto.input) else ""

    def value(self, position: int = 0) -> OnnxValue:
        return self.state.value(self.input(position))

    def values(self) -> list[OnnxValue | None]:
        """All operands; None for those that are left out."""
        return [self.state.value(name) if name else None for name in self.proto.input]

    def settled(self, position: int = 0) -> Settled:
        """An operand of known shape."""
        return self.state.settled(self.input(position))

    def computed(self, position: int = 0) -> AtRunTime:
        return self.state.computed(self.input(position))

    def host(self, position: int = 0) -> Value:
        """The tensor of an operand in ONNX's own data type."""
        return self.state.host(self.input(position))

    def hosts(self) -> list[Value]:
        """The tensors of all operands, each in ONNX's own data type."""
        return [self.state.host(name) for name in self.proto.input]

    def codes(self, position: int = 0, q: Quantization | None = None) -> Value:
        """The int8 tensor of an 8-bit operand, with quantization `q` where one is stated."""
        return self.state.codes(self.input(position), q)

    def optional(self, position: int, what: str) -> np.ndarray | None:
        """A constant operand, None where it is left out. Raises GraphError where the network computes it."""
        if not self.input(position):
            return None
        value = self.value(position)
        if not isinstance(value, Constant):
            raise self.error(f"{what} must be constant, not computed by the network")
        return value.array

    def constant(self, position: int, what: str) -> np.ndarray:
        """A constant operand. Raises GraphError where it is left out or computed."""
        array = self.optional(position, what)
        if array is None:
            raise self.error(f"{what} must be given, as input {position}")
        return array

    def number(self, position: int, what: str) -> float | None:
        """A constant operand of one element, None where it is left out. Raises GraphError for other shapes."""
        array = self.optional(position, what)
        if array is not None and array.size != 1:
            raise self.error(f"{what} must be one number, not of shape {array.shape}")
        return None if array is None else array.item()

    def integer(self, position: int, what: str) -> int:
        """A constant operand of one integer. Raises GraphError for others, and where it is left out."""
        number = self.number(position, what)
        if number is None:
            raise self.error(f"{what} must be given, as input {position}")
        return int(number)

    def integers(self, position: int, what: str) -> list[int] | None:
        array = self.optional(position, what)
        return None if array is None else [int(v) for v in array.ravel()]

    def axis(self, axis: int, rank: int) -> int:
        """`axis` counted from the front. Raises GraphError where there is no such axis."""
        if not -rank <= axis < rank:
            raise self.error(f"axis {axis} is outside the {rank} dimensions of the input")
        return axis % rank

    def axes(self, position: int = 1) -> list[int] | None:
        """The axes of an operator that has them as an attribute in older opsets, as a constant input in newer ones.

        None where the node states none; an empty input counts as none, as in ONNX. Raises GraphError for computed axes.
        """
        axes = self.given.get("axes")
        if axes is None:  # since opset 13 (Squeeze, ReduceSum) or 18 (the other reductions)
            axes = self.integers(position, "the axes")
        return list(axes) if axes else None

    def quantization(self, position: int = 0, places: tuple[int, int] | None = None) -> Quantization:
        """What the node states for the operand at `position`: scale and zero point follow it, or are at `places`."""
        of_scale, of_zero = places or (position + 1, position + 2)
        zero = self.optional(of_zero, "the zero point")
        zero = np.zeros(1, self.settled(position).dtype) if zero is None else zero.ravel()
        return quantization(self.constant(of_scale, "the scale").ravel(), zero, self.builder.where)

    def codes_as_stated(self, position: int = 0, places: tuple[int, int] | None = None) -> Value:
        """The int8 tensor of an operand with the quantization that the node states for it."""
        q = self.quantization(position, places)
        if isinstance(self.value(position), Constant):
            self.state.quantities.setdefault(self.input(position), q)
        self.computed(position)  # joins a value in parts before it gets the scale
        return self.codes(position, q)

    # Results

    @property
    def output_quantization(self) -> Quantization:
        """The quantization of the first result, which is an 8-bit value."""
        return self.state.quantities[self.name]

    def read_more_than_once(self) -> bool:
        return self.state.readers[self.name] > 1

    def only_first_output(self) -> None:
        """Raises GraphError where an operator reads another result."""
        if any(self.state.readers[name] for name in self.proto.output[1:]):
            raise self.error("only first outputs are supported, not the statistics that follow them")

    def set(self, value: OnnxValue, position: int = 0) -> None:
        self.state.values[self.proto.output[position]] = value

    def set_host(self, tensor: Value, position: int = 0) -> None:
        """The result is `tensor`, of ONNX's own data type."""
        self.set(Computed(tensor), position)

    def set_codes(self, tensor: Value, dtype: np.dtype) -> None:
        """The result is the int8 `tensor`, which stands for uint8 if `dtype` is that."""
        self.set(Tabulated(tensor, CODES[dtype]))

    def emit(self, op: Op, *inputs: Value | None, q: Quantization | None = None) -> Value:
        """A new tensor, named after the first result."""
        return self.state.emit(op, inputs, self.name, q)

    def evaluate(self, inputs: Sequence[np.ndarray | None], output: int = 0) -> np.ndarray:
        """What ONNX Runtime computes for one of the results from the given inputs."""
        return self.state.evaluate(self.proto, inputs, output)

    def evaluate_constants(self, output: int = 0) -> np.ndarray:
        """What ONNX Runtime computes for one of the results from the node's own inputs, which are constants."""
        return self.evaluate([self.optional(i, "all inputs") for i in range(len(self))], output)


Converter = Callable[[OnnxNode], None]
Rule = Callable[[OnnxNode], Value]  # computes the first result, of ONNX's own data type


def source_of(node: OnnxNode, position: int = 0) -> AtRunTime:
    """The operand to move: an 8-bit value as its tensor's own codes, so that the table is applied before the move."""
    value = node.computed(position)
    if isinstance(value, Tabulated) and value.dtype in BYTES:
        node.codes(position)
        value = node.computed(position)
    return value
