"""One operator of a file, as its conversion sees it: operands as values, attributes, results."""

from collections.abc import Callable, Sequence
from math import prod
from typing import Any

import numpy as np

from lepton.graph import GraphError, Op, Quantization, Tensor
from lepton.graph.builder import Value
from lepton.graph.composites import clamp

from ..geometry import ACTIVATION_BOUNDS, activation_range
from .records import RawOperator
from .tensors import SMALLEST, USUAL, Tensors, is_legacy

# Elements of a constant that holds attributes: axes, a shape, paddings. Real ones have at most 16, two for each of 8
# axes; a larger one is damage, and slow to read one by one.
MAX_CONSTANT = 4096
_PRODUCTS = ("CONV_2D", "DEPTHWISE_CONV_2D", "TRANSPOSE_CONV", "FULLY_CONNECTED", "BATCH_MATMUL", "MUL", "PRELU")
_RATIOS = ("MEAN", "SUM")
LARGEST_FACTOR = 2.0**30  # from here on QuantizeMultiplier's shift is 31 or more, by which C can shift no int32
_NO_ZERO_SCALES = ("ADD", "SUB", "SOFTMAX")  # whose kernels in LiteRT abort where an input's scale is 0


class Operation:
    """One operator of the file. All methods raise GraphError without naming the operator; callers add its name."""

    def __init__(self, raw: RawOperator, tensors: Tensors) -> None:
        self.raw = raw
        self.tensors = tensors
        self.builder = tensors.builder

    @property
    def name(self) -> str:
        """The schema's name of the operator."""
        return self.raw.name

    def option(self, key: str) -> Any:
        """A field of the operator's table of options."""
        return (self.raw.options or {})[key]

    # Operands

    def __len__(self) -> int:
        return len(self.raw.inputs)

    def has(self, position: int) -> bool:
        """Whether the file gives the operand, which may be left out."""
        return position < len(self.raw.inputs) and self.raw.inputs[position] >= 0

    def x(self, position: int = 0, *dtypes: str) -> Value:
        """An operand, computed or constant, of one of the schema's data types."""
        return self.tensors.value(self.raw.inputs[position], dtypes or USUAL)

    def all(self) -> list[Value]:
        return [self.x(position) for position in range(len(self))]

    def int8(self, position: int = 0) -> Value:
        """An int8 or legacy uint8 operand with one scale."""
        value = self.x(position, "INT8", "UINT8")
        self._per_tensor(value.tensor)
        return value

    def constant(self, position: int, *dtypes: str) -> Value:
        value = self.x(position, *dtypes)
        self._data(value)
        return value

    def data(self, position: int, *dtypes: str) -> np.ndarray:
        return self._data(self.x(position, *dtypes))

    @staticmethod
    def _data(value: Value) -> np.ndarray:
        if value.data is None:
            raise GraphError(f"{value.name!r} must be a constant")
        return value.data

    def integers(self, position: int) -> tuple[int, ...]:
        """The values of a small constant that holds attributes: axes, a shape, paddings."""
        value = self.x(position, "INT32", "INT64")
        if value.data is None or value.data.size > MAX_CONSTANT:
            raise GraphError(f"{value.name!r} must be a constant of at most {MAX_CONSTANT} INT32 or INT64 values, not "
                             f"of shape {tuple(value.shape)}{' computed at run time' if value.data is None else ''}")
        return tuple(value.data.ravel().tolist())

    def legacy(self, position: int = 0) -> bool:
        """Whether the operand is uint8 in the file."""
        return is_legacy(self.tensors.raw.tensors[self.raw.inputs[position]])

    # Results

    @property
    def results(self) -> int:
        return len(self.raw.outputs)

    def output(self, position: int = 0) -> Tensor:
        """A result as the file declares it."""
        return self.tensors.declared(self.raw.outputs[position])

    def int8_output(self) -> Tensor:
        output = self.output()
        if output.dtype != np.int8:
            raise GraphError(f"tensor {output.name!r} has the data type {output.dtype}, supported here is INT8 or "
                             "UINT8")
        self._per_tensor(output, "output ")
        return output

    def clamp(self) -> tuple[int, int]:
        """The fused activation as a range of the quantized output."""
        output = self.int8_output()
        return activation_range(self.option("activation"), float(output.scale), output.zero_point)

    def fused(self, value: Value) -> Value:
        """`value`, which is not quantized, after the fused activation."""
        activation = self.option("activation")
        if activation not in ACTIVATION_BOUNDS:
            raise GraphError(f"fused activation must be one of {', '.join(ACTIVATION_BOUNDS)}, not {activation}")
        return clamp(value, *ACTIVATION_BOUNDS[activation])

    def result(self, value: Value, position: int = 0) -> None:
        """`value` is the operator's result."""
        self.tensors.bind(self.raw.outputs[position], value)

    def emit(self, op: Op, *operands: Value | None, position: int = 0) -> None:
        """The operator's result is that of `op`, with the quantization that the file declares."""
        output = self.output(position)
        tensors = [v.tensor for v in operands if v is not None]
        _check_zero_scales(self.name, tensors, output)
        _check_factor(self.name, tensors, output)
        self.result(self.builder.emit(op, list(operands), quantization=output.quantization), position)

    def known(self, data: np.ndarray) -> None:
        """The result has these values, whatever the network's inputs are."""
        self.result(self.builder.constant(np.asarray(data, self.output().dtype)))

    @staticmethod
    def _per_tensor(tensor: Tensor, what: str = "") -> Quantization:
        if tensor.quantization is None or tensor.quantization.scale.size != 1:
            raise GraphError(f"{what}{tensor.name!r} must be quantized per tensor")
        return tensor.quantization


def _check_zero_scales(operator: str, operands: Sequence[Tensor], result: Tensor) -> None:
    """Nothing can be divided by an output's scale of 0, and LiteRT aborts on some operators with such an input."""
    def is_zero(tensor: Tensor) -> bool:
        return tensor.quantization is not None and tensor.data is None and tensor.quantization.scale[0] == SMALLEST

    if is_zero(result) and not any(map(is_zero, operands)):
        raise GraphError(f"output {result.name!r} has the scale 0, in which no value can be expressed")
    if operator in _NO_ZERO_SCALES and any(map(is_zero, operands)):
        raise GraphError("an input has the scale 0, which LiteRT does not compute either")


def _check_factor(operator: str, operands: Sequence[Tensor], result: Tensor) -> None:
    """LiteRT's kernels multiply sums by a factor of the scales, as 31 bits and a shift of an int32 to the left."""
    if operator not in (*_PRODUCTS, *_RATIOS) or result.dtype != np.int8 or result.quantization is None:
        return
    scales = [float(t.quantization.scale.max()) for t in operands if t.dtype == np.int8 and t.quantization is not None]
    total = prod(scales) if operator in _PRODUCTS else max(scales, default=0.0)
    if total >= LARGEST_FACTOR * float(result.quantization.scale.min()):
        raise GraphError(f"the scales of the inputs ({', '.join(f'{scale:.6g}' for scale in scales)}) are 2**30 times "
                         f"that of the output ({float(result.scale):.6g}) or more, for which LiteRT has no defined "
                         "result: it shifts an int32 beyond its bits")


Convert = Callable[[Operation], None]
# Allowed numbers of operands, number of results (0: one or more, None: none), conversion.
Entry = tuple[Sequence[int], int | None, Convert]
