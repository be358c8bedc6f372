"""PyTorch's pools of floats in numpy, over any number of axes; x is (..., *image). And windows as columns."""

from collections.abc import Callable, Iterator, Sequence
from itertools import product
from typing import Any

import numpy as np

Array = np.ndarray


def _each(value: Any, axes: int, default: Sequence[int] | None = None) -> list[int]:
    if default is not None and (value is None or (isinstance(value, list | tuple) and not value)):
        return list(default)
    values = list(value) if isinstance(value, list | tuple) else [value]
    return [int(v) for v in (values * axes if len(values) == 1 else values)]


def _size(n: int, kernel: int, stride: int, padding: int, dilation: int, ceil: bool) -> int:
    """pooling_output_shape of aten/src/ATen/native/Pool.h."""
    free = n + 2 * padding - dilation * (kernel - 1) - 1
    size = (free + (stride - 1 if ceil else 0)) // stride + 1
    return size - 1 if ceil and (size - 1) * stride >= n + padding else size


def _taps(x: Array, kernel: list[int], stride: list[int], padding: list[int], dilation: list[int], sizes: list[int],
          fill: float) -> Iterator[Array]:
    """For each place in the window, in order, the elements of all windows at that place."""
    axes = len(kernel)
    reach = [(m - 1) * s + (k - 1) * d + 1 for m, s, k, d in zip(sizes, stride, kernel, dilation, strict=True)]
    widths = [(p, max(r - n - p, 0)) for p, r, n in zip(padding, reach, x.shape[-axes:], strict=True)]
    padded = np.pad(x, [(0, 0)] * (x.ndim - axes) + widths, constant_values=fill)
    for tap in product(*map(range, kernel)):
        window = [slice(t * d, t * d + (m - 1) * s + 1, s)
                  for t, d, m, s in zip(tap, dilation, sizes, stride, strict=True)]
        leading = [slice(None)] * (x.ndim - axes)
        yield padded[tuple(leading + window)]


def average(axes: int) -> Callable[..., Array]:
    def pool(x: Array, kernel_size: Any, stride: Any = (), padding: Any = 0, ceil_mode: bool = False,
             count_include_pad: bool = True, divisor_override: int | None = None) -> Array:
        kernel = _each(kernel_size, axes)
        steps = _each(stride, axes, kernel)
        border = _each(padding, axes)
        ones = [1] * axes
        image = x.shape[-axes:]
        sizes = [_size(*axis, 1, ceil_mode) for axis in zip(image, kernel, steps, border, strict=True)]
        total = np.zeros((*x.shape[:-axes], *sizes), np.float32)
        for part in _taps(x, kernel, steps, border, ones, sizes, 0.0):
            total += part
        counts = np.ones((), np.float32)
        for n, k, s, p, m in zip(image, kernel, steps, border, sizes, strict=True):
            begin = np.arange(m) * s - p
            end = np.minimum(begin + k, n + p)
            inside = np.minimum(end, n) - np.maximum(begin, 0)
            counts = np.multiply.outer(counts, (end - begin if count_include_pad else inside).astype(np.float32))
        return total / (np.float32(divisor_override) if divisor_override else counts)

    return pool


def largest(axes: int) -> Callable[..., Array]:
    def pool(x: Array, kernel_size: Any, stride: Any = (), padding: Any = 0, dilation: Any = 1,
             ceil_mode: bool = False) -> Array:
        kernel = _each(kernel_size, axes)
        steps = _each(stride, axes, kernel)
        border = _each(padding, axes)
        spread = _each(dilation, axes)
        sizes = [_size(*axis, ceil_mode) for axis in zip(x.shape[-axes:], kernel, steps, border, spread, strict=True)]
        result = np.full((*x.shape[:-axes], *sizes), -np.inf, np.float32)
        for part in _taps(x, kernel, steps, border, spread, sizes, -np.inf):
            np.maximum(result, part, out=result)
        return result

    return pool


def adaptive(axes: int, kind: str) -> Callable[..., Array]:
    """Every output is the mean or maximum of inputs from floor to ceil of its share."""
    def pool(x: Array, size: Any) -> Array:
        sizes = [n if m is None else m for m, n in zip(size if isinstance(size, list | tuple) else [size] * axes,
                                                       x.shape[-axes:], strict=True)]
        for axis, m in enumerate(sizes, x.ndim - axes):
            n = x.shape[axis]
            shares = [(i * n // m, -(-(i + 1) * n // m)) for i in range(m)]
            x = np.stack([getattr(x.take(range(*share), axis=axis), kind)(axis=axis) for share in shares], axis)
        return x.astype(np.float32)

    return pool


def im2col(x: Array, kernel_size: Sequence[int], dilation: Sequence[int], padding: Sequence[int],
           stride: Sequence[int]) -> Array:
    """The windows of images (N,C,H,W) as columns (N, C * Kh * Kw, windows); without N where the images have none."""
    if x.ndim == 3:
        return im2col(x[None], kernel_size, dilation, padding, stride)[0]
    kernel, steps, around, apart = (_each(v, 2) for v in (kernel_size, stride, padding, dilation))
    sizes = [_size(*axis, False) for axis in zip(x.shape[2:], kernel, steps, around, apart, strict=True)]
    taps = np.stack(list(_taps(x, kernel, steps, around, apart, sizes, 0)), axis=2)
    return taps.reshape(len(x), -1, sizes[0] * sizes[1])


def col2im(x: Array, output_size: Sequence[int], kernel_size: Sequence[int], dilation: Sequence[int],
           padding: Sequence[int], stride: Sequence[int]) -> Array:
    """The images whose windows are the columns, added where windows overlap: the reverse of `im2col`."""
    if x.ndim == 2:
        return col2im(x[None], output_size, kernel_size, dilation, padding, stride)[0]
    kernel, steps, (top, left), apart = (_each(v, 2) for v in (kernel_size, stride, padding, dilation))
    height, width = _each(output_size, 2)
    rows, columns = (_size(*axis, False) for axis in zip((height, width), kernel, steps, (top, left), apart,
                                                         strict=True))
    taps = x.reshape(len(x), -1, *kernel, rows, columns)
    made = np.zeros((*taps.shape[:2], height + 2 * top, width + 2 * left), np.float32)
    for ky, kx in np.ndindex(*kernel):
        down = slice(ky * apart[0], ky * apart[0] + (rows - 1) * steps[0] + 1, steps[0])
        across = slice(kx * apart[1], kx * apart[1] + (columns - 1) * steps[1] + 1, steps[1])
        made[..., down, across] += taps[:, :, ky, kx]
    return made[..., top:top + height, left:left + width]


POOLS: dict[str, Callable[..., Array]] = {
    **{f"avg_pool{n}d": average(n) for n in (1, 2, 3)}, **{f"max_pool{n}d": largest(n) for n in (1, 2, 3)},
    **{f"adaptive_avg_pool{n}d": adaptive(n, "mean") for n in (1, 2, 3)}, "im2col": im2col, "col2im": col2im,
}
# With the places as a second result, which is not computed here.
FIRST_ONLY: dict[str, Callable[..., Array]] = {
    **{f"adaptive_max_pool{n}d": adaptive(n, "max") for n in (1, 2, 3)},
    **{f"max_pool{n}d_with_indices": largest(n) for n in (2, 3)},
}
