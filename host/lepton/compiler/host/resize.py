"""Images of another size: nearest neighbours and bilinear interpolation."""

import numpy as np

from ...graph import Resize
from .call import Call


def resize(call: Call) -> np.ndarray:
    op, x = call.op, call.x[0]
    size = call.output.shape[1:3]
    if op.mode == "nearest":
        rows, columns = (_nearest(call, axis) for axis in (0, 1))
        return x[rows][:, columns][None]
    if call.quantized and call.fixed and op.unsigned:
        return _bilinear_unsigned(x, size, op)[None]
    if call.quantized and call.fixed:
        return _bilinear_integer(x, size, op)[None]
    if call.quantized:
        return _bilinear_cut_off(call, x)[None]
    return _bilinear(call, x)[None]


def _scale(call: Call, axis: int) -> np.float32:
    """Output over input size."""
    if call.op.scales is not None:
        return np.float32(call.op.scales[axis])
    return np.float32(call.output.shape[1 + axis]) / np.float32(call.x.shape[1 + axis])


def _coordinates(call: Call, axis: int) -> np.ndarray:
    """float32 places in the input that output pixels look at (ONNX Resize, coordinate_transformation_mode)."""
    kind, size, source = call.op.coordinates, call.output.shape[1 + axis], call.x.shape[1 + axis]
    at = np.arange(size, dtype=np.float32)
    scale = _scale(call, axis)
    if kind == "asymmetric":
        return at / scale
    if kind == "align_corners":
        return at * np.float32(source - 1) / np.float32(size - 1) if size > 1 else at * 0
    if kind == "pytorch_half_pixel" and size == 1:
        return at * 0
    return (at + np.float32(0.5)) / scale - np.float32(0.5)


def _nearest(call: Call, axis: int) -> np.ndarray:
    limit = call.x.shape[1 + axis] - 1
    if call.fixed:
        places = _nearest_fixed(call, axis)
    else:
        at, kind = _coordinates(call, axis), call.op.nearest
        if kind == "floor":
            places = np.floor(at)
        elif kind == "ceil":
            places = np.ceil(at)
        elif kind == "round_prefer_floor":
            places = np.ceil(at - np.float32(0.5))
        else:
            places = np.floor(at + np.float32(0.5))
    return np.clip(places, 0, limit).astype(np.int64)


def _nearest_fixed(call: Call, axis: int) -> np.ndarray:
    """TFLite's GetNearestNeighbor: floor of the place, rounded with align_corners."""
    size, source, kind = call.output.shape[1 + axis], call.x.shape[1 + axis], call.op.coordinates
    at = np.arange(size, dtype=np.float32)
    if kind == "align_corners" and size > 1:
        return np.floor(at * (np.float32(source - 1) / np.float32(size - 1)) + np.float32(0.5))
    factor = np.float32(source) / np.float32(size)
    return np.floor((at + np.float32(0.5 if kind == "half_pixel" else 0)) * factor)


def _bilinear_integer(x: np.ndarray, size, op: Resize) -> np.ndarray:
    """TFLite's ResizeBilinearInteger: places and weights with 10 fractional bits."""
    lows, highs, weights = [], [], []
    for axis in (0, 1):
        source, target = x.shape[axis], size[axis]
        if op.coordinates == "align_corners" and target > 1:
            step = ((source - 1 << 10) + (target - 1) // 2) // (target - 1)
        else:
            step = ((source << 10) + target // 2) // target
        at = np.arange(target, dtype=np.int64) * step
        if op.coordinates == "half_pixel":
            at += step // 2 - (1 << 9)
        low = np.maximum(at >> 10, 0)
        lows.append(low)
        highs.append(np.minimum(np.maximum(at + 1023, 0) >> 10, source - 1))
        weights.append(at - (low << 10))
    x = x.astype(np.int64)
    wy, wx = weights[0][:, None, None], weights[1][None, :, None]
    total = 0
    for rows, factor_y in ((lows[0], 1024 - wy), (highs[0], wy)):
        for columns, factor_x in ((lows[1], 1024 - wx), (highs[1], wx)):
            total = total + x[rows][:, columns] * (factor_y * factor_x)
    rounded = np.abs(total) + (1 << 19) >> 20  # half away from zero, then C's division towards zero
    return np.where(total > 0, rounded, -rounded).astype(np.int8)


def _bilinear_unsigned(x: np.ndarray, size, op: Resize) -> np.ndarray:
    """TFLite's ResizeBilinear of legacy uint8 values: in float32, a half added before the fraction is cut off."""
    one, half = np.float32(1), np.float32(0.5)
    axes = []
    for source, target in zip(x.shape, size, strict=False):
        corners = op.coordinates == "align_corners" and target > 1
        scale = np.float32(source - 1) / np.float32(target - 1) if corners else np.float32(source) / np.float32(target)
        at = np.arange(target, dtype=np.float32)
        at = (at + half) * scale - half if op.coordinates == "half_pixel" else at * scale
        low = np.maximum(np.floor(at).astype(np.int64), 0)
        axes.append((low, np.minimum(np.ceil(at).astype(np.int64), source - 1), at - low.astype(np.float32)))
    (y0, y1, dy), (x0, x1, dx) = axes
    x, dy, dx = (x.astype(np.int16) + 128).astype(np.float32), dy[:, None, None], dx[None, :, None]
    total = x[y0][:, x0] * (one - dy) * (one - dx) + x[y1][:, x0] * dy * (one - dx)
    total = total + x[y0][:, x1] * (one - dy) * dx + x[y1][:, x1] * dy * dx + half
    return (total.astype(np.int16) - 128).astype(np.int8)


def _neighbours(call: Call, axis: int, size: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Places in the input in float32, and the pixels before and behind them."""
    at = np.clip(_coordinates(call, axis), 0, size - 1).astype(np.float32)
    low = np.minimum(at.astype(np.int64), size - 1)
    return at, low, np.minimum(low + 1, size - 1)


def _bilinear_cut_off(call: Call, x: np.ndarray) -> np.ndarray:
    """ONNX Runtime's NhwcUpsampleBilinearInteger: 10 fractional bits of each place, then C's division."""
    axes = []
    for axis in (0, 1):
        at, low, high = _neighbours(call, axis, x.shape[axis])
        steps = (at * np.float32(1024)).astype(np.int64)
        near, far = np.abs(steps - (low << 10)), np.abs(steps - (high << 10))
        same = low == high
        axes.append((low, high, np.where(same, 512, far), np.where(same, 512, near)))
    up = 128 if call.op.unsigned else 0
    x, (y_axis, x_axis) = x.astype(np.int64) + up, axes
    total = sum(x[y_axis[row]][:, x_axis[column]] * (y_axis[2 + row][:, None] * x_axis[2 + column][None])[..., None]
                for row in (0, 1) for column in (0, 1))
    return (np.sign(total) * (np.abs(total) >> 20) - up).astype(np.int8)


def _bilinear(call: Call, x: np.ndarray) -> np.ndarray:
    """ONNX Runtime's UpsampleBilinear, in float32."""
    lows, highs, weights = [], [], []
    for axis in (0, 1):
        at, low, high = _neighbours(call, axis, x.shape[axis])
        lows.append(low)
        highs.append(high)
        near, far = np.abs(at - low), np.abs(at - high)
        same = low == high
        weights.append((np.where(same, np.float32(0.5), far), np.where(same, np.float32(0.5), near)))
    x = x.astype(np.float32)
    (far_y, near_y), (far_x, near_x) = weights
    total = np.float32(0)
    for factor_y, factor_x, rows, columns in (
            (far_y, far_x, lows[0], lows[1]), (far_y, near_x, lows[0], highs[1]),
            (near_y, far_x, highs[0], lows[1]), (near_y, near_x, highs[0], highs[1])):
        total = total + (factor_y[:, None] * factor_x[None])[..., None].astype(np.float32) * x[rows][:, columns]
    return total
