"""Results of elementwise operators on two 8-bit operands from tables of all 65 536 results.

The table is what the operator's own `compute` makes of all values, so its bytes are the same. It is computed once for
an operator with its attributes and the quantization of its tensors, and kept.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from math import prod

import numpy as np

from .core import Arithmetic, Call, Op, OperandList, Pair, Quantization, Shape, Tensor
from .numerics import compiled
from .numerics.compiled import together_rows
from .numerics.formulas import formulas
from .numerics.tables import mapped, taken

_TABLES = 256  # tables that are kept, of 64 KiB each: 16 MiB at most
_ALL = 1 << 16  # results in a table, one for each pair of bytes
# Fewer results than this are computed without a table. A table costs as much as 65 536 results, once for all inferences
# of a network.
WORTH = 1 << 12

Kind = tuple[str, float | None, int]  # data type, scale, zero point
Formula = tuple[compiled.Loop, tuple[float, ...]]  # a loop of `numerics.loops.pairs`, and its arguments
TwoOperands = Callable[[np.ndarray, np.ndarray], np.ndarray]


def _kind(tensor: Tensor | None) -> Kind | None:
    """What of a tensor decides a table; None where it is not of 8 bits, or has several scales."""
    if tensor is None or np.dtype(tensor.dtype).itemsize != 1:
        return None
    q = tensor.quantization
    if q is None:
        return np.dtype(tensor.dtype).name, None, 0
    return (np.dtype(tensor.dtype).name, float(tensor.scale), tensor.zero_point) if q.scale.size == 1 else None


def _tensor(kind: Kind, shape: tuple[int, ...], name: str) -> Tensor:
    dtype, scale, zero = kind
    quantization = None
    if scale is not None:
        quantization = Quantization(np.array([scale], np.float32), np.array([zero], np.int32))
    return Tensor(name, shape, np.dtype(dtype), quantization)


@lru_cache(maxsize=_TABLES)
def _table(op: Op, arithmetic: Arithmetic, first: Kind, second: Kind, output: Kind) -> np.ndarray:
    """(256, 256) results, by the bytes of both operands."""
    inputs = [_tensor(first, (256, 1), "a"), _tensor(second, (1, 256), "b")]
    values = [np.arange(256, dtype=np.uint8).view(t.dtype).reshape(t.shape) for t in inputs]
    made = op.compute(Call(arithmetic, OperandList(inputs), _tensor(output, (256, 256), "y"), OperandList(values)))
    return np.ascontiguousarray(made)


@lru_cache(maxsize=_TABLES)
def _formula(op: Op, arithmetic: Arithmetic, first: Kind, second: Kind, output: Kind) -> Formula | None:
    """A loop and its arguments that make every result of the table; None where none does.

    One vector instruction computes many results; a look-up gives one at a time.
    """
    if any(dtype != "int8" or scale is None for dtype, scale, _ in (first, second, output)):
        return None
    table = _table(op, arithmetic, first, second, output)
    a = np.arange(256, dtype=np.uint8).view(np.int8)
    values = np.repeat(a[:, None], 256, axis=1)
    made = np.empty_like(table)
    for name, arguments in formulas(table, first, second, output):
        loop = compiled.loop(name, _ALL)
        if loop is None:
            continue
        loop(values, a[None], *arguments, made)
        if np.array_equal(made, table):
            return loop, arguments
    return None


def prepare(op: Op, call: Call) -> TwoOperands | None:
    """What computes `op` of two operands; None where they are not of 8 bits."""
    first, second, output = (_kind(t) for t in (*call.inputs, call.output))
    if first is None or second is None or output is None:
        return None
    shape = tuple(call.output.shape)
    size = prod(shape)
    one_a, one_b = (prod(t.shape) == 1 for t in call.inputs if t is not None)
    table = _table(op, call.arithmetic, first, second, output)
    take = compiled.loop("take_pairs", size, call.often)
    split = _split(call)
    if take is None or (split is None and not one_a and not one_b):
        return _with_numpy(table, one_a, one_b, shape)
    if split is None:
        split = _Split((1, prod(call.inputs[0].shape)), (1, prod(call.inputs[1].shape)), 1, 1)
    formula = _formula(op, call.arithmetic, first, second, output) if split.whole_rows else None
    loop, arguments = formula or (take, ())
    leading = () if formula else (table.reshape(-1).view(np.int8),)
    dtype = table.dtype

    first_matrix = _matrix(call.inputs[0], split.a, split.repeat_a)
    second_matrix = _matrix(call.inputs[1], split.b, split.repeat_b)
    made = split.shape
    plain = dtype == np.int8

    def kernel(a: np.ndarray, b: np.ndarray) -> np.ndarray:
        result = np.empty(made, np.int8)
        loop(*leading, first_matrix(a), second_matrix(b), *arguments, result)
        return result.reshape(shape) if plain else result.view(dtype).reshape(shape)
    return kernel


def _with_numpy(table: np.ndarray, one_a: bool, one_b: bool, shape: Shape) -> TwoOperands:
    def kernel(a: np.ndarray, b: np.ndarray) -> np.ndarray:
        a, b = (np.require(x, requirements="C").view(np.uint8) for x in (a, b))
        if one_a:
            return mapped(table[int(a.reshape(-1)[0])].tobytes(), b).view(table.dtype).reshape(shape)
        if one_b:
            return mapped(table[:, int(b.reshape(-1)[0])].tobytes(), a).view(table.dtype).reshape(shape)
        return taken(table.reshape(-1), a.astype(np.uint16) << 8 | b)
    return kernel


def run(op: Op, call: Call) -> np.ndarray | None:
    """The result of `call`; None where its operands are not of 8 bits."""
    kernel = call.once("lookup", lambda: prepare(op, call))
    if kernel is None:
        return None
    result = kernel(call.values[0], call.values[1])
    if result.shape == tuple(call.output.shape) and result.flags.c_contiguous:
        call.continue_with(lambda values: kernel(*values))  # type: ignore[arg-type]  # both are given
    return result


@dataclass(frozen=True)
class _Split:
    """How both operands become matrices that broadcast to all results in their order."""

    a: Pair
    b: Pair
    repeat_a: int  # of a row that stands for all: a loop over a short row is slow to begin
    repeat_b: int

    @property
    def shape(self) -> Pair:
        return (max(self.a[0], self.b[0]), max(self.a[1] * self.repeat_a, self.b[1] * self.repeat_b))

    @property
    def whole_rows(self) -> bool:
        return self.a[1] * self.repeat_a == self.shape[1]


def _matrix(tensor: Tensor | None, shape: Pair, repeat: int) -> Callable[[np.ndarray], np.ndarray]:
    """What makes an array of `tensor` the int8 matrix that `shape` and `repeat` describe."""
    assert tensor is not None
    if repeat > 1:
        def repeated(x: np.ndarray) -> np.ndarray:  # in a third of the time of numpy's tile
            made = np.empty((repeat, shape[1]), np.int8)
            made[:] = x.view(np.int8).reshape(shape)
            return made.reshape(1, -1)
        if tensor.data is None:
            return repeated
        known = repeated(tensor.data)
        return lambda _: known
    if np.dtype(tensor.dtype) == np.int8:
        return lambda x: x.reshape(shape)
    return lambda x: x.view(np.int8).reshape(shape)


def _split(call: Call) -> _Split | None:
    shape = tuple(call.output.shape)
    lengths = [(1,) * (len(shape) - len(t.shape)) + tuple(t.shape) for t in call.inputs if t is not None]
    for axis in range(len(shape)):
        sizes = prod(shape[:axis]), prod(shape[axis:])
        a, b = ((prod(own[:axis]), prod(own[axis:])) for own in lengths)
        if all(own[0] in (1, sizes[0]) and own[1] in (1, sizes[1]) for own in (a, b)):
            return _longer(a, b)
    return None


def _longer(a: Pair, b: Pair) -> _Split:
    """Where one row stands for all, several rows as one."""
    rows = max(a[0], b[0])
    columns = max(a[1], b[1])
    together = together_rows(rows, columns) if a[1] == b[1] else 1
    shapes = []
    repeats = []
    for own in (a, b):
        repeated = own[0] == 1 < rows
        repeats.append(together if repeated else 1)
        shapes.append(own if repeated else (own[0] // together, own[1] * together))
    return _Split(shapes[0], shapes[1], repeats[0], repeats[1])
