"""Elements in another order."""

import numpy as np

Array = np.ndarray

TYPES = {
    "transpose_words": "INT32[:,:,:] int32[:,:,:]",
    "transpose_bytes": "INT8[:,:,:] int8[:,:,:]",
    "transpose_eights": "UINT8[:,:,:] uint64[:,:,:]",
    "take_words": "INT32[:] INT32[:] int32[:]",
}
_EACH = 16  # rows at a time: measured twice as fast as 32, which LLVM does not unroll, and as tiles of 16 to 64


def transpose(x: Array, result: Array) -> None:
    """move.Transpose of the last two axes: `_EACH` values of a column are read together and written as a whole."""
    matrices, rows, columns = x.shape
    for b in range(matrices):
        for first in range(0, rows - (_EACH - 1), _EACH):
            for j in range(columns):
                row = result[b, j]
                for k in range(_EACH):
                    row[first + k] = x[b, first + k, j]
        for i in range(rows - rows % _EACH, rows):
            for j in range(columns):
                result[b, j, i] = x[b, i, j]


transpose_words = transpose_bytes = transpose


def transpose_eights(x: Array, result: Array) -> None:
    """The same of bytes in a multiple of 8 rows: 8 of a column are one word of the result. Columns go in runs that stay
    in the first cache, since the words are written far from each other."""
    matrices, rows, columns = x.shape
    words = np.empty(64, np.uint64)
    for b in range(matrices):
        for first in range(0, columns, 64):
            count = min(64, columns - first)
            for i in range(rows // 8):
                some = x[b, 8 * i:8 * i + 8, first:first + count]
                for j in range(count):
                    words[j] = (np.uint64(some[0, j]) | np.uint64(some[1, j]) << np.uint64(8)
                                | np.uint64(some[2, j]) << np.uint64(16) | np.uint64(some[3, j]) << np.uint64(24)
                                | np.uint64(some[4, j]) << np.uint64(32) | np.uint64(some[5, j]) << np.uint64(40)
                                | np.uint64(some[6, j]) << np.uint64(48) | np.uint64(some[7, j]) << np.uint64(56))
                for j in range(count):
                    result[b, first + j, i] = words[j]


def take_words(x: Array, places: Array, result: Array) -> None:
    """indexing.GatherElements at constant places, of elements of 4 bytes."""
    for i in range(result.size):
        result[i] = x[places[i]]
