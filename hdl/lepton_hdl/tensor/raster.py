"""The input walk of WINDOW: every image row once, column by column, an output when its window is complete.

Part of the issue stage (`issue.py`), which owns the position among the outputs.
The window of an output ends in row `bottom` and column `right`. Columns beyond
the image are not walked: a window that sticks out to the right is complete when
the next row's first columns come, because the window's columns move on by one
with every word, wherever rows end.
"""

from amaranth.hdl import Cat, Mux, Signal, signed
from lepton.arch import TensorOpcode
from lepton.arch.commands import WINDOW_COLUMNS, WINDOW_ROWS

from ..bounds import below


class Raster:
    """Position in the image and what it means for the output at (iy, ix), the window's first row and column.

    Attributes (signals)
    --------------------
    column, last_column, outside: of the current word. counts: it completes the window.
    skip: the whole row is padding that no output needs. missed: the window was complete before,
    or is outside the image. right: for the error report.
    rows_used, rows_inside, columns_used, columns_inside: masks of the taps, counted from the last.
    """

    def __init__(self, m, command, window, ix, iy):
        self._row = Signal(signed(26), name="raster_row")
        self.column = Signal(16, name="raster_column")
        bottom = Signal(signed(27), name="bottom")
        self.right = Signal(signed(27), name="right")
        past_bottom = Signal(signed(28), name="past_bottom")  # from the image's end on
        past_right = Signal(signed(28), name="past_right")
        wrapped = Signal(name="wrapped")
        target_row = Signal(signed(28), name="target_row")
        target_column = Signal(signed(28), name="target_column")
        self.counts = Signal(name="counts")
        self.missed = Signal(name="missed")
        self.skip = Signal(name="skip")
        self.outside = Signal(name="raster_outside")
        self.last_column = Signal(name="raster_last_column")
        self.rows_used = Signal(WINDOW_ROWS)
        self.rows_inside = Signal(WINDOW_ROWS)
        self.columns_used = Signal(WINDOW_COLUMNS)
        self.columns_inside = Signal(WINDOW_COLUMNS)
        row = self._row
        column = self.column
        # Everything is zero outside window walks, so that it costs the simulator nothing.
        m.d.comb += self.counts.eq(1)
        with m.If(window):
            m.d.comb += [
                bottom.eq(iy + command.tap_rows - 1), self.right.eq(ix + command.kernel_x - 1),
                past_bottom.eq(bottom - command.in_h), past_right.eq(self.right - command.in_w),
                wrapped.eq(past_right >= 0),
                target_row.eq(bottom + wrapped),
                target_column.eq(Mux(wrapped, past_right, self.right)),
                self.counts.eq((row == target_row) & (column == target_column)),
                self.missed.eq((row > target_row) | ((row == target_row) & (column > target_column))
                               | (self.right < 0) | (ix >= command.in_w)),
                self.skip.eq((row < 0) & (row < target_row) & (column == 0)),
                self.outside.eq((row < 0) | (row >= command.in_h)),
                self.last_column.eq(column == command.in_w - 1),
                self.rows_used.eq(Cat(command.tap_rows > a for a in range(WINDOW_ROWS))),
                self.columns_used.eq(Cat(command.kernel_x > k for k in range(WINDOW_COLUMNS))),
                # A row or column `above` or `left` of the last one is inside if the last is that far, and not farther
                # than that beyond the image.
                self.rows_inside.eq(Cat(~below(bottom, above) & below(past_bottom, above)
                                        for above in range(WINDOW_ROWS))),
                self.columns_inside.eq(Cat(~below(self.right, left) & below(past_right, left)
                                           for left in range(WINDOW_COLUMNS))),
            ]

    def restart(self, m, row) -> None:
        """A pass begins in image row `row`, which may be above the image."""
        m.d.sync += [self._row.eq(row), self.column.eq(0)]

    def step(self, m) -> None:
        """Go to the next word, or over a row that is skipped."""
        with m.If(self.last_column | self.skip):
            m.d.sync += [self._row.eq(self._row + 1), self.column.eq(0)]
        with m.Else():
            m.d.sync += self.column.eq(self.column + 1)


def window_checks(command, config) -> list:
    """What is illegal about a WINDOW command, as (condition, offending value) in the order of reporting."""
    is_window = command.opcode == TensorOpcode.WINDOW
    # Five times the rows before the last, as a sum: an FPGA has no multiplier to spare for it.
    before = command.tap_rows - 1
    last_lane = sum(before << bit for bit in range(8) if WINDOW_COLUMNS >> bit & 1) + command.kernel_x
    return [(is_window & wrong, value) for wrong, value in (
        ((command.tap_rows == 0) | (command.tap_rows > WINDOW_ROWS), command.tap_rows),
        ((command.kernel_x > WINDOW_COLUMNS) | (last_lane > config.lanes), command.kernel_x),
        (command.nz != 1, command.nz),
        (command.blocks != 1, command.blocks),
        # A line buffer's column is written a cycle after it is read, so it takes two columns.
        ((command.in_w < 2) | (command.in_w < command.kernel_x) | (command.in_w > config.window_columns), command.in_w),
    )]
