"""Reductions: one value made of all elements along some axes.

Sources: tensorflow/lite/kernels/internal/reference/reduce.h;
onnxruntime/core/mlas/lib/qlgavgpool.cpp.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial

import numpy as np

from ..core import Arithmetic, Call, Op, OperandList, Shape, Signature, Tensor
from ..numerics import compiled, onnxruntime_kernels
from ..numerics.fixedpoint import multiply_by_quantized_multiplier, quantize_multiplier, wrap
from ..numerics.requantize import (
    Requantizer,
    by_multiplier,
    float_average_scale,
    from_reals,
    from_sums,
    mean_multiplier,
    real,
    requantizer,
    summed,
    summer,
)
from ..numerics.rounding import half_away
from .conditions import (
    EIGHT_BITS,
    axis_of,
    image,
    int8,
    of_type,
    per_tensor,
    require,
    same_quantization,
    same_type,
)
from .pool import in_lanes, in_order_of, one_after_other

__all__ = ["Mean", "Reduce"]

_KINDS = {"sum": "ReduceSum", "mean": "ReduceMean", "max": "ReduceMax", "min": "ReduceMin", "prod": "ReduceProd",
          "l1": "ReduceL1", "l2": "ReduceL2", "sum_square": "ReduceSumSquare", "log_sum": "ReduceLogSum",
          "log_sum_exp": "ReduceLogSumExp"}  # ours -> ONNX's
_OF_REALS = ("l1", "l2", "sum_square", "log_sum", "log_sum_exp")


@dataclass(frozen=True)
class Mean(Op):
    """input: x (N,H,W,C) int8 or float32; mean over H and W, requantized (TFLite MEAN, ONNX GlobalAveragePool).

    The output is (N,1,1,C), or (N,C) with `keep_dims` off.
    """

    one_image = True

    keep_dims: bool = True

    def infer(self, inputs: OperandList[Tensor]) -> tuple[Shape, np.dtype]:
        batch, _, _, channels = image(inputs[0])
        return ((batch, 1, 1, channels) if self.keep_dims else (batch, channels)), np.dtype(inputs[0].dtype)

    def check(self, signature: Signature) -> None:
        of_type(signature.inputs[0], np.int8, np.float32)
        if same_type(*signature.inputs, signature.output) == np.int8:
            int8(*signature.inputs, signature.output)

    def compute(self, call: Call) -> np.ndarray:
        shape = tuple(call.output.shape)
        if call.x.dtype == np.float32:
            kernel = call.once("loop", lambda: self._loop(call))
            if kernel is not None:
                return call.through(lambda x: kernel(x[0]).reshape(shape))
            own = _own_average(call, call.x)
            if own is not None:
                return own.reshape(shape)
        return _mean(self, call, (1, 2)).reshape(shape)

    def _loop(self, call: Call) -> Callable[[np.ndarray], np.ndarray] | None:
        """Of floats as ONNX Runtime adds them."""
        if call.arithmetic is not Arithmetic.FLOAT or not call.often:
            return None
        shape = call.x.shape
        return in_order_of([one_after_other(call), in_lanes(call)], partial(_own_average, call), shape)


def _own_average(call: Call, x: np.ndarray) -> np.ndarray | None:
    """ONNX Runtime's average of an image (1,H,W,C) of floats: (1,1,1,C)."""
    own = onnxruntime_kernels.run(call, "GlobalAveragePool", (), [x.transpose(0, 3, 1, 2)])
    return None if own is None else own.transpose(0, 2, 3, 1)


@dataclass(frozen=True)
class Reduce(Op):
    """One element for all along `axes`. Sums, means, maxima, minima and products take any type, and int8 results are
    requantized; the other kinds take float32."""

    kind: str  # "sum", "mean", "max", "min", "prod"; "l1", "l2", "sum_square", "log_sum", "log_sum_exp"
    axes: tuple[int, ...]
    keep_dims: bool = True
    unsigned: bool = False

    @property
    def selects(self) -> bool:
        """True where the result is one of the elements."""
        return self.kind in ("max", "min")

    def infer(self, inputs: OperandList[Tensor]) -> tuple[Shape, np.dtype]:
        x = inputs[0]
        require(self.kind in _KINDS, f"kind must be one of {', '.join(_KINDS)}, not {self.kind!r}")
        axes = {axis_of(axis, len(x.shape)) for axis in self.axes}
        kept = [1 if i in axes else int(n) for i, n in enumerate(x.shape)]
        shape = kept if self.keep_dims else [n for i, n in enumerate(kept) if i not in axes]
        return tuple(shape), np.dtype(x.dtype)

    def check(self, signature: Signature) -> None:
        x = signature.inputs[0]
        if self.kind in _OF_REALS:
            of_type(x, np.float32)
        if np.dtype(x.dtype) not in EIGHT_BITS:
            return
        require(self.kind != "prod", "a product of quantized values is not supported; dequantize them first")
        per_tensor(x, signature.output)
        if self.selects:
            same_quantization(x, signature.output)

    def layout_matters(self, signature: Signature) -> bool:
        """PyTorch's sums of floats depend on the order of the axes, ONNX Runtime's on that of the elements."""
        x = signature.inputs[0]
        if signature.torch:
            return x.quantization is None
        return signature.arithmetic is Arithmetic.FLOAT and not self.selects and np.dtype(x.dtype) == np.float32

    def permuted(self, order: tuple[int, ...]) -> "Reduce":
        return replace(self, axes=tuple(sorted(order[axis % len(order)] for axis in self.axes)))

    def dropped_axes(self, inputs: OperandList[Tensor]) -> set[int]:
        return set() if self.keep_dims else {axis % len(inputs[0].shape) for axis in self.axes}

    def compute(self, call: Call) -> np.ndarray:
        x = call.x
        axes = tuple(a % x.ndim for a in self.axes)
        if x.dtype == np.float32 and not self.selects:
            own = onnxruntime_kernels.run(call, _KINDS[self.kind], (("keepdims", int(self.keep_dims)),
                                                                    ("noop_with_empty_axes", 1)),
                                          constants=[np.array(axes, np.int64)])
            if own is not None:
                return own
        if self.kind in _OF_REALS:
            result = _norm(self.kind, x, axes)
        elif self.kind == "mean":
            result = _mean(self, call, axes)
        elif self.selects:
            result = (x.max if self.kind == "max" else x.min)(axis=axes, keepdims=True)
        elif self.kind == "prod":
            result = x.prod(axis=axes, keepdims=True, dtype=x.dtype)
        elif call.quantized:
            result = _sum(self, call, axes)
        else:
            result = x.sum(axis=axes, keepdims=True, dtype=x.dtype)
        return result.reshape(call.output.shape)


def _norm(kind: str, x: np.ndarray, axes: tuple[int, ...]) -> np.ndarray:
    if kind in ("l2", "sum_square"):
        total = (x * x).sum(axis=axes, keepdims=True)
        return np.sqrt(total) if kind == "l2" else total
    if kind == "l1":
        return np.abs(x).sum(axis=axes, keepdims=True)
    with np.errstate(all="ignore"):  # infinities and NaN are results here, as in the framework
        if kind == "log_sum":
            return np.log(x.sum(axis=axes, keepdims=True))
        # Less the largest, so that no exponential overflows.
        largest = x.max(axis=axes, keepdims=True)
        return np.log(np.exp(x - largest).sum(axis=axes, keepdims=True)) + largest


def _count(x: np.ndarray, axes: tuple[int, ...]) -> int:
    return int(np.prod([x.shape[a] for a in axes]))


def _mean(op: Op, call: Call, axes: tuple[int, ...]) -> np.ndarray:
    """FIXED: TFLite's integer MEAN (QuantizedMeanOrSum). FLOAT: MLAS's global average: one factor for all of it."""
    x = call.x
    source = call.inputs[0]
    output = call.output
    if not call.quantized and x.dtype == np.float32:  # numpy's mean takes twice as long for small arrays
        count_of_all = np.float32(_count(x, axes))
        shape_of_all = tuple(output.shape)
        return call.through(lambda values: (np.add.reduce(values, axis=axes) / count_of_all).reshape(shape_of_all))
    if not call.quantized:
        return x.mean(axis=axes, keepdims=True)
    kernel = call.once("loops", lambda: _mean_loops(op, call, axes))
    if kernel is not None:
        shape = tuple(output.shape)
        return call.through(lambda values: kernel(values).reshape(shape))
    count = _count(x, axes)
    limits = op.limits(output.dtype)
    total = summed(x, axes) - source.zero_point * count
    if call.fixed:
        multiplier, shift = mean_multiplier(float(source.scale), float(output.scale), count)
        result = multiply_by_quantized_multiplier(wrap(total), multiplier, shift) + output.zero_point
        return np.clip(result, *limits).astype(output.dtype)
    factor = float_average_scale(call.arithmetic, float(source.scale), float(output.scale), count)
    return from_sums(call.arithmetic, total, np.atleast_1d(factor), output.zero_point, limits)


def _mean_loops(op: Op, call: Call, axes: tuple[int, ...]) -> Callable[[np.ndarray], np.ndarray] | None:
    """Of int8 over neighbouring axes."""
    x = call.x
    source = call.inputs[0]
    output = call.output
    sums = summer(x.shape, axes, call.often) if x.dtype == np.int8 else None
    count = _count(x, axes)
    limits = op.limits(output.dtype)
    if sums is None or output.dtype != np.int8:
        return None
    finish: Requantizer | None
    if call.fixed:
        multiplier, shift = mean_multiplier(float(source.scale), float(output.scale), count)
        finish = by_multiplier(multiplier, shift, output.zero_point, limits, x.size, call.often)
    else:
        factor = np.atleast_1d(float_average_scale(call.arithmetic, float(source.scale), float(output.scale), count))
        finish = requantizer(call.arithmetic, factor, output.zero_point, limits, x.size, call.often)
    less = np.int32(source.zero_point * count)  # below 2**31, for there are fewer than 2**24 values
    return None if finish is None else lambda values: finish(sums(values) - less)


def _sum(op: Op, call: Call, axes: tuple[int, ...]) -> np.ndarray:
    """FIXED: TFLite's SUM, of int8 in float32 (QuantizedMeanOrSum with compute_sum), of `unsigned` by one multiplier.
    FLOAT: dequantize, sum, quantize.

    For int8 this is LiteRT's optimized kernel: the reference one reads int8 values as uint8.
    """
    source = call.inputs[0]
    output = call.output
    limits = op.limits(call.output.dtype)
    if not call.fixed:
        return from_reals(call.arithmetic, real(call.x, source).sum(axis=axes, dtype=np.float32, keepdims=True),
                          output, op)
    sums = call.once("sums", lambda: summer(call.x.shape, axes, call.often) if call.x.dtype == np.int8 else None)
    total = summed(call.x, axes) if sums is None else sums(call.x).astype(np.int64)
    count = _count(call.x, axes)
    if op.unsigned:
        factor = quantize_multiplier(float(source.scale) / float(output.scale))
        result = multiply_by_quantized_multiplier(wrap(total - source.zero_point * count), *factor)
        return np.clip(result + output.zero_point, *limits).astype(output.dtype)
    scale = source.scale / output.scale
    less = np.float32(-source.zero_point) * scale * np.float32(count)
    quantize = compiled.loop("quantize", total.size, call.often) if output.dtype == np.int8 else None
    if sums is not None and quantize is not None:
        shape = tuple(output.shape)
        zero = output.zero_point
        arguments = 1.0, zero, limits[0] - zero, limits[1] - zero, False, True  # by one, and halves away from zero

        def kernel(x: np.ndarray) -> np.ndarray:
            values = sums(x).astype(np.float32)
            values *= scale
            values += less
            result = np.empty(shape, np.int8)
            quantize(values.reshape(-1), *arguments, result.reshape(-1))
            return result
        return call.through(kernel)
    value = total.astype(np.float32) * scale + less
    return np.clip(half_away(value) + output.zero_point, *limits).astype(output.dtype)
