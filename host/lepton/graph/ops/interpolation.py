"""Where in an image the pixels of a resized one come from, and with what weights.

Sources: tensorflow/lite/kernels/internal/reference/{resize_bilinear,resize_nearest_neighbor}.h;
onnxruntime/core/providers/cpu/tensor/{upsample.cc,upsample.h,upsamplebase.h}.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from math import gcd

import numpy as np

from ..core import Pair, Shape

_ONE = 1 << 10  # the weight 1: both frameworks' integer kernels have weights of 10 bits


@dataclass(frozen=True)
class Grid:
    """The pixels of the result in the coordinates of the input: the attributes of `Resize` of these names."""

    size: Pair
    coordinates: str
    nearest: str
    scales: tuple[float, float] | None


def _coordinates(grid: Grid, axis: int, source: int) -> np.ndarray:
    """float32 places in the `source` pixels of the input that output pixels look at (ONNX Resize,
    coordinate_transformation_mode)."""
    kind = grid.coordinates
    size = grid.size[axis]
    at = np.arange(size, dtype=np.float32)
    scale = np.float32(size) / np.float32(source) if grid.scales is None else np.float32(grid.scales[axis])
    if kind == "asymmetric":
        return at / scale
    if kind == "pytorch_nearest":
        # nearest_idx in PyTorch 2.13's aten/src/ATen/native/UpSample.h: no stated scale for as many pixels, or twice
        if grid.scales is None or size in (source, 2 * source):
            return at * np.float32(np.float32(source) / np.float32(size))
        return at * np.float32(1 / grid.scales[axis])
    if kind == "align_corners":
        return at * np.float32(source - 1) / np.float32(size - 1) if size > 1 else at * 0
    if kind == "pytorch_half_pixel" and size == 1:
        return at * 0
    return (at + np.float32(0.5)) / scale - np.float32(0.5)


def nearest_places(grid: Grid, fixed: bool, axis: int, source: int) -> np.ndarray:
    if fixed:
        places = _nearest_fixed(grid, axis, source)
    else:
        at = _coordinates(grid, axis, source)
        if grid.nearest == "floor":
            places = np.floor(at)
        elif grid.nearest == "ceil":
            places = np.ceil(at)
        elif grid.nearest == "round_prefer_floor":
            places = np.ceil(at - np.float32(0.5))
        else:
            places = np.floor(at + np.float32(0.5))
    return np.clip(places, 0, source - 1).astype(np.int64)


def _nearest_fixed(grid: Grid, axis: int, source: int) -> np.ndarray:
    """TFLite's GetNearestNeighbor: floor of the place, rounded with align_corners."""
    size = grid.size[axis]
    kind = grid.coordinates
    at = np.arange(size, dtype=np.float32)
    if kind == "align_corners" and size > 1:
        return np.floor(at * (np.float32(source - 1) / np.float32(size - 1)) + np.float32(0.5))
    factor = np.float32(source) / np.float32(size)
    return np.floor((at + np.float32(0.5 if kind == "half_pixel" else 0)) * factor)


@dataclass(frozen=True)
class Weights:
    """Pixels and their int32 weights along (y, x), for sums of four pixels times two weights of 10 bits each.

    Weights are -512 to 1536 and two add up to 1024, so sums fit in int32.
    """

    lows: Sequence[np.ndarray]
    highs: Sequence[np.ndarray]
    low_weights: Sequence[np.ndarray]
    high_weights: Sequence[np.ndarray]

    @cached_property
    def rows(self) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Rows of the input that are used, and where in them the upper and lower ones are."""
        used, places = np.unique(np.concatenate([self.lows[0], self.highs[0]]), return_inverse=True)
        return used, places[:len(self.lows[0])], places[len(self.lows[0]):]


def integer_weights(shape: Shape, grid: Grid) -> Weights:
    """TFLite's ResizeBilinearInteger: places and weights with 10 fractional bits."""
    lows = []
    highs = []
    weights = []
    for axis in (0, 1):
        source = shape[axis]
        target = grid.size[axis]
        if grid.coordinates == "align_corners" and target > 1:
            step = ((source - 1 << 10) + (target - 1) // 2) // (target - 1)
        else:
            step = ((source << 10) + target // 2) // target
        # Steps and places have 10 fractional bits (ComputeInterpolationValuesInteger).
        at = np.arange(target, dtype=np.int64) * step
        if grid.coordinates == "half_pixel":
            at += step // 2 - (1 << 9)
        low = np.clip(at >> 10, 0, source - 1)  # TFLite reads beyond the row where a rounded step leads there
        lows.append(low)
        highs.append(np.minimum(np.maximum(at + 1023, 0) >> 10, source - 1))
        weights.append((at - (low << 10)).astype(np.int32))
    return Weights(lows, highs, [_ONE - w for w in weights], weights)


@dataclass(frozen=True)
class Taps:
    """What one output position along an axis is made of: input positions from `first` on, by whole weights without a
    common divisor."""

    first: int
    weights: tuple[int, ...]

    @classmethod
    def of(cls, low: int, low_weight: int, high: int, high_weight: int) -> "Taps":
        """Of two positions, the second of which is the first or follows it."""
        if low == high or high_weight == 0:
            return cls(low, (1,))
        if low_weight == 0:
            return cls(high, (1,))
        divisor = gcd(low_weight, high_weight)
        return cls(low, (low_weight // divisor, high_weight // divisor))

    @property
    def total(self) -> int:
        return sum(self.weights)


def taps_of(weights: Weights, axis: int) -> list[Taps]:
    """The taps along an axis, 0 or 1, of integer weights."""
    columns = (weights.lows[axis], weights.low_weights[axis], weights.highs[axis], weights.high_weights[axis])
    return [Taps.of(*map(int, row)) for row in zip(*columns, strict=True)]


def exact_taps(source: int, target: int, corners: bool) -> list[Taps]:
    """Bilinear interpolation of `source` pixels to `target` by rational places, as torch.nn.functional.interpolate
    defines them (area_pixel_compute_source_index in PyTorch 2.13's aten/src/ATen/native/UpSample.h)."""
    found = []
    parts = max(target - 1, 1) if corners else 2 * target
    for at in range(target):
        place = at * (source - 1) * (target > 1) if corners else max((2 * at + 1) * source - target, 0)
        low, near = divmod(place, parts)
        found.append(Taps.of(low, parts - near, min(low + 1, source - 1), near))
    return found


def taps_matrix(taps: list[Taps], source: int) -> np.ndarray:
    """int64 (positions, source): the weights as a matrix."""
    matrix = np.zeros((len(taps), source), np.int64)
    for row, one in zip(matrix, taps, strict=True):
        row[one.first:one.first + len(one.weights)] = one.weights
    return matrix


def _neighbours(grid: Grid, axis: int, size: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Places in the input of `size` pixels in float32, and the pixels before and behind them."""
    at = np.clip(_coordinates(grid, axis, size), 0, size - 1).astype(np.float32)
    low = np.minimum(at.astype(np.int64), size - 1)
    return at, low, np.minimum(low + 1, size - 1)


def cut_off_weights(shape: Shape, grid: Grid) -> Weights:
    """ONNX Runtime's NhwcUpsampleBilinearInteger: 10 fractional bits of each place, then C's division."""
    axes = []
    for axis in (0, 1):
        at, low, high = _neighbours(grid, axis, shape[axis])
        steps = (at * np.float32(1024)).astype(np.int64)
        near = np.abs(steps - (low << 10))
        far = np.abs(steps - (high << 10))
        # Where both neighbours are the last pixel, ONNX Runtime gives each half of the weight.
        same = low == high
        axes.append((low, high, np.where(same, 512, far).astype(np.int32), np.where(same, 512, near).astype(np.int32)))
    return Weights(*zip(*axes, strict=True))


def float_weights(shape: Shape, grid: Grid) -> Weights:
    """Of pixels (far, near), in float32."""
    lows = []
    highs = []
    weights = []
    for axis in (0, 1):
        at, low, high = _neighbours(grid, axis, shape[axis])
        lows.append(low)
        highs.append(high)
        near = np.abs(at - low.astype(np.float32))
        far = np.abs(at - high.astype(np.float32))  # rounded, as in ONNX Runtime
        same = low == high
        weights.append((np.where(same, np.float32(0.5), far), np.where(same, np.float32(0.5), near)))
    return Weights(lows, highs, [far for far, _ in weights], [near for _, near in weights])
