"""Tensors, the operands of operators, and one execution of an operator on them."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from enum import Enum
from functools import cached_property
from math import prod
from typing import Generic, TypeVar, overload

import numpy as np

T = TypeVar("T")

Shape = tuple[int, ...]
Pair = tuple[int, int]  # (y, x), or (low, high)
Padding = tuple[Pair, Pair]  # (top, bottom), (left, right)
# What computes one use of an operator: from the operands' arrays, None for one that is left out, to the result.
Kernel = Callable[[Sequence[np.ndarray | None]], np.ndarray]
OfOne = Callable[[np.ndarray], np.ndarray]  # a `Kernel` of the first operand's array alone
Kept = TypeVar("Kept")
Item = TypeVar("Item")
FULL: Pair = (-128, 127)  # the range of an int8


class GraphError(ValueError):
    """The network is malformed, or uses something that is not supported; the text names what is supported."""


class Arithmetic(Enum):
    """How the network's framework requantizes: brings results to the scale of the output."""

    FIXED = "fixed"  # TFLite's reference kernels: int32 multiplier and shift, computed from double scales
    FLOAT = "float"  # ONNX Runtime: float32 scale, round half to even
    TORCH = "torch"  # PyTorch: float32 reals times 1 / scale, round half to even, then the zero point is added


@dataclass(frozen=True, eq=False)
class Quantization:
    """real = scale * (q - zero_point); arrays of shape (1,) or, along `axis`, (channels,).

    `scale` is float32 as the files hold it, `zero_point` int32.
    """

    scale: np.ndarray
    zero_point: np.ndarray
    axis: int | None = None


@dataclass(eq=False)
class Tensor:
    """A value in the graph; `data` is set for constants.

    Activations that the chip computes with are int8, per-tensor quantized, NHWC. Others (float32, int32, int64,
    uint8, bool) live on the host.
    """

    name: str
    shape: Shape
    dtype: np.dtype
    quantization: Quantization | None = None
    data: np.ndarray | None = None

    @property
    def parameters(self) -> Quantization:
        """The quantization of a tensor that must have one. Raises `GraphError` without."""
        if self.quantization is None:
            raise GraphError(f"{self.name!r} must be quantized")
        return self.quantization

    @property
    def scale(self) -> np.float32:
        """The scale of a tensor that is quantized per tensor. Raises `GraphError` without a quantization."""
        return np.float32(self.parameters.scale.reshape(-1)[0])

    @property
    def zero_point(self) -> int:
        """The zero point of a tensor that is quantized per tensor, 0 without a quantization."""
        return 0 if self.quantization is None else int(self.quantization.zero_point.reshape(-1)[0])


class OperandList(Sequence[T], Generic[T]):
    """The operands of one use of an operator, in order: tensors, or arrays.

    Indices, slices and iteration are for operands that must be given; they raise `GraphError` for one that is left
    out. `get` and `given` are for optional ones.
    """

    def __init__(self, items: "Iterable[T | None]"):
        self.items: tuple[T | None, ...] = items.items if isinstance(items, OperandList) else tuple(items)
        self.complete = all(item is not None for item in self.items)

    @overload
    def __getitem__(self, index: int) -> T: ...
    @overload
    def __getitem__(self, index: slice) -> list[T]: ...
    def __getitem__(self, index: int | slice) -> T | list[T]:
        if isinstance(index, slice):
            return [self[i] for i in range(*index.indices(len(self.items)))]
        item = self.items[index]
        if item is None:
            raise GraphError(f"operand {index} is missing")
        return item

    def __iter__(self) -> Iterator[T]:
        return iter(self.items if self.complete else self[:])  # type: ignore[arg-type]  # none is missing

    def __len__(self) -> int:
        return len(self.items)

    def like(self, items: Sequence[Item | None]) -> "OperandList[Item]":
        """A list of `items` that lacks the same operands; every host step makes one, without the constructor's time."""
        made: OperandList[Item] = object.__new__(OperandList)
        made.items = tuple(items)
        made.complete = self.complete
        return made

    def get(self, index: int) -> T | None:
        """The operand at `index`; None where it is left out."""
        return self.items[index] if index < len(self.items) else None

    @property
    def given(self) -> list[T]:
        """All operands but those that are left out."""
        return [item for item in self.items if item is not None]


@dataclass(frozen=True, eq=False)
class Signature:
    """One use of an operator: the tensors that go in and the one that comes out. `arithmetic` is the graph's."""

    arithmetic: Arithmetic
    inputs: OperandList[Tensor]
    output: Tensor

    @cached_property
    def fixed(self) -> bool:
        return self.arithmetic is Arithmetic.FIXED

    @cached_property
    def torch(self) -> bool:
        return self.arithmetic is Arithmetic.TORCH

    @cached_property
    def quantized(self) -> bool:
        """True where the result is requantized, as int8 and uint8 results are."""
        return np.dtype(self.output.dtype) in (np.int8, np.uint8) and self.output.quantization is not None

    @cached_property
    def traffic(self) -> int:
        """Bytes of the operands, constants included, and of the result."""
        return sum(prod(t.shape) * np.dtype(t.dtype).itemsize for t in (*self.inputs.given, self.output))


class Later:
    """What computes the later executions of one use of an operator, once the first one has found it: without the time
    that a `Call` takes. `of_one` where the first operand decides the result alone."""

    __slots__ = ("kernel", "of_one")

    def __init__(self) -> None:
        self.kernel: Kernel | None = None
        self.of_one: OfOne | None = None


@dataclass(frozen=True, eq=False)
class Call(Signature):
    """One execution of an operator: `values` are the arrays of `inputs`.

    `often`: there will be many, so that preparing them pays even where they are small. `kept` is shared by all
    executions of the same use of the operator: see `once`; so is `later`.
    """

    values: OperandList[np.ndarray]
    often: bool = False
    kept: dict[str, object] = field(default_factory=dict)
    later: Later = field(default_factory=Later)

    def of(self, values: Sequence[np.ndarray | None]) -> "Call":
        """Another execution of the same use."""
        made: Call = object.__new__(Call)  # a third of the time of the constructor, which every host step would pay
        made.__dict__.update(self.__dict__, values=self.inputs.like(values))
        return made

    def once(self, name: str, make: Callable[[], Kept]) -> Kept:
        """What `make` returns, computed in the first execution only: it must depend on the use alone, not on `values`,
        and nothing may write into it, since threads share it."""
        if name not in self.kept:
            self.kept[name] = make()
        return self.kept[name]  # type: ignore[return-value]  # each name has one type

    def continue_with(self, kernel: Kernel) -> None:
        """Later executions of the same use are `kernel` of their arrays, without the time that a `Call` takes. It must
        give what `compute` gives, contiguous and of the output's shape and type."""
        self.later.kernel = kernel

    def continue_with_first(self, kernel: OfOne) -> None:
        """The same, of the first operand's array alone."""
        self.later.kernel = lambda values: kernel(values[0])  # type: ignore[arg-type]  # it is given
        self.later.of_one = kernel

    def through(self, kernel: OfOne) -> np.ndarray:
        """`kernel` of the first operand, which decides the result alone, in this execution and the later ones."""
        result = kernel(self.x)
        if self._is_whole(result):
            self.continue_with_first(kernel)
        return result

    def through_all(self, kernel: Callable[..., np.ndarray]) -> np.ndarray:
        """`kernel` of all operands, each of which is given, in this execution and the later ones."""
        result = kernel(*self.values)
        if self._is_whole(result):
            self.continue_with(lambda values: kernel(*values))
        return result

    def _is_whole(self, result: np.ndarray) -> bool:
        """True for a contiguous array of the output's shape and type."""
        return (isinstance(result, np.ndarray) and result.shape == tuple(self.output.shape)
                and result.dtype == self.output.dtype and result.flags.c_contiguous)

    @property
    def x(self) -> np.ndarray:
        """The first operand."""
        return self.values[0]
