"""The depthwise walk of the window unit (WINDOW), in the terms of the other walks.

Each tap of the window is treated as a pass of its own, in which lane n of a
word meets one weight of column n.
"""

import numpy as np
from lepton.arch import ChipConfig, ErrorCode
from lepton.arch.commands import WINDOW_COLUMNS, WINDOW_ROWS

from .errors import CommandError

_MASK = (1 << 32) - 1


def check_window_fields(fields: dict[str, int], config: ChipConfig) -> None:
    """Raise ILLEGAL_OPCODE where the chip has no window unit, ILLEGAL_FIELD for what it cannot walk."""
    if not config.window_columns:
        raise CommandError(ErrorCode.ILLEGAL_OPCODE, fields["opcode"])


def check_window_shape(fields: dict[str, int], config: ChipConfig) -> None:
    """Raise ILLEGAL_FIELD for a window or an image that the unit does not hold."""
    rows = fields["tap_rows"]
    width = fields["kernel_x"]
    for wrong, name in (
        (not 1 <= rows <= WINDOW_ROWS, "tap_rows"),
        (width > WINDOW_COLUMNS or WINDOW_COLUMNS * (rows - 1) + width > config.lanes, "kernel_x"),
        (fields["nz"] != 1, "nz"),
        (fields["blocks"] != 1, "blocks"),
        (not max(width, 2) <= fields["in_w"] <= config.window_columns, "in_w"),
    ):
        if wrong:
            raise CommandError(ErrorCode.ILLEGAL_FIELD, fields[name])


def taps(fields: dict[str, int]) -> int:
    """Taps of a window; a pass of the command has as many passes here."""
    return fields["tap_rows"] * fields["kernel_x"]


def check_order(fields: dict[str, int], ix: np.ndarray, iy: np.ndarray) -> None:
    """Raise ILLEGAL_FIELD for the first window that is not complete after the one before, or is outside the image."""
    right = ix + fields["kernel_x"] - 1
    wrapped = right >= fields["in_w"]
    # One number per place in the image, in the order in which the unit walks it.
    time = (iy + wrapped) * 4 * max(1, fields["in_w"]) + right - wrapped * fields["in_w"]
    bad = (right < 0) | (ix >= fields["in_w"]) | (np.diff(time, prepend=time[0] - 1) <= 0)
    if bad.any():
        raise CommandError(ErrorCode.ILLEGAL_FIELD, int(right[bad.argmax()]) & _MASK)


def tap_addresses(fields: dict[str, int], ix: np.ndarray, iy: np.ndarray, first: int,
                  count: int) -> tuple[np.ndarray, np.ndarray]:
    """(address, inside) of tap passes first..first+count-1: shape (M, count), int64 bytes and bool."""
    q = np.arange(first, first + count)
    p = q // taps(fields)
    tap = q % taps(fields)
    j = tap // fields["kernel_x"]
    i = tap % fields["kernel_x"]
    column = ix[:, None] + i
    below = iy[:, None] - fields["iy0"] + j  # rows below the pass's first
    row = below + fields["iy0"] + p * fields["dilation_y"]
    address = fields["in_addr"] + p * fields["in_ky"] + below * fields["in_y"] + column * fields["in_x"]
    inside = (column >= 0) & (column < fields["in_w"]) & (row >= 0) & (row < fields["in_h"])
    return address & _MASK, inside


def tap_weights(fields: dict[str, int], tiles: np.ndarray, first: int, count: int) -> np.ndarray:
    """Weights of tap passes, int8 (count, N); `tiles` are those of all the command's passes, (passes, N, K)."""
    q = np.arange(first, first + count)
    p = q // taps(fields)
    tap = q % taps(fields)
    above = fields["tap_rows"] - 1 - tap // fields["kernel_x"]
    left = fields["kernel_x"] - 1 - tap % fields["kernel_x"]
    return tiles[p, :, WINDOW_COLUMNS * above + left]
