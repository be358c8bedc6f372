"""What the importer knows of an ONNX value while it goes through the operators."""

from dataclasses import dataclass, replace

import numpy as np
import onnx

from lepton.graph import Quantization

CODES = {np.dtype(np.int8): np.arange(-128, 128).astype(np.int8), np.dtype(np.uint8): np.arange(256).astype(np.uint8)}
BYTES = frozenset(CODES)


@dataclass(frozen=True, eq=False)
class Constant:
    """Known at import. `codes` and `quantization` (as in the file) are set where it was dequantized from integers."""

    array: np.ndarray
    codes: np.ndarray | None = None
    quantization: Quantization | None = None

    @property
    def shape(self) -> tuple[int, ...]:
        return self.array.shape

    @property
    def dtype(self) -> np.dtype:
        return self.array.dtype


@dataclass(frozen=True, eq=False)
class Computed:
    """A tensor of the graph, or a function of each of its elements.

    With `table`, the value is table[q + 128] for the elements q of the int8 tensor `tensor`: all that ONNX computes
    element by element from one int8 tensor stays such a table until somebody needs the value itself. uint8 values
    are int8 tensors with the codes 0..255 as their table. `origin` names the 8-bit value that a float value is
    dequantized from.
    """

    tensor: str
    shape: tuple[int, ...]
    dtype: np.dtype
    table: np.ndarray | None = None
    origin: str = ""

    @property
    def plain(self) -> bool:
        """Are the codes those of the tensor itself?"""
        return self.table is not None and self.dtype in BYTES and np.array_equal(self.table, CODES[self.dtype])

    def of(self, table: np.ndarray) -> "Computed":
        return replace(self, table=table, dtype=table.dtype, origin="")


@dataclass(frozen=True, eq=False)
class Pending:
    """A layer whose int8 output has yet to be named: ONNX computes it in float and quantizes the result.

    `node` computes from `inputs` (values dequantized from int8); `bounds` are those of the activations behind it.
    """

    node: onnx.NodeProto
    inputs: tuple["Value | None", ...]
    bounds: tuple[float, float] = (-np.inf, np.inf)
    dtype = np.dtype(np.float32)  # of every pending value
    shape = ()  # not known yet

    def clipped(self, low: float, high: float) -> "Pending":
        a, b = self.bounds
        return replace(self, bounds=(min(max(a, low), high), min(max(b, low), high)))


@dataclass(frozen=True, eq=False)
class Joined:
    """Functions of several int8 tensors, side by side along `axis`: not joined before it is known as what."""

    parts: tuple[Computed, ...]
    axis: int
    shape: tuple[int, ...]

    @property
    def dtype(self) -> np.dtype:
        return self.parts[0].dtype


Value = Constant | Computed | Pending | Joined
