"""Windows that slide over images: convolutions and pools."""

import numpy as np

from ..core import Padding, Pair, Tensor
from .conditions import MAX_WINDOW, image, require

NONE: Padding = ((0, 0), (0, 0))


def effective_kernel(kernel: int, dilation: int) -> int:
    """Input pixels that a dilated kernel spans along one axis."""
    return (kernel - 1) * dilation + 1


def output_size(size: int, kernel: int, stride: int, dilation: int, padding: Pair) -> int:
    """Output pixels along one axis; less than 1 when the kernel does not fit."""
    return (size + sum(padding) - effective_kernel(kernel, dilation)) // stride + 1


def in_range(kernel: Pair, stride: Pair, dilation: Pair, padding: Padding) -> None:
    """Raises `GraphError` for a size outside 1..MAX_WINDOW (paddings: 0..MAX_WINDOW)."""
    for what, values, lowest in (("kernel", kernel, 1), ("stride", stride, 1), ("dilation", dilation, 1),
                                 ("padding", (*padding[0], *padding[1]), 0)):
        require(all(lowest <= value <= MAX_WINDOW for value in values),
                f"{what} must be in {lowest}..{MAX_WINDOW}, not {tuple(map(int, values))}")


def window_size(x: Tensor, kernel: Pair, stride: Pair, dilation: Pair, padding: Padding) -> tuple[int, int]:
    """(height, width) of the output of a sliding window over the images `x`."""
    _, height, width, _ = image(x)
    in_range(kernel, stride, dilation, padding)
    made_y, made_x = (output_size(*axis) for axis in
                      zip((height, width), kernel, stride, dilation, padding, strict=True))
    require(min(made_y, made_x) >= 1, f"the kernel {tuple(map(int, kernel))} with dilation {tuple(dilation)} does not "
            f"fit the image {height, width} with padding {padding}")
    return made_y, made_x


def added(padding: Padding, border: Padding) -> Padding | None:
    """The sum of two paddings; None where it is above MAX_WINDOW."""
    (top, bottom), (left, right) = padding
    (above, below), (before, after) = border
    total = (top + above, bottom + below), (left + before, right + after)
    return total if max(map(max, total)) <= MAX_WINDOW else None


def windows(x: np.ndarray, kernel: Pair, stride: Pair, dilation: Pair, padding: Padding, fill: float = 0) -> np.ndarray:
    """View (Ho, Wo, C, Kh, Kw) of the patches of an (H, W, C) array; the border is `fill`."""
    padded = np.pad(x, (*padding, (0, 0)), constant_values=fill) if np.any(padding) else x
    reach = [effective_kernel(k, d) for k, d in zip(kernel, dilation, strict=True)]
    view = np.lib.stride_tricks.sliding_window_view(padded, reach, axis=(0, 1))
    return view[::stride[0], ::stride[1], :, ::dilation[0], ::dilation[1]]


def folded(function: np.ufunc, x: np.ndarray, kernel: Pair, stride: Pair, dilation: Pair, padding: Padding,
           fill: float = 0) -> np.ndarray:
    """(Ho, Wo, C): `function` of all pixels of each window of an (H, W, C) array, such as np.maximum or np.add.

    First along rows, then along columns: only for functions whose result does not depend on the order.
    """
    made = np.pad(x, (*padding, (0, 0)), constant_values=fill) if np.any(padding) else x
    # Kh + Kw operations for each pixel in place of Kh * Kw.
    for axis in (0, 1):
        places = (made.shape[axis] - effective_kernel(kernel[axis], dilation[axis])) // stride[axis] + 1
        before = (slice(None),) * axis
        reach = (places - 1) * stride[axis] + 1
        taps = [made[(*before, slice(tap * dilation[axis], tap * dilation[axis] + reach, stride[axis]))]
                for tap in range(kernel[axis])]
        if len(taps) == 1:
            made = taps[0]
            continue
        made = function(taps[0], taps[1])
        for tap in taps[2:]:
            function(made, tap, out=made)
    return made
