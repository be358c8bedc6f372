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
    """Position in the image and what it means for the output `at`, whose window ends in row `at.iy`, column `at.ix`.

    Attributes (signals)
    --------------------
    column, last_column, outside: of the current word. counts: it completes the window.
    skip: the whole row is padding that no output needs. missed: the window was complete before,
    or is outside the image.
    rows_used, rows_inside, columns_used, columns_inside: masks of the taps, counted from the last.
    """

    def __init__(self, m, command, window, at):
        self._command = command
        self._row = Signal(signed(26), name="raster_row")
        self._row_before = Signal(signed(26), name="raster_row_before")  # the row less one
        self._past_row = Signal(signed(26), name="raster_past_row")  # the row, counted from the image's end on
        self.column = Signal(16, name="raster_column")
        self.last_column = Signal(name="raster_last_column")  # a register, as what follows from it is a long path
        wrapped = Signal(name="wrapped")  # the window sticks out to the right: it is complete in the next row
        row_reached = Signal(name="row_reached")
        row_passed = Signal(name="row_passed")
        column_reached = Signal(name="column_reached")
        column_passed = Signal(name="column_passed")
        beside = Signal(name="beside")  # the window's first column is beyond the image
        self.counts = Signal(name="counts")
        self.missed = Signal(name="missed")
        self.skip = Signal(name="skip")
        self.outside = Signal(name="raster_outside")
        self.rows_used = Signal(WINDOW_ROWS)
        self.rows_inside = Signal(WINDOW_ROWS)
        self.columns_used = Signal(WINDOW_COLUMNS)
        self.columns_inside = Signal(WINDOW_COLUMNS)
        column = self.column
        # Everything is zero outside window walks, so that it costs the simulator nothing.
        m.d.comb += self.counts.eq(1)
        with m.If(window):
            m.d.comb += [
                wrapped.eq(~at.past_x[-1]),
                row_reached.eq(Mux(wrapped, self._row_before == at.iy, self._row == at.iy)),
                row_passed.eq(Mux(wrapped, self._row_before > at.iy, self._row > at.iy)),
                column_reached.eq(Mux(wrapped, column == at.past_x, column == at.ix)),
                column_passed.eq(Mux(wrapped, column > at.past_x, column > at.ix)),
                beside.eq(Cat((command.kernel_x == k + 1) & ~below(at.past_x, k)
                              for k in range(WINDOW_COLUMNS)).any()),
                self.counts.eq(row_reached & column_reached),
                self.missed.eq(row_passed | (row_reached & column_passed) | at.ix[-1] | beside),
                self.skip.eq(self._row[-1] & ~row_passed & ~row_reached & (column == 0)),
                self.outside.eq(self._row[-1] | ~self._past_row[-1]),
                self.rows_used.eq(Cat(command.tap_rows > a for a in range(WINDOW_ROWS))),
                self.columns_used.eq(Cat(command.kernel_x > k for k in range(WINDOW_COLUMNS))),
                # A row or column `above` or `left` of the last one is inside if the last is that far, and not farther
                # than that beyond the image.
                self.rows_inside.eq(Cat(~below(at.iy, above) & below(at.past_y, above)
                                        for above in range(WINDOW_ROWS))),
                self.columns_inside.eq(Cat(~below(at.ix, left) & below(at.past_x, left)
                                           for left in range(WINDOW_COLUMNS))),
            ]

    def restart(self, m, row, height) -> None:
        """A pass begins in image row `row`, which may be above the image of `height` rows."""
        # A window's image has more than one column.
        m.d.sync += [self._row.eq(row), self._row_before.eq(row - 1), self._past_row.eq(row - height),
                     self.column.eq(0), self.last_column.eq(0)]

    def step(self, m) -> None:
        """Go to the next word, or over a row that is skipped."""
        with m.If(self.last_column | self.skip):
            m.d.sync += [self._row.eq(self._row + 1), self._row_before.eq(self._row),
                         self._past_row.eq(self._past_row + 1), self.column.eq(0), self.last_column.eq(0)]
        with m.Else():
            m.d.sync += [self.column.eq(self.column + 1), self.last_column.eq(self.column + 2 == self._command.in_w)]


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
