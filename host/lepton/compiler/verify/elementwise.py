"""Contracts of operators that work element by element, of reductions and of conversions."""

import numpy as np

from ...graph import Arithmetic
from .check import Check

_KINDS = ("sum", "mean", "max", "min", "prod")
UNARY = ("exp", "log", "sqrt", "neg", "abs", "relu", "sigmoid", "tanh", "erf", "floor", "ceil", "round", "reciprocal",
         "not", "cast")
_EIGHT_BITS = (np.int8, np.uint8)


def table(check: Check) -> None:
    check.int8(check.x, check.output)
    check.require(len(check.op.values) == 256, f"the table must have 256 values, not {len(check.op.values)}")
    check.shape(check.x.shape)


def arithmetic(check: Check) -> None:
    """Add, Sub, Mul: int8 operands with scales, or both of one other type."""
    a, b = check.inputs
    check.same_dtype(a, b, check.output)
    check.shape(check.broadcast(a, b))
    check.require(np.dtype(a.dtype) != np.uint8, "uint8 operands are not supported; move them to int8")
    if np.dtype(a.dtype) == np.int8:
        check.int8(a, b, check.output)


def division(check: Check) -> None:
    a, b = check.inputs
    check.same_dtype(a, b, check.output)
    check.shape(check.broadcast(a, b))
    check.require(np.dtype(a.dtype) == np.float32, f"only float32 can be divided, not {np.dtype(a.dtype)}")


def addition(check: Check) -> None:
    arithmetic(check)
    a, b = check.inputs
    if np.dtype(a.dtype) == np.int8 and check.graph.arithmetic is Arithmetic.FIXED:
        largest = 2 * max(float(a.quantization.scale[0]), float(b.quantization.scale[0]))
        output = float(check.output.quantization.scale[0])
        check.require(largest < 2**20 * output, f"an addition whose output scale {output} is less than 2**-20 of its "
                      f"inputs' ({a.quantization.scale[0]}, {b.quantization.scale[0]}) cannot be computed, "
                      "in TFLite either")


def extreme(check: Check) -> None:
    a, b = check.inputs
    check.same_dtype(a, b, check.output)
    check.shape(check.broadcast(a, b))
    check.same_quantization(a, b)
    check.same_quantization(a, check.output)


def prelu(check: Check) -> None:
    x, alpha = check.inputs
    check.same_dtype(x, alpha, check.output)
    check.constant(alpha, "alpha")
    if np.dtype(x.dtype) == np.int8:
        check.int8(x, alpha, check.output)
    check.require(check.broadcast(x, alpha) == tuple(x.shape),
                  f"alpha of shape {tuple(alpha.shape)} does not fit {tuple(x.shape)}")
    check.shape(x.shape)


def unary(check: Check) -> None:
    kind = check.op.kind
    check.require(kind in UNARY, f"kind must be one of {', '.join(UNARY)}, not {kind!r}")
    check.shape(check.x.shape)
    if kind == "cast":
        return
    check.require(np.dtype(check.x.dtype) != np.int8, f"{kind} of int8 must be a Table")
    check.same_dtype(check.x, check.output)


def softmax(check: Check) -> None:
    op = check.op
    check.same_dtype(check.x, check.output)
    check.dtype(check.x, np.int8, np.float32)
    check.axis(op.axis, len(check.x.shape))
    source, output = (tuple(map(int, t.shape)) for t in (check.x, check.output))
    check.require(source == output, f"input {source} and output {output} must have the same shape")
    check.require(np.isfinite(op.beta) and op.beta > 0, f"beta must be positive and finite, not {op.beta}")
    if np.dtype(check.x.dtype) != np.int8:
        return
    check.int8(check.x, check.output)
    if check.graph.arithmetic is Arithmetic.FIXED:
        q = check.output.quantization
        check.require(abs(float(q.scale[0]) - 1 / 256) <= 0.001 / 256 and int(q.zero_point[0]) == -128,
                      "the output must have scale 1/256 and zero point -128, not "
                      f"{q.scale[0]} and {int(q.zero_point[0])}")
        factor = op.beta * float(check.x.quantization.scale[0])
        check.require(factor * 2**26 >= 1, f"beta times the input's scale must be at least 2**-26, not {factor}")


def reduce(check: Check) -> None:
    op, rank = check.op, len(check.x.shape)
    check.require(op.kind in _KINDS, f"kind must be one of {', '.join(_KINDS)}, not {op.kind!r}")
    axes = {check.axis(axis, rank) for axis in op.axes}
    kept = [1 if i in axes else int(n) for i, n in enumerate(check.x.shape)]
    check.shape(tuple(kept) if op.keep_dims else tuple(n for i, n in enumerate(kept) if i not in axes))
    check.same_dtype(check.x, check.output)
    if np.dtype(check.x.dtype) in _EIGHT_BITS:
        check.require(op.kind != "prod", "a product of quantized values is not supported; dequantize them first")
        check.per_tensor(check.x)
        check.per_tensor(check.output)
        if op.kind in ("max", "min"):
            check.same_quantization(check.x, check.output)


def _scales(check: Check, tensor) -> None:
    q = tensor.quantization
    check.require(q is not None, f"{tensor.name!r} must be quantized")
    check.require(q.scale.size == q.zero_point.size, f"{tensor.name!r} must have as many zero points as scales")
    check.require(q.scale.size == 1 or (q.axis is not None and 0 <= q.axis < len(tensor.shape)
                                        and tensor.shape[q.axis] == q.scale.size),
                  f"{tensor.name!r} must have one scale, or one for each place along its axis")
    check.quantization(tensor)


def quantize(check: Check) -> None:
    check.dtype(check.x, np.float32)
    check.dtype(check.output, np.int8, np.uint8)
    check.shape(check.x.shape)
    _scales(check, check.output)


def dequantize(check: Check) -> None:
    check.dtype(check.x, np.int8, np.uint8, np.int32)
    check.dtype(check.output, np.float32)
    check.shape(check.x.shape)
    _scales(check, check.x)


def recenter(check: Check) -> None:
    check.dtype(check.x, *_EIGHT_BITS)
    check.dtype(check.output, *_EIGHT_BITS)
    check.require(np.dtype(check.x.dtype) != np.dtype(check.output.dtype), "must go from uint8 to int8 or back")
    check.shape(check.x.shape)
    a, b = check.x.quantization, check.output.quantization
    if a is not None and b is not None:
        up = 128 if np.dtype(check.x.dtype) == np.int8 else -128
        check.require(np.array_equal(a.scale, b.scale) and np.array_equal(a.zero_point + up, b.zero_point),
                      f"{check.x.name!r} and {check.output.name!r} must have the same scale, "
                      "and zero points 128 apart")
