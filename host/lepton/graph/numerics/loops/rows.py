"""Functions of whole rows: softmax, normalization, places of the largest, running sums."""

from typing import Any

import numpy as np

Array = np.ndarray
Float = np.float32

TYPES = {
    "softmax_fixed": "INT8[:,:] INT64[:] INT64[:] int64[:] int8[:,:]",
    "softmax_float": "INT8[:,:] FLOAT32[:] float32 float32 float32[:] int8[:,:]",
    "less_largest": "FLOAT32[:,:] float32 float32[:,:]",
    "divided_by_sum": "float32[:,:]",
    "sums_of_rows": "FLOAT32[:,:] float32[:]",
    "less_of_rows": "float32[:,:] FLOAT32[:]",
    "first_largest": "INT8[:,:] int64[:]",
    "first_largest_float": "INT32[:,:] int64[:]",
    "running_sums": "FLOAT32[:,:] float32[:,:]",
    "unit_length_float": "FLOAT32[:,:] float32[:,:]",
    "along_bytes": "INT8[:,:,:] INT64[:,:,:] boolean int64[:] int8[:,:,:]",
    "along_words": "INT32[:,:,:] INT64[:,:,:] boolean int64[:] int32[:,:,:]",
    "along_bytes_int32": "INT8[:,:,:] INT32[:,:,:] boolean int64[:] int8[:,:,:]",
    "along_words_int32": "INT32[:,:,:] INT32[:,:,:] boolean int64[:] int32[:,:,:]",
    "from_front": "INT64[:,:] INT64[:] boolean int64[:,:] int64[:]",
    "one_hot_bytes": "INT64[:,:] INT8[:] INT8[:] int8[:,:,:]",
    "one_hot_words": "INT64[:,:] INT32[:] INT32[:] int32[:,:,:]",
    "top": "INT8[:,:] int64[:,:]",
    "top_float": "FLOAT32[:,:] int64[:,:]",
    "top_int32": "INT8[:,:] int32[:,:]",
    "top_float_int32": "FLOAT32[:,:] int32[:,:]",
}


def softmax_fixed(x: Array, exponentials: Array, parts: Array, row: Array, result: Array) -> None:
    """softmax.fixed_softmax; the reciprocal is fixedpoint.one_over_one_plus_x."""
    rows, columns = x.shape
    for i in range(rows):
        largest = np.int8(-128)
        for j in range(columns):
            largest = max(largest, x[i, j])
        total = np.int64(0)
        for j in range(columns):
            below = np.intp(largest) - np.intp(x[i, j])
            row[j] = exponentials[below]
            total += parts[below]
        bits = 20  # at least: the largest adds 2**19
        while total >> bits:
            bits += 1
        half = ((total << (32 - bits)) & 0xFFFFFFFF) >> 1
        estimate = np.int64(1515870810) + ((half * -1010580540 + (1 << 30)) >> 31)
        for _ in range(3):
            error = (1 << 29) - ((half * estimate + (1 << 30)) >> 31)
            step: Any = (estimate * error + (1 << 30)) >> 31
            estimate += min(max(step << 2, -(1 << 31)), (1 << 31) - 1)
        inverse = min(max(estimate << 1, -(1 << 31)), (1 << 31) - 1)
        shift = 12 - (32 - bits) + 31 - 8
        nudge = (np.int64(1) << shift) >> 1
        for j in range(columns):
            made = ((row[j] * inverse + (1 << 30)) >> 31) + nudge
            result[i, j] = np.int8(min(made >> shift, 255) - 128)


def softmax_float(x: Array, table: Array, factor: Float, zero: Float, row: Array, result: Array) -> None:
    """softmax._table_softmax: exponentials by the difference to the largest, added one after the other in float32;
    products and quotients in double."""
    rows, columns = x.shape
    for i in range(rows):
        largest = np.int8(-128)
        for j in range(columns):
            largest = max(largest, x[i, j])
        total = np.float32(0)
        for j in range(columns):
            row[j] = table[np.intp(largest) - np.intp(x[i, j])]
            total += row[j]
        for j in range(columns):
            y = np.rint(np.float64(row[j]) * np.float64(factor) / np.float64(total)) + np.float64(zero)
            y = y if y > np.float64(-128) else np.float64(-128)
            y = y if y < np.float64(127) else np.float64(127)
            result[i, j] = np.int8(np.int32(y))


def less_largest(x: Array, factor: Float, result: Array) -> None:
    """softmax._real_loops: the differences to the largest of each row (NaN where an element is) times a factor."""
    rows, columns = x.shape
    for i in range(rows):
        values = x[i]
        row = result[i]
        largest = values[0]
        for j in range(columns):
            largest = values[j] if values[j] > largest or values[j] != values[j] else largest
        for j in range(columns):
            row[j] = (values[j] - largest) * factor


def divided_by_sum(x: Array) -> None:
    """Each row by its sum, the elements added one after the other."""
    rows, columns = x.shape
    for i in range(rows):
        row = x[i]
        total = row[0]
        for j in range(1, columns):
            total += row[j]
        for j in range(columns):
            row[j] = row[j] / total


def sums_of_rows(x: Array, result: Array) -> None:
    """Elements added one after the other."""
    rows, columns = x.shape
    for i in range(rows):
        total = x[i, 0]
        for j in range(1, columns):
            total += x[i, j]
        result[i] = total


def less_of_rows(x: Array, less: Array) -> None:
    """Each row less one number."""
    rows, columns = x.shape
    for i in range(rows):
        row = x[i]
        of_row = less[i]
        for j in range(columns):
            row[j] = row[j] - of_row


def first_largest(x: Array, result: Array) -> None:
    """along_axis.ArgMax along the last axis."""
    rows, columns = x.shape
    for i in range(rows):
        values = x[i]
        largest = values[0]
        for j in range(columns):
            largest = max(largest, values[j])
        place = 0
        while values[place] != largest:
            place += 1
        result[i] = place


def first_largest_float(x: Array, result: Array) -> None:
    """The same of float32, given as its bits, which are compared as integers: of those LLVM makes vector instructions.

    Below 0 the magnitude is turned round; -0 equals 0, and the first NaN is the largest as in numpy.
    """
    rows, columns = x.shape
    keys = np.empty(columns, np.int32)
    for i in range(rows):
        values = x[i]
        largest = np.int32(-0x80000000)
        for j in range(columns):
            bits = values[j]
            magnitude = bits & np.int32(0x7FFFFFFF)
            key = bits ^ ((bits >> np.int32(31)) & np.int32(0x7FFFFFFF))
            key = np.int32(0) if magnitude == 0 else key
            key = np.int32(0x7FFFFFFF) if magnitude > np.int32(0x7F800000) else key
            keys[j] = key
            largest = max(largest, key)
        place = 0
        while keys[place] != largest:
            place += 1
        result[i] = place


def running_sums(x: Array, result: Array) -> None:
    """along_axis.CumSum along the last axis."""
    rows, columns = x.shape
    for i in range(rows):
        total = np.float32(0)
        values = x[i]
        row = result[i]
        for j in range(columns):
            total = total + values[j] if j else values[j]
            row[j] = total


def unit_length_float(x: Array, result: Array) -> None:
    """normalize.L2Normalize of float32, the squares added one after the other."""
    rows, columns = x.shape
    for i in range(rows):
        values = x[i]
        row = result[i]
        total = values[0] * values[0]
        for j in range(1, columns):
            total += values[j] * values[j]
        length = np.sqrt(total)
        length = length if not length < np.float32(1e-6) else np.float32(1e-6)
        for j in range(columns):
            row[j] = values[j] / length


def along(x: Array, places: Array, all_from_front: bool, wrong: Array, result: Array) -> None:
    """indexing.GatherElements along the second axis; `wrong` counts places out of range."""
    extent = x.shape[1]
    lowest = 0 if all_from_front else -extent
    count = 0
    for i in range(result.shape[0]):
        for j in range(result.shape[1]):
            for k in range(result.shape[2]):
                place = places[i, j, k]
                outside = place < lowest or place >= extent
                count += 1 if outside else 0
                place = 0 if outside else place + extent if place < 0 else place
                result[i, j, k] = x[i, place, k]
    wrong[0] = count


along_bytes = along_words = along_bytes_int32 = along_words_int32 = along


def from_front(indices: Array, extents: Array, all_from_front: bool, result: Array, wrong: Array) -> None:
    """indexing._places: a column of indices for each extent; `wrong` counts those that are out of range."""
    for j in range(extents.size):
        extent = extents[j]
        lowest = 0 if all_from_front else -extent
        for i in range(indices.shape[0]):
            index = indices[i, j]
            wrong[0] += 1 if index < lowest or index >= extent else 0
            result[i, j] = index + extent if index < 0 else index


def one_hot(indices: Array, on: Array, off: Array, result: Array) -> None:
    """indexing.OneHot along the second axis."""
    result[:] = off[0]
    for i in range(indices.shape[0]):
        for j in range(indices.shape[1]):
            if 0 <= indices[i, j] < result.shape[1]:
                result[i, indices[i, j], j] = on[0]


one_hot_bytes = one_hot_words = one_hot


def largest_places(x: Array, result: Array) -> None:
    """indexing.TopK of the largest along the last axis: a heap would only pay for many. The first place is -1 where an
    element is NaN."""
    columns = x.shape[1]
    count = result.shape[1]
    kept = np.empty(count, x.dtype)
    numbers = True
    for i in range(x.shape[0]):
        values = x[i]
        places = result[i]
        found = 0
        for j in range(columns):
            value = values[j]
            numbers = numbers and value == value
            if found < count or value > kept[count - 1]:
                found = min(found + 1, count)
                at = found - 1
                while at > 0 and kept[at - 1] < value:
                    kept[at] = kept[at - 1]
                    places[at] = places[at - 1]
                    at -= 1
                kept[at] = value
                places[at] = j
    if not numbers:
        result[0, 0] = -1


top = top_float = top_int32 = top_float_int32 = largest_places
