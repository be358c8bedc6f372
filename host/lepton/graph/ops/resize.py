"""Images of another size: nearest neighbours and bilinear interpolation.

Sources: tensorflow/lite/kernels/internal/reference/{resize_bilinear,resize_nearest_neighbor}.h;
onnxruntime/core/providers/cpu/tensor/{upsample.cc,upsample.h,upsamplebase.h}.
"""

from dataclasses import dataclass
from math import prod

import numpy as np

from ..core import Call, OperandList, Pair, Shape, Tensor
from ..numerics import compiled
from ..operands import OfOne
from .conditions import image, require
from .interpolation import Grid, Weights, cut_off_weights, float_weights, integer_weights, nearest_places
from .move import Move

__all__ = ["Resize"]

_COORDINATES = ("half_pixel", "asymmetric", "align_corners", "pytorch_half_pixel", "pytorch_nearest")
_BLOCK = 1 << 15  # results at a time: 128 KiB of int32 stay in the second-level cache
# How sums with 20 fractional bits become results, (total + (below zero ? first : 0) + second) >> 20: rounded half away
# from zero (TFLite), or towards zero (the C division of ONNX Runtime).
_HALF_AWAY = -1, 1 << 19
_TOWARDS_ZERO = (1 << 20) - 1, 0
_ROUNDINGS = ("floor", "round_prefer_floor", "round_prefer_ceil", "ceil")


@dataclass(frozen=True)
class Resize(Move):
    """input: x (N,H,W,C) to `size` (height, width). `mode` is "nearest" or "bilinear".

    `coordinates` is how an output pixel's place in the input is computed: "half_pixel", "asymmetric", "align_corners"
    or "pytorch_half_pixel" (names of ONNX Resize), or "pytorch_nearest" ("asymmetric" in PyTorch's arithmetic);
    `nearest` how that place is rounded: "floor", "round_prefer_floor", "round_prefer_ceil" or "ceil".
    `scales` (y, x) where the framework states them, else output over input size. Bilinear of int8 is
    what TFLite's kernels for int8 or (`unsigned`) uint8 do; with `Arithmetic.FLOAT` it has weights of 10 bits, or is
    computed `in_float`, and cuts fractions off, of uint8 values if `unsigned`.
    """

    one_image = True

    size: Pair
    mode: str = "nearest"
    coordinates: str = "half_pixel"
    nearest: str = "round_prefer_floor"
    scales: tuple[float, float] | None = None
    unsigned: bool = False
    in_float: bool = False

    def infer(self, inputs: OperandList[Tensor]) -> tuple[Shape, np.dtype]:
        batch, _, _, channels = image(inputs[0])
        require(min(self.size) >= 1, f"the size must be at least (1, 1), not {self.size}")
        require(self.mode in ("nearest", "bilinear"), f"mode must be nearest or bilinear, not {self.mode!r}")
        require(self.coordinates in _COORDINATES,
                f"coordinates must be one of {', '.join(_COORDINATES)}, not {self.coordinates!r}")
        require(self.nearest in _ROUNDINGS, f"nearest must be one of {', '.join(_ROUNDINGS)}, not {self.nearest!r}")
        require(self.scales is None or all(np.isfinite(s) and s > 0 for s in self.scales),
                f"scales must be positive and finite, not {self.scales}")
        return (batch, int(self.size[0]), int(self.size[1]), channels), np.dtype(inputs[0].dtype)

    @property
    def grid(self) -> Grid:
        return Grid(self.size, self.coordinates, self.nearest, self.scales)

    def compute(self, call: Call) -> np.ndarray:
        x = call.x[0]
        if self.mode == "nearest":
            rows, columns = call.once("places", lambda: [nearest_places(self.grid, call.fixed, axis, x.shape[axis])
                                                         for axis in (0, 1)])
            loop = compiled.loop("nearest", prod(call.output.shape), call.often)
            if loop is None:
                return x.take(rows, axis=0).take(columns, axis=1)[None]
            made = np.empty(call.output.shape, x.dtype)
            loop(np.ascontiguousarray(x).view(np.uint8), rows, columns, made[0].view(np.uint8))
            return made
        if not call.quantized:
            kernel = _bilinear(x.shape, self, call.often)
            return call.through(lambda image: kernel(image[0])[None])
        if self.in_float:
            kernel = _cut_off(x.shape, self, call.often)
            return call.through(lambda image: kernel(image[0])[None])
        if call.fixed and self.unsigned:
            return _bilinear_unsigned(x, self.size, self)[None]
        if call.fixed:
            kernel = _weighted(x.shape, integer_weights(x.shape, self.grid), _HALF_AWAY, call.often)
            return call.through(lambda image: kernel(image[0])[None])
        kernel = _weighted(x.shape, cut_off_weights(x.shape, self.grid), _TOWARDS_ZERO, call.often)
        if not self.unsigned:
            return call.through(lambda image: kernel(image[0])[None])
        up = np.uint8(128)
        return call.through(lambda image: (kernel(image[0].view(np.uint8) ^ up) ^ up).view(np.int8)[None])


def _weighted(shape: Shape, weights: Weights, rounding: Pair, often: bool) -> OfOne:
    """Of images of `shape`: sums of four pixels times two weights of 10 bits each, divided; int8 or uint8.

    First between columns, then between rows: the integers are those of the products of two weights.
    """
    used, upper, lower = weights.rows
    size = len(upper), len(weights.lows[1]), shape[2]
    loop = compiled.loop("bilinear", prod(size), often)
    if loop is None:
        return lambda x: _weighted_in_numpy(x, weights, rounding)
    down = np.stack([upper, lower, weights.low_weights[0], weights.high_weights[0]]).astype(np.int32)
    across = np.stack([weights.lows[1], weights.highs[1], weights.low_weights[1], weights.high_weights[1]])
    across = across.astype(np.int32)
    between = (len(used), *size[1:])
    flat = size[0], size[1] * size[2]

    def kernel(x: np.ndarray) -> np.ndarray:
        made = np.empty(size, x.dtype)
        loop(x.view(np.int8), used, 255 if x.dtype == np.uint8 else -1, down, across, *rounding,
             np.empty(between, np.int32), made.view(np.int8).reshape(flat))
        return made
    return kernel


def _weighted_in_numpy(x: np.ndarray, weights: Weights, rounding: Pair) -> np.ndarray:
    low_y, low_x = weights.low_weights
    high_y, high_x = weights.high_weights
    lows = weights.lows
    highs = weights.highs
    used, upper, lower = weights.rows
    below_zero, half = rounding
    source = x.take(used, axis=0) if len(used) < len(x) else x[used[0]:used[-1] + 1]
    between = source.take(lows[1], axis=1).astype(np.int32)
    between *= low_x[:, None]
    other = source.take(highs[1], axis=1).astype(np.int32)
    other *= high_x[:, None]
    between += other
    flat = between.reshape(len(source), -1)
    result = np.empty((len(lows[0]), flat.shape[1]), x.dtype)
    each = max(_BLOCK // flat.shape[1], 1)
    for start in range(0, len(result), each):
        rows = slice(start, start + each)
        total = flat.take(upper[rows], axis=0)
        total *= low_y[rows, None]
        other = flat.take(lower[rows], axis=0)
        other *= high_y[rows, None]
        total += other
        total += (total >> 31) & below_zero
        total += half
        total >>= 20
        result[rows] = total
    return result.reshape(len(result), -1, x.shape[2])


def _bilinear_unsigned(x: np.ndarray, size: Pair, op: Resize) -> np.ndarray:
    """TFLite's ResizeBilinear of legacy uint8 values: in float32, a half added before the fraction is cut off."""
    one = np.float32(1)
    half = np.float32(0.5)
    axes = []
    for source, target in zip(x.shape, size, strict=False):
        corners = op.coordinates == "align_corners" and target > 1
        scale = np.float32(source - 1) / np.float32(target - 1) if corners else np.float32(source) / np.float32(target)
        at = np.arange(target, dtype=np.float32)
        at = (at + half) * scale - half if op.coordinates == "half_pixel" else at * scale
        low = np.maximum(np.floor(at).astype(np.int64), 0)
        axes.append((low, np.minimum(np.ceil(at).astype(np.int64), source - 1), at - low.astype(np.float32)))
    (y0, y1, dy), (x0, x1, dx) = axes
    x = x.astype(np.float32) + np.float32(128)
    dy = dy[:, None, None]
    dx = dx[:, None]
    result = np.empty((*size, x.shape[2]), np.int8)
    each = max(_BLOCK // (size[1] * x.shape[2]), 1)
    for start in range(0, size[0], each):
        rows = slice(start, start + each)
        upper = x[y0[rows]] * (one - dy[rows])
        lower = x[y1[rows]] * dy[rows]
        total = upper[:, x0]
        total *= one - dx
        for part, columns, factor in ((lower, x0, one - dx), (upper, x1, dx), (lower, x1, dx)):
            term = part[:, columns]
            term *= factor
            total += term
        total += half
        result[rows] = (total.astype(np.int16) - np.int16(128)).astype(np.int8)
    return result


def _cut_off(shape: Shape, op: Resize, often: bool) -> OfOne:
    """int8 as ONNX Runtime interpolates 8-bit values: in float32, which is then cast (upsample.h)."""
    up = np.float32(128 if op.unsigned else 0)
    bilinear = _bilinear(shape, op, often)
    size = *op.size, shape[2]
    loop = compiled.loop("cut_off", prod(size), often)
    addend = int(up)

    def kernel(x: np.ndarray) -> np.ndarray:
        made = bilinear(np.add(x, up, dtype=np.float32) if addend else x)
        if loop is None:
            return (np.trunc(made) - up).astype(np.int8)
        result = np.empty(size, np.int8)
        loop(made.reshape(-1), addend, result.reshape(-1))
        return result
    return kernel


def _bilinear(shape: Shape, op: Resize, often: bool) -> OfOne:
    """ONNX Runtime's UpsampleBilinear of images of `shape`, in float32."""
    weights = float_weights(shape, op.grid)
    size = *op.size, shape[2]
    loop = compiled.loop("bilinear_float", prod(size), often)
    if loop is None:
        return lambda x: _bilinear_in_numpy(x, weights, op.size)
    # float64 holds places and weights
    down, across = (np.stack([weights.lows[axis], weights.highs[axis], weights.low_weights[axis],
                              weights.high_weights[axis]]).astype(np.float64) for axis in (0, 1))

    def kernel(x: np.ndarray) -> np.ndarray:
        total = np.empty(size, np.float32)
        loop(x.astype(np.float32, copy=False), down, across, total)
        return total
    return kernel


def _bilinear_in_numpy(x: np.ndarray, weights: Weights, size: Pair) -> np.ndarray:
    lows = weights.lows
    highs = weights.highs
    far_y, far_x = weights.low_weights
    near_y, near_x = weights.high_weights
    x = x.astype(np.float32, copy=False)
    total = np.empty((*size, x.shape[2]), np.float32)
    each = max(_BLOCK // (size[1] * x.shape[2]), 1)
    for start in range(0, size[0], each):
        rows = slice(start, start + each)
        made = total[start:start + each]
        made[...] = 0
        for factor_y, factor_x, row, columns in (
                (far_y, far_x, lows[0], lows[1]), (far_y, near_x, lows[0], highs[1]),
                (near_y, far_x, highs[0], lows[1]), (near_y, near_x, highs[0], highs[1])):
            term = x.take(row[rows], axis=0).take(columns, axis=1)
            term *= (factor_y[rows, None] * factor_x[None])[..., None].astype(np.float32)
            made += term
    return total
