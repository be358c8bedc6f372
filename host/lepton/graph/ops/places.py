"""Computed places: indices counted from the front of an axis.

Indices below 0 count from the end; with `Arithmetic.FIXED` they are errors, as in TFLite. Indices outside of the axis
raise `GraphError`, which names index and limit.
"""

from collections.abc import Sequence

import numpy as np

from ..core import Call, GraphError
from ..numerics import compiled


def from_front(call: Call, indices: np.ndarray, extents: Sequence[int]) -> np.ndarray:
    """Indices counted from the front; `extents` are the limits along the last axis of `indices`, or one for all."""
    found = _counted(call, indices, extents)
    if found is not None:
        return found
    limits = np.asarray(extents)
    lowest = limits * 0 if call.fixed else -limits
    wrong = np.argwhere((indices < lowest) | (indices >= limits))
    if len(wrong):
        at = tuple(wrong[0])
        extent = int(np.broadcast_to(limits, indices.shape)[at])
        raise GraphError(f"index {int(indices[at])} of {call.inputs[1].name!r} must lie in "
                         f"{0 if call.fixed else -extent}..{extent - 1}")
    return np.where(indices < 0, indices + limits, indices)


def _counted(call: Call, indices: np.ndarray, extents: Sequence[int]) -> np.ndarray | None:
    """`from_front` by a compiled loop; None without one, and where an index is out of range."""
    loop = compiled.loop("from_front", indices.size, call.often)
    if loop is None or not indices.size:
        return None
    result = np.empty(indices.shape, np.int64)
    wrong = np.zeros(1, np.int64)
    columns = len(extents)
    limits = call.once("extents", lambda: np.array(extents, np.int64))
    loop(indices.astype(np.int64, copy=False).reshape(-1, columns), limits, call.fixed,
         result.reshape(-1, columns), wrong)
    return None if wrong[0] else result
