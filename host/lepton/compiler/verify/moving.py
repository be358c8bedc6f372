"""Contracts of operators that move data: shapes follow from the input's, type and quantization are kept."""

from math import prod

import numpy as np

from .check import Check


def _keeps(check: Check, *others) -> None:
    for tensor in (check.x, *others):
        check.same_dtype(tensor, check.output)
        check.same_quantization(tensor, check.output)


def reshape(check: Check) -> None:
    _keeps(check)
    check.require(prod(check.x.shape) == prod(check.output.shape), f"input {tuple(check.x.shape)} and output "
                  f"{tuple(check.output.shape)} must have as many elements")


def transpose(check: Check) -> None:
    _keeps(check)
    order = check.op.order
    check.require(sorted(order) == list(range(len(check.x.shape))),
                  f"order {tuple(order)} must name each axis of {tuple(check.x.shape)} once")
    check.shape(tuple(check.x.shape[i] for i in order))


def concat(check: Check) -> None:
    _keeps(check, *check.inputs)
    first = check.x
    axis = check.axis(check.op.axis, len(first.shape))
    for tensor in check.inputs:
        check.require(len(tensor.shape) == len(first.shape) and all(
            i == axis or n == m for i, (n, m) in enumerate(zip(tensor.shape, first.shape, strict=True))),
            f"{tensor.name!r} of shape {tuple(tensor.shape)} does not fit {tuple(first.shape)} along axis {axis}")
    total = sum(t.shape[axis] for t in check.inputs)
    check.shape(tuple(total if i == axis else n for i, n in enumerate(first.shape)))


def take_slice(check: Check) -> None:
    _keeps(check)
    op, rank = check.op, len(check.x.shape)
    check.require(len(op.begin) == len(op.end) == len(op.step) == rank,
                  f"begin, end and step must have {rank} values, not {len(op.begin)}, {len(op.end)}, {len(op.step)}")
    shape = []
    for extent, begin, end, step in zip(check.x.shape, op.begin, op.end, op.step, strict=True):
        check.require(step != 0 and 0 <= begin <= extent and (0 <= end <= extent or (end == -1 and step < 0)),
                      f"begin {begin}, end {end} and step {step} must lie in an axis of {extent}")
        shape.append(len(range(extent)[begin:None if end < 0 else end:step]))
    check.shape(tuple(shape))


def pad(check: Check) -> None:
    _keeps(check)
    op, rank = check.op, len(check.x.shape)
    check.require(len(op.widths) == rank and all(min(pair) >= 0 for pair in op.widths),
                  f"widths must be {rank} pairs of at least 0, not {op.widths}")
    check.require(op.mode in ("constant", "reflect", "symmetric", "edge"),
                  f"mode must be constant, reflect, symmetric or edge, not {op.mode!r}")
    if op.mode == "constant" and np.dtype(check.x.dtype).kind in "iu":
        info = np.iinfo(check.x.dtype)
        check.require(op.value == int(op.value) and info.min <= op.value <= info.max,
                      f"the value must be a {np.dtype(check.x.dtype)}, not {op.value}")
    if op.mode in ("reflect", "symmetric"):
        most = int(op.mode == "symmetric")
        check.require(all(max(pair) < n + most for pair, n in zip(op.widths, check.x.shape, strict=True)),
                      f"widths {op.widths} reflect more than {tuple(check.x.shape)} has")
    check.shape(tuple(n + sum(pair) for n, pair in zip(check.x.shape, op.widths, strict=True)))


def gather(check: Check) -> None:
    x, indices = check.inputs
    _keeps(check)
    check.dtype(indices, np.int32, np.int64)
    axis = check.axis(check.op.axis, len(x.shape))
    if indices.data is not None and indices.data.size:
        low, high = int(indices.data.min()), int(indices.data.max())
        check.require(-x.shape[axis] <= low and high < x.shape[axis],
                      f"indices must lie in 0..{x.shape[axis] - 1}, not {low}..{high}")
    check.shape((*x.shape[:axis], *indices.shape, *x.shape[axis + 1:]))


def resize(check: Check) -> None:
    _keeps(check)
    op = check.op
    check.require(len(check.x.shape) == 4 and len(check.output.shape) == 4 and check.x.shape[0] == 1
                  and check.output.shape[0] == 1 and check.x.shape[3] == check.output.shape[3],
                  f"images must be (1, height, width, channels), not {tuple(check.x.shape)} and "
                  f"{tuple(check.output.shape)}")
    check.require(op.mode in ("nearest", "bilinear"), f"mode must be nearest or bilinear, not {op.mode!r}")
    kinds = ("half_pixel", "asymmetric", "align_corners", "pytorch_half_pixel")
    check.require(op.coordinates in kinds, f"coordinates must be one of {', '.join(kinds)}, not {op.coordinates!r}")
    roundings = ("floor", "round_prefer_floor", "round_prefer_ceil", "ceil")
    check.require(op.nearest in roundings, f"nearest must be one of {', '.join(roundings)}, not {op.nearest!r}")
    check.require(op.scales is None or all(np.isfinite(s) and s > 0 for s in op.scales),
                  f"scales must be positive and finite, not {op.scales}")
