"""Quotients and remainders of integers and reals, by compiled loops."""

from collections.abc import Callable

import numpy as np

from ..core import Call, GraphError
from . import compiled

OfTwo = Callable[[np.ndarray, np.ndarray], np.ndarray]


def _loop(call: Call, name: str, dtype: type) -> compiled.Loop | None:
    """For arrays of one type and shape, or of one divisor; None where numpy is to compute."""
    a, b = call.inputs
    fits = np.dtype(a.dtype) == np.dtype(b.dtype) == dtype
    shape = tuple(a.shape)
    if not fits or shape != tuple(call.output.shape) or tuple(b.shape) not in (shape, (), (1,)):
        return None
    return compiled.loop(name, call.values[0].size, call.often)


def whole(call: Call, floor: bool, rest: bool) -> OfTwo | None:
    """int32 quotients rounded down or (not `floor`) towards 0, or the `rest` that they leave; None where numpy is to
    compute. A processor divides integers one at a time, floats several at a time. Raises `GraphError` for a divisor 0.
    """
    loop = _loop(call, "whole_quotients", np.int32)
    if loop is None:
        return None
    shape = tuple(call.output.shape)
    name = call.inputs[1].name

    def kernel(a: np.ndarray, b: np.ndarray) -> np.ndarray:
        result = np.empty(shape, np.int32)
        zeros = np.empty(1, np.int64)
        loop(a.reshape(-1), b.reshape(-1), floor, rest, zeros, result.reshape(-1))
        if zeros[0]:
            raise by_zero(name)
        return result
    return kernel


def by_zero(name: str) -> GraphError:
    return GraphError(f"{name!r} must not be 0 where it divides integers")


def floor_mod(call: Call) -> OfTwo | None:
    """a - b * floor(a / b) of float32; None where numpy is to compute."""
    loop = _loop(call, "floor_mod", np.float32)
    if loop is None:
        return None
    shape = tuple(call.output.shape)

    def kernel(a: np.ndarray, b: np.ndarray) -> np.ndarray:
        result = np.empty(shape, np.float32)
        loop(a.reshape(-1), b.reshape(-1), result.reshape(-1))
        return result
    return kernel
