"""Pools: the largest value or the average of the pixels in a window.

Sources: tensorflow/lite/kernels/internal/reference/integer_ops/pooling.h, and reference/pooling.h for legacy uint8;
onnxruntime/contrib_ops/cpu/quantization/qlinear_pool.cc.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from math import prod

import numpy as np

from ..core import FULL, Arithmetic, Call, Op, OperandList, Padding, Pair, Shape, Signature, Tensor
from ..numerics import compiled, onnxruntime_kernels
from ..numerics.requantize import from_reals, real, rounding_of_reals
from .conditions import clamp_range, image, int8, of_type, require, same_quantization, same_type
from .windows import NONE, folded, window_size, windows

__all__ = ["AveragePool2D", "MaxPool2D"]

# ONNX Runtime computes averages of floats with MLAS up to this opset, and with a plain loop for later ones.
_MLAS_OPSET = 18
# Results (and at most _TRIES images) that are compared before an order of sums counts as ONNX Runtime's. About half of
# the sums of a few floats are the same in another order, so chance passes less than one in 2**64.
_COMPARED = 256
_TRIES = 64

Image = Callable[[np.ndarray], np.ndarray]  # from (H,W,C) to (1,H,W,C)
# How far scales of input and output may differ, as TFLite's pools demand (Prepare in kernels/pooling.cc).
_SCALE_TOLERANCE = 1e-6


@dataclass(frozen=True)
class _PoolOp(Op):
    """Base of the pools."""

    keeps_quantization = True
    one_image = True

    kernel: Pair = (2, 2)
    stride: Pair = (2, 2)
    padding: Padding = NONE
    clamp: Pair = FULL
    dilation: Pair = (1, 1)

    def infer(self, inputs: OperandList[Tensor]) -> tuple[Shape, np.dtype]:
        x = inputs[0]
        batch, _, _, channels = image(x)
        size = window_size(x, self.kernel, self.stride, self.dilation, self.padding)
        for before_after, kernel in zip(self.padding, self.kernel, strict=True):  # as ONNX Runtime demands
            require(max(before_after) < kernel, f"padding {self.padding} must be less than the kernel "
                    f"{tuple(self.kernel)}, or a window lies wholly in the padding")
        return (batch, *size, channels), np.dtype(x.dtype)

    def _check(self, signature: Signature, same: bool) -> None:
        x = signature.inputs[0]
        y = signature.output
        of_type(x, np.int8, np.float32)
        clamp_range(self.clamp)
        if same_type(x, y) != np.int8:
            return
        int8(x, y)
        if same and signature.fixed:
            require(abs(float(x.scale) - float(y.scale)) <= _SCALE_TOLERANCE and x.zero_point == y.zero_point,
                    f"{x.name!r} and {y.name!r} must have the same scale and zero point, not {x.scale!s}, "
                    f"{x.zero_point} and {y.scale!s}, {y.zero_point}")
        elif same:
            same_quantization(x, y)


@dataclass(frozen=True)
class MaxPool2D(_PoolOp):
    """input: x (N,H,W,C) int8 or float32. Padding, less than the kernel, takes no part in the maximum.

    Input and output have the same quantization; with `Arithmetic.FIXED` scales may differ by 1e-6, as in TFLite.
    """

    def check(self, signature: Signature) -> None:
        self._check(signature, same=True)

    def compute(self, call: Call) -> np.ndarray:
        kernel = call.once("loop", lambda: self._loop(call))
        if kernel is not None:
            return call.through(lambda x: kernel(x[0]))
        x = call.x[0]
        lowest = np.iinfo(x.dtype).min if x.dtype.kind in "iu" else -np.inf
        result = folded(np.maximum, x, self.kernel, self.stride, self.dilation, self.padding, lowest)[None]
        return np.clip(result, *self.limits(x.dtype)).astype(x.dtype, copy=False) if call.quantized else result


    def _loop(self, call: Call) -> Callable[[np.ndarray], np.ndarray] | None:
        """From one image (H,W,C) to (1,H,W,C)."""
        dtype = call.x.dtype
        shape = tuple(call.output.shape)
        limits: tuple[int, ...] = ()
        if dtype == np.float32 and not call.quantized:
            name = "largest_float"
        elif dtype == np.int8:
            name = "largest"
            limits = self.limits(dtype) if call.quantized else FULL
        else:
            return None
        (top, _), (left, _) = self.padding
        window = *self.kernel, *self.stride, *self.dilation, top, left, *limits
        return _looped(compiled.loop(name, prod(shape), call.often), window, shape, dtype)


def _looped(loop: compiled.Loop | None, arguments: tuple[object, ...], shape: Shape, dtype: np.dtype
            ) -> Callable[[np.ndarray], np.ndarray] | None:
    if loop is None:
        return None

    def kernel(x: np.ndarray) -> np.ndarray:
        result = np.empty(shape, dtype)
        loop(x, *arguments, result[0])
        return result
    return kernel


def _divided(total: np.ndarray, count: np.ndarray, up: bool, limits: Pair) -> np.ndarray:
    """int32 sums over counts, half away from zero, or half up, and clamped; whole numbers as floats."""
    # Sums are at most 128 * count, plus half of count; float32 holds integers up to 2**24 and is faster than float64.
    exact: type[np.floating] = np.float32 if 129 * int(count.max()) < 1 << 24 else np.float64
    half = (count // 2).astype(exact)
    value: np.ndarray = total.astype(exact)
    value += half if up else np.copysign(half, value)
    value /= count.astype(exact)  # a quotient below a whole number stays below when rounded
    whole = np.floor(value, out=value) if up else np.trunc(value, out=value)
    return np.clip(whole, *limits, out=whole)


@dataclass(frozen=True)
class AveragePool2D(_PoolOp):
    """input: x (N,H,W,C) int8 or float32. Padding, less than the kernel, is not counted, unless `count_padding`.

    With `Arithmetic.FIXED` input and output have the same quantization, as for `MaxPool2D`. `in_order`: floats are
    added in the order of the window's pixels, as ONNX Runtime does it from opset 19 on.
    """

    count_padding: bool = False
    unsigned: bool = False
    in_order: bool = False

    def check(self, signature: Signature) -> None:
        self._check(signature, same=signature.fixed)

    def compute(self, call: Call) -> np.ndarray:
        """FIXED: integer division, half away from zero, or half up where the framework has uint8.

        FLOAT: sums of float32 in the order of the window's pixels (ONNX Runtime's QLinearAveragePool).
        """
        def taps(values: np.ndarray) -> np.ndarray:
            return windows(values, self.kernel, self.stride, self.dilation, self.padding)

        kernel = call.once("loop", lambda: self._loop(call))
        if kernel is not None:
            return call.through(lambda x: kernel(x[0]))
        x = call.x[0]
        if self.count_padding:
            count = np.full((1, 1, 1), self.kernel[0] * self.kernel[1])
        else:
            count = self._sums(np.ones((*x.shape[:2], 1), np.int64))
        if call.quantized and call.fixed:
            total = self._sums(x.astype(np.int32))
            return _divided(total, count, self.unsigned, self.limits(x.dtype)).astype(x.dtype)[None]
        if not call.quantized and not self.in_order and self.dilation == (1, 1):
            own = self._own(call, call.x)
            if own is not None:
                return own
        view = taps(real(x, call.inputs[0]) if call.quantized else x)
        total = np.zeros(view.shape[:3], np.float32)
        for ky, kx in np.ndindex(*self.kernel):
            total += view[..., ky, kx]
        mean = total / count.astype(np.float32)
        return (from_reals(call.arithmetic, mean, call.output, self) if call.quantized else mean)[None]

    def _sums(self, x: np.ndarray) -> np.ndarray:
        """Integers of an image (H,W,C), added in each window."""
        return folded(np.add, x, self.kernel, self.stride, self.dilation, self.padding)

    def _own(self, call: Call, x: np.ndarray) -> np.ndarray | None:
        """ONNX Runtime's average of an image (1,H,W,C) of floats."""
        settings = (("kernel_shape", self.kernel), ("strides", self.stride),
                    ("pads", tuple(n for side in zip(*self.padding, strict=True) for n in side)),
                    ("count_include_pad", int(self.count_padding)))
        own = onnxruntime_kernels.run(call, "AveragePool", settings, [x.transpose(0, 3, 1, 2)], opset=_MLAS_OPSET)
        return None if own is None else own.transpose(0, 2, 3, 1)

    def _loop(self, call: Call) -> Image | None:
        """From one image (H,W,C) to (1,H,W,C)."""
        if self.dilation != (1, 1):
            return None
        dtype = call.x.dtype
        shape = tuple(call.output.shape)
        (top, _), (left, _) = self.padding
        window: tuple[object, ...] = (*self.kernel, *self.stride, top, left, self.count_padding)
        if call.quantized and call.fixed and dtype == np.int8 and 129 * prod(self.kernel) < 1 << 24:
            name = "average"
            window = *window, self.unsigned, *self.limits(dtype)
        elif call.quantized and not call.fixed and dtype == np.int8:
            name = "average_reals"
            source = call.inputs[0]
            reals = rounding_of_reals(call.arithmetic, call.output, self)
            window = (*window, float(source.scale), float(source.zero_point), *reals)
        elif not call.quantized and dtype == np.float32 and (self.in_order or call.fixed):
            name = "average_float"
        elif call.arithmetic is Arithmetic.FLOAT and dtype == np.float32 and call.often:
            orders = [_looped(compiled.loop(name, prod(shape), call.often), window, shape, dtype)
                      for name in ("average_float", "average_down")]
            whole = self.kernel == call.x.shape[1:3] and self.padding == NONE
            return in_order_of([*orders, in_lanes(call) if whole else None], partial(self._own, call), call.x.shape)
        else:
            return None
        return _looped(compiled.loop(name, prod(shape), call.often), window, shape, dtype)


def in_lanes(call: Call) -> Image | None:
    """The average of an image of float32 by 4 sums, as MLAS computes it (MlasPoolGlobalKernel in
    onnxruntime/core/mlas/lib/pooling.cpp); None where no loop is to be used."""
    loop = compiled.loop("average_lanes", call.x.size, call.often)
    if loop is None:
        return None

    def kernel(x: np.ndarray) -> np.ndarray:
        channels = x.shape[-1]
        result = np.empty((1, 1, 1, channels), np.float32)
        loop(x.reshape(-1, channels), result.reshape(channels))
        return result
    return kernel


def one_after_other(call: Call) -> Image | None:
    """The average of an image of float32, added pixel after pixel; None where no loop is to be used."""
    _, height, width, channels = call.x.shape
    window = height, width, 1, 1, 0, 0, False
    return _looped(compiled.loop("average_float", call.x.size, call.often), window, (1, 1, 1, channels), call.x.dtype)


def in_order_of(kernels: Sequence[Image | None], own: Callable[[np.ndarray], np.ndarray | None], shape: Shape
                ) -> Image | None:
    """The first of `kernels` that adds floats in the order of `own`: it gives each bit of its results for random images
    (1,H,W,C) of `shape`. None where none does.

    ONNX Runtime has several orders. Which one it takes depends on strides, paddings, channels and the processor.
    """
    random = np.random.default_rng(0)
    left = list(kernels)
    compared = tries = 0
    while compared < _COMPARED and tries < _TRIES:
        image = random.normal(size=shape).astype(np.float32)
        wanted = own(image)
        if wanted is None:
            return None
        left = [k for k in left if k is not None and np.array_equal(k(image[0]), wanted)]
        compared += wanted.size
        tries += 1
    return left[0] if left else None
