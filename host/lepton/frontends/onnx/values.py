"""What the importer knows of an ONNX value while it goes through the operators."""

from dataclasses import dataclass, field, replace
from typing import ClassVar

import numpy as np
import onnx

from lepton.graph import Quantization
from lepton.graph.builder import Value

INT8 = np.dtype(np.int8)
UINT8 = np.dtype(np.uint8)
FLOAT32 = np.dtype(np.float32)
# The elements of an int8 tensor in order, as values of either type: uint8 values are held as int8, less 128.
CODES = {INT8: np.arange(-128, 128).astype(np.int8), UINT8: np.arange(256).astype(np.uint8)}
BYTES = frozenset(CODES)


def int8_codes(array: np.ndarray) -> np.ndarray:
    """8-bit values as an int8 tensor holds them."""
    return (array.astype(np.int16) - 128).astype(np.int8) if array.dtype == np.uint8 else array


def dequantized(q: Quantization) -> np.ndarray:
    """The 256 reals of an int8 tensor, in float32."""
    return (np.arange(-128, 128) - q.zero_point[0]).astype(np.float32) * q.scale[0]


def same(a: Quantization, b: Quantization) -> bool:
    """Whether two quantizations stand for the same reals."""
    return np.array_equal(a.scale, b.scale) and np.array_equal(a.zero_point, b.zero_point)


@dataclass(frozen=True, eq=False)
class Constant:
    """A value that is known at import; `loaded` where ONNX Runtime has it, too, when it loads the network, which does
    not compute a DequantizeLinear then, nor what depends on one."""

    array: np.ndarray
    loaded: bool = field(default=True, kw_only=True)

    @property
    def shape(self) -> tuple[int, ...]:
        return self.array.shape

    @property
    def dtype(self) -> np.dtype:
        return self.array.dtype


@dataclass(frozen=True, eq=False)
class QuantizedConstant(Constant):
    """A constant that was dequantized from the integers `codes`; codes and quantization are as in the file."""

    codes: np.ndarray
    quantization: Quantization


@dataclass(frozen=True, eq=False)
class Computed:
    """A tensor of the graph, of ONNX's own data type."""

    tensor: Value

    @property
    def shape(self) -> tuple[int, ...]:
        return self.tensor.shape

    @property
    def dtype(self) -> np.dtype:
        return self.tensor.dtype

    def moved(self, tensor: Value) -> "Computed":
        """The value whose elements `tensor` holds in other places."""
        return Computed(tensor)


@dataclass(frozen=True, eq=False)
class Tabulated:
    """A function of each element of an int8 tensor: table[q + 128] for the elements q of `tensor`.

    All that ONNX computes element by element from one int8 tensor stays such a table until an operator needs the value
    itself. uint8 values are int8 tensors with the codes 0..255 as their table. `origin` names the 8-bit value that a
    float value is dequantized from.
    """

    tensor: Value
    table: np.ndarray
    origin: str = ""

    @property
    def shape(self) -> tuple[int, ...]:
        return self.tensor.shape

    @property
    def dtype(self) -> np.dtype:
        return self.table.dtype

    @property
    def quantization(self) -> Quantization:
        """Of the int8 tensor."""
        return self.tensor.parameters

    @property
    def plain(self) -> bool:
        """Whether the values are 8-bit codes, those of the tensor itself."""
        return self.dtype in BYTES and np.array_equal(self.table, CODES[self.dtype])

    @property
    def real(self) -> bool:
        """Whether it is a float32 value."""
        return self.dtype == FLOAT32

    @property
    def rising(self) -> bool:
        """Whether the value rises with the int8 tensor, so that its largest element is at the same place."""
        return bool(np.all(self.table[1:] >= self.table[:-1]))

    def of(self, table: np.ndarray) -> "Tabulated":
        """A value that is another function of the same tensor."""
        return Tabulated(self.tensor, table)

    def moved(self, tensor: Value) -> "Tabulated":
        """The value of elements that `tensor` holds in other places."""
        return Tabulated(tensor, self.table)


@dataclass(frozen=True, eq=False)
class Pending:
    """A layer whose int8 output has yet to be named: ONNX computes it in float and quantizes the result.

    `node` computes from `inputs` (values dequantized from int8); `bounds` are those of the activations behind it.
    """

    node: onnx.NodeProto
    inputs: tuple["OnnxValue | None", ...]
    bounds: tuple[float, float] = (-np.inf, np.inf)
    dtype: ClassVar[np.dtype] = FLOAT32

    def clipped(self, low: float, high: float) -> "Pending":
        """The layer followed by one more activation."""
        before, after = self.bounds
        return replace(self, bounds=(min(max(before, low), high), min(max(after, low), high)))


@dataclass(frozen=True, eq=False)
class Joined:
    """Functions of several int8 tensors, concatenated along `axis`; joined when it is known in which form."""

    parts: tuple[Tabulated, ...]
    axis: int
    shape: tuple[int, ...]

    @property
    def dtype(self) -> np.dtype:
        return self.parts[0].dtype


AtRunTime = Computed | Tabulated
Settled = Constant | AtRunTime | Joined  # of a known shape
OnnxValue = Settled | Pending
