"""Depthwise convolutions in the window unit, where the kernel fits it (WINDOW in `arch.commands`)."""

import numpy as np

from ...arch.commands import WINDOW_COLUMNS, WINDOW_ROWS
from ..layers import WindowWalk
from .context import Context
from .limits import Pair


def window(context: Context, kernel: Pair, width: int, columns: int, stride: Pair, left: int) -> WindowWalk | None:
    """How the window unit does a depthwise convolution with one output for each channel; None where it cannot.

    The limits are those of WINDOW in `arch.commands`. width: of the image, to which `left` columns of padding are
    added; columns: of the output.
    """
    kernel_y, kernel_x = kernel
    if kernel_x > min(WINDOW_COLUMNS, context.lanes, width) or not 2 <= width <= context.config.window_columns:
        return None
    # The last column of the first and of the last window in a row.
    first = kernel_x - 1 - left
    last = first + (columns - 1) * stride[1]
    # Windows come in the order of their last pixels; one that extends beyond the right edge ends in the next row.
    if first < 0 or last - kernel_x + 1 >= width or (last >= width and stride[0] < 2 and last - width >= first):
        return None
    rows = min(WINDOW_ROWS, kernel_y, (context.lanes - kernel_x) // WINDOW_COLUMNS + 1)
    return WindowWalk(kernel_y, kernel_x, rows)


def tiles(values: np.ndarray, shape: WindowWalk, lanes: int) -> list[np.ndarray]:
    """Tiles per output block, (1, groups, 1, K, K): the taps counted from the last of the window."""
    outputs = len(values)
    groups = -(-shape.height // shape.rows)
    found = np.zeros((-(-outputs // lanes) * lanes, groups, lanes), values.dtype)
    for group in range(groups):
        start, stop = shape.group(group)
        for above, y in enumerate(reversed(range(start, stop))):
            for left, x in enumerate(reversed(range(shape.width))):
                found[:outputs, group, WINDOW_COLUMNS * above + left] = values[:, y, x, 0]
    blocked = found.reshape(-1, lanes, groups, lanes).transpose(0, 2, 1, 3)
    return [np.ascontiguousarray(block)[None, :, None] for block in blocked]
