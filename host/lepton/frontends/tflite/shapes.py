"""Operators whose results are known at import: shapes, and what constants alone make."""

import numpy as np

from lepton.graph import GraphError

from .operation import Entry, Operation

_MOST_BYTES = 1 << 24  # of a constant made by FILL or RANGE: a few bytes of a file must not ask for all memory


def _fill(op: Operation) -> None:
    shape = op.integers(0)
    value = op.data(1)
    if value.size != 1 or min(shape, default=1) < 1 or np.prod(shape, dtype=np.int64) * value.itemsize > _MOST_BYTES:
        raise GraphError(f"one number and a shape of at most {_MOST_BYTES} bytes are needed, not {value.shape} and "
                         f"{shape}")
    op.known(np.full(shape, value.reshape(())))


def _range(op: Operation) -> None:
    start, limit, step = (op.data(position).reshape(-1)[:1] for position in range(3))
    if not start.size == limit.size == step.size == 1 or not step[0] or abs(
            (limit[0] - start[0]) / step[0]) * start.itemsize > _MOST_BYTES:
        raise GraphError(f"from {start} to {limit} by {step} is not a range")
    op.known(np.arange(start[0], limit[0], step[0]).astype(start.dtype))


def _broadcast_args(op: Operation) -> None:
    a = op.integers(0)
    b = op.integers(1)
    try:
        op.known(np.array(np.broadcast_shapes(a, b)))
    except ValueError:
        raise GraphError(f"the shapes {a} and {b} do not broadcast") from None


CONVERT: dict[str, Entry] = {
    "SHAPE": ((1,), 1, lambda op: op.known(np.array(op.x().shape))),
    "RANK": ((1,), 1, lambda op: op.known(np.array(op.x().rank))),
    "ZEROS_LIKE": ((1,), 1, lambda op: op.known(np.zeros(op.x(0, "FLOAT32", "INT32", "INT64").shape))),
    "FILL": ((2,), 1, _fill), "RANGE": ((3,), 1, _range), "BROADCAST_ARGS": ((2,), 1, _broadcast_args)}
