"""Sums and reals to a tensor's scale, as the frameworks' kernels bring them there.

Formulas are those of TFLite's `kernels/internal/quantization_util.cc`, `kernels/kernel_util.cc` and the reference
kernels, and of ONNX Runtime's MLAS, in the same floating-point types, because the last bit of a multiplier shows.
"""

from collections.abc import Callable
from functools import partial
from math import prod

import numpy as np

from ..core import Arithmetic, GraphError, Op, Pair, Shape, Tensor
from . import compiled
from .fixedpoint import multiply_by_quantized_multiplier, quantize_multiplier, quantize_multipliers, split_shift, wrap
from .rounding import half_away

_BLOCK = 1 << 14  # sums at a time: their int64 take 128 KiB, which stays in the second cache
_LONG = 1 << 14  # values from which short rows are summed several at a time

Requantizer = Callable[[np.ndarray], np.ndarray]  # int32 (rows, columns) to int8


def conv_scales(source: np.ndarray, weights: np.ndarray, output: np.ndarray, in_double: bool) -> np.ndarray:
    """Effective float64 scales of a layer's sums, one per weight scale.

    TFLite multiplies the scales of input and weights in double; those of legacy uint8 convolutions and of products
    of two activations in float32 (GetQuantizedConvolutionMultipler).
    """
    source, weights, output = (np.asarray(s, np.float32) for s in (source, weights, output))
    if in_double:
        return source.astype(np.float64) * weights.astype(np.float64) / output.astype(np.float64)
    return (source * weights).astype(np.float64) / output.astype(np.float64)


def float_scales(arithmetic: Arithmetic, source: np.ndarray, weights: np.ndarray, output: np.ndarray) -> np.ndarray:
    """float32 scales of a convolution or matrix product, one per weight scale.

    FLOAT: as ONNX Runtime computes them, rounding twice. TORCH: PyTorch sums reals and multiplies by 1 / output scale;
    the exact product of the three, rounded once, is nearest to what that comes to.
    """
    source, weights, output = (np.asarray(s, np.float32) for s in (source, weights, output))
    if arithmetic is Arithmetic.TORCH:
        inverse = inverse_scale(output).astype(np.float64)
        return (source.astype(np.float64) * weights.astype(np.float64) * inverse).astype(np.float32)
    return source * weights / output


def float_average_scale(arithmetic: Arithmetic, source: float, output: float, count: int) -> np.float32:
    """float32 scale of the sum of `count` values.

    FLOAT: as ONNX Runtime's QLinearGlobalAveragePool computes it (`onnxruntime/core/mlas/lib/qlgavgpool.cpp`; the
    image is summed in int32). TORCH: nearest to the mean of reals times 1 / scale.
    """
    if arithmetic is Arithmetic.TORCH:
        return np.float32(float(np.float32(source)) * float(inverse_scale(np.float32(output))) / count)
    return np.float32(source) / (np.float32(output) * np.float32(count))


def inverse_scale(scale: np.ndarray | np.float32) -> np.ndarray | np.float32:
    """1 / scale as PyTorch's quantize_per_tensor multiplies by it: divided in double, then float32."""
    return (1 / scale.astype(np.float64)).astype(np.float32)


def sum_scales(arithmetic: Arithmetic, x: Tensor, weights: Tensor, output: Tensor, in_double: bool) -> np.ndarray:
    """Factors from a layer's sums to its output, input * weight / output, one per weight scale: float64 for FIXED,
    float32 for the others. `in_double` is of FIXED, see `conv_scales`."""
    source, factor, made = (t.parameters.scale.reshape(-1) for t in (x, weights, output))
    if arithmetic is Arithmetic.FIXED:
        return conv_scales(source, factor, made, in_double)
    return float_scales(arithmetic, source, factor, made)


def from_sums(arithmetic: Arithmetic, total: np.ndarray, scales: np.ndarray, zero: int, limits: Pair,
              once: bool = False) -> np.ndarray:
    """int64 sums to int8 by `scales`, one or one per channel (last axis).

    FIXED: multiplier and shift of a float64 scale, rounding twice; where `once`, the product in float64, rounded once.
    FLOAT and TORCH: float32 scale, round half to even (MlasRequantizeOutput).
    """
    if arithmetic is not Arithmetic.FIXED:
        values: np.ndarray = np.asarray(total.astype(np.int32).astype(np.float32) * scales.astype(np.float32))
        np.clip(values, np.float32(-128 - zero), np.float32(127 - zero), out=values)
        np.rint(values, out=values)
        values += np.float32(zero)
    elif once:
        values = half_away(wrap(total) * np.asarray(scales, np.float64)).astype(np.int64) + zero
    else:
        return _scaled_blocks(total, *quantize_multipliers(scales), zero, limits)
    return np.clip(values, *limits).astype(np.int8)


def requantizer(arithmetic: Arithmetic, scales: np.ndarray, zero: int, limits: Pair, size: int, often: bool,
                once: bool = False) -> Requantizer | None:
    """`from_sums` of int32 rows by a compiled loop; None where it is not to be used for `size` sums."""
    low, high = limits
    if arithmetic is Arithmetic.FIXED and not once:
        fixed = compiled.loop("requantize_fixed", size, often)
        if fixed is None:
            return None
        multiplier, shift = quantize_multipliers(scales)
        left, right = split_shift(shift)
        # contiguous, or numba would not take them
        arrays = [np.array(np.atleast_1d(v), np.int64, order="C") for v in (multiplier, left, right)]
        return partial(_requantized, fixed, (*arrays, zero, low, high))
    kind = np.dtype(np.float64 if once and arithmetic is Arithmetic.FIXED else np.float32)
    loop = compiled.loop("requantize_once" if kind == np.float64 else "requantize_float", size, often)
    if loop is None:
        return None
    return partial(_requantized, loop, (np.atleast_1d(scales).astype(kind), zero, low - zero, high - zero))


def by_multiplier(multiplier: int, shift: int, zero: int, limits: Pair, size: int, often: bool) -> Requantizer | None:
    """`requantizer` of FIXED by a given multiplier and shift."""
    loop = compiled.loop("requantize_fixed", size, often)
    left, right = (np.array([way], np.int64) for way in split_shift(shift))
    return None if loop is None else partial(_requantized, loop, (np.array([multiplier], np.int64), left, right, zero,
                                                                  *limits))


def _requantized(loop: compiled.Loop, arguments: tuple[object, ...], total: np.ndarray) -> np.ndarray:
    result = np.empty(total.shape, np.int8)
    loop(total, *arguments, result)
    return result


def summer(shape: Shape, axes: tuple[int, ...], often: bool) -> Callable[[np.ndarray], np.ndarray] | None:
    """What makes int32 sums of int8 over neighbouring `axes`, (before, behind) them; None where numpy is to compute."""
    first = min(axes, default=0)
    last = max(axes, default=-1) + 1
    count = prod(shape[first:last])
    if len(set(axes)) != last - first or not 0 < count < 1 << 24:  # sums of 2**24 int8 fit in int32
        return None
    loop = compiled.loop("sum_middle", prod(shape), often)
    if loop is None:
        return None
    outer = prod(shape[:first])
    columns = prod(shape[last:])
    together = compiled.together_rows(count, columns) if count * columns >= _LONG else 1

    def sums(x: np.ndarray) -> np.ndarray:
        total = np.zeros((outer, columns * together), np.int32)
        loop(x.reshape(outer, count // together, -1), total)
        return total if together == 1 else total.reshape(outer, together, columns).sum(axis=1, dtype=np.int32)
    return sums


def _scaled_blocks(total: np.ndarray, multiplier: np.ndarray, shift: np.ndarray, zero: int, limits: Pair) -> np.ndarray:
    """`from_sums` of FIXED, some rows at a time: what is computed in between stays in the cache."""
    if total.size <= _BLOCK or multiplier.ndim > 1:
        values = multiply_by_quantized_multiplier(total, multiplier, shift)
        values += zero
        return np.clip(values, *limits).astype(np.int8)
    rows = total.reshape(-1, total.shape[-1])
    result = np.empty(rows.shape, np.int8)
    each = max(_BLOCK // rows.shape[1], 1)
    for start in range(0, len(rows), each):
        values = multiply_by_quantized_multiplier(rows[start:start + each], multiplier, shift)
        values += zero
        result[start:start + each] = np.clip(values, *limits, out=values)
    return result.reshape(total.shape)


def real(x: np.ndarray, tensor: Tensor) -> np.ndarray:
    """float32 reals of the values `x` of a tensor that is quantized per tensor."""
    if x.dtype.itemsize > 1:
        return tensor.scale * (x.astype(np.int32) - tensor.zero_point).astype(np.float32)
    loop = compiled.loop("dequantize", x.size) if x.dtype == np.int8 else None
    if loop is not None:
        result = np.empty(x.shape, np.float32)
        loop(x.reshape(-1), tensor.scale, tensor.zero_point, result.reshape(-1))
        return result
    values = x.astype(np.float32)
    values -= np.float32(tensor.zero_point)
    values *= tensor.scale
    return values


def from_reals(arithmetic: Arithmetic, x: np.ndarray, output: Tensor, op: Op) -> np.ndarray:
    """float32 reals to the output's scale. FLOAT: ONNX Runtime's quantize_value divides, adds the zero point (of uint8
    where `op.unsigned`) and rounds half to even. TORCH: quantize_per_tensor multiplies by 1 / scale, rounds half to
    even, adds the zero point."""
    up = 128 if op.unsigned else 0
    zero = np.float32(output.zero_point)
    if arithmetic is Arithmetic.TORCH:
        values = np.rint(x * inverse_scale(output.scale))
        values += zero
    else:
        values = np.asarray(x / output.scale)
        values += zero + np.float32(up)
        np.rint(values, out=values)
        values -= np.float32(up)
    return np.clip(values, *op.limits(output.dtype)).astype(output.dtype)


def rounding_of_reals(arithmetic: Arithmetic, output: Tensor, op: Op) -> tuple[bool, float, float, float, int, int]:
    """What `from_reals` does, for a loop: whether it divides, by what or the factor, what it adds before and after it
    rounds to even, and the limits."""
    up = 128 if op.unsigned else 0
    if arithmetic is Arithmetic.TORCH:
        return False, float(inverse_scale(output.scale)), 0.0, float(output.zero_point), *op.limits(output.dtype)
    return True, float(output.scale), float(output.zero_point + up), float(-up), *op.limits(output.dtype)


def summed(x: np.ndarray, axes: tuple[int, ...]) -> np.ndarray:
    """int64 sums of integers over `axes`, which stay with one element each."""
    first, last = (min(axes), max(axes) + 1) if axes else (0, 0)
    count = prod(x.shape[first:last])
    loop = compiled.loop("sum_middle", x.size) if x.dtype == np.int8 and count < 1 << 24 else None
    if loop is None or len(set(axes)) != last - first or not x.flags.c_contiguous:
        return x.sum(axis=axes, dtype=np.int64, keepdims=True)
    columns = prod(x.shape[last:])
    shape = [1 if axis in axes else size for axis, size in enumerate(x.shape)]
    together = compiled.together_rows(count, columns)
    total = np.zeros((prod(x.shape[:first]), columns * together), np.int32)
    loop(x.reshape(len(total), count // together, -1), total)
    return total.reshape(len(total), together, columns).sum(axis=1, dtype=np.int64).reshape(shape)


def add_parameters(scale_a: float, scale_b: float, scale_o: float) -> dict[str, int]:
    """The multipliers and right shifts of a TFLite int8 ADD as fields of the TENSOR command."""
    a, b, o = (float(np.float32(s)) for s in (scale_a, scale_b, scale_o))
    twice = 2 * max(a, b)
    fields = {}
    for name, factor in (("a", a / twice), ("b", b / twice), ("o", twice / ((1 << 20) * o))):
        multiplier, shift = quantize_multiplier(factor)
        if shift > 0:
            raise GraphError(f"an addition whose output scale {o} is less than 2**-20 of its inputs' ({a}, {b}) "
                             "cannot be computed, in TFLite either")
        fields[f"add_mult_{name}"] = multiplier
        fields[f"add_shift_{name}"] = -shift
    return fields


def mean_multiplier(scale_in: float, scale_out: float, count: int) -> tuple[int, int]:
    """(multiplier, shift) of TFLite's integer MEAN over `count` values (QuantizedMeanOrSum)."""
    multiplier, shift = quantize_multiplier(float(np.float32(scale_in)) / float(np.float32(scale_out)))
    by = min(count.bit_length() - 1, 32, 31 + shift)
    return (multiplier << by) // count, shift - by
