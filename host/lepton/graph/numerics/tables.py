"""Functions of bytes by tables of their results."""

from functools import lru_cache

import numpy as np

from . import compiled

_TABLES = 64  # of pairs, kept, of 128 KiB each
PAIRS_PAY = 1 << 14  # bytes below which a table of pairs is not made
_BLOCK = 1 << 15  # results at a time: numpy widens indices to 8 bytes, which then stay in the cache


@lru_cache(maxsize=_TABLES)
def _pairs(values: bytes) -> np.ndarray:
    """The results of two neighbouring bytes at once, whichever of the two comes first in a 16-bit number."""
    one = np.frombuffer(values, np.uint8)
    return np.stack(np.broadcast_arrays(one[None, :], one[:, None]), axis=-1).reshape(-1, 2).view(np.uint16).reshape(-1)


def mapped(values: bytes, x: np.ndarray) -> np.ndarray:
    """uint8 `values[i]` for each byte i of `x`, of x's shape: by pairs of bytes, where there are many."""
    x = np.require(x, requirements="C").view(np.uint8)
    if x.size < PAIRS_PAY or x.size % 2:
        return np.frombuffer(values, np.uint8).take(x)
    pairs = _pairs(values)
    flat = x.reshape(-1).view(np.uint16)
    loop = compiled.loop("take", x.size)
    if loop is None:
        return taken(pairs, flat).view(np.uint8).reshape(x.shape)
    result = np.empty(x.shape, np.uint8)
    loop(pairs, flat, result.reshape(-1).view(np.uint16))
    return result


def taken(table: np.ndarray, index: np.ndarray) -> np.ndarray:
    """table[index] of contiguous indices within the table, a block at a time."""
    result = np.empty(index.shape, table.dtype)
    places = index.reshape(-1)
    flat = result.reshape(-1)
    for start in range(0, flat.size, _BLOCK):
        table.take(places[start:start + _BLOCK], out=flat[start:start + _BLOCK], mode="wrap")
    return result
