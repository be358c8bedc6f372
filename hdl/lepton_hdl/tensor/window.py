"""The window unit: keeps the last rows and columns of an image, so that one new pixel makes a new window."""

from amaranth.hdl import Module, Mux, Signal
from amaranth.lib import wiring
from amaranth.lib.memory import Memory
from amaranth.lib.wiring import In, Out
from amaranth.utils import ceil_log2
from lepton.arch import ChipConfig
from lepton.arch.commands import WINDOW_COLUMNS, WINDOW_ROWS


def tap_lanes(config: ChipConfig) -> list[tuple[int, int]]:
    """(row above, column to the left) of the tap that meets each lane of the weights; fewer than K where K is large."""
    taps = [(a, k) for a in range(WINDOW_ROWS) for k in range(WINDOW_COLUMNS)]
    return taps[:config.lanes]


class WindowUnit(wiring.Component):
    """Members
    -------
    look, look_column: a pixel of this image column comes in the next cycle; its older rows are fetched.
    push, column, word: the pixel. It becomes the window's last, everything else moves on.
    take: the window is complete: `taps` are there in the next cycle. rows_used, rows_inside,
        columns_used, columns_inside: bit a or k tells of the row a above or the column k to the left of
        the last: taps that are not used are 0, those outside the image are `pad`.
    taps: one word per tap, in the order of `tap_lanes`.
    """

    def __init__(self, config: ChipConfig):
        self.config = config
        column = ceil_log2(max(config.window_columns, 2))
        super().__init__({
            "look": In(1), "look_column": In(column),
            "push": In(1), "column": In(column), "word": In(8 * config.lanes),
            "take": In(1), "pad": In(8),
            "rows_used": In(WINDOW_ROWS), "rows_inside": In(WINDOW_ROWS),
            "columns_used": In(WINDOW_COLUMNS), "columns_inside": In(WINDOW_COLUMNS),
            "taps": Out(8 * config.lanes).array(len(tap_lanes(config))),
        })

    def elaborate(self, platform):
        m = Module()
        bits = 8 * self.config.lanes
        lines = []
        for a in range(1, WINDOW_ROWS):
            m.submodules[f"line{a}"] = line = Memory(shape=bits, depth=self.config.window_columns, init=[])
            lines.append((line.read_port(), line.write_port()))
        # What the image has in the current column, in this row and above.
        here = [self.word, *(rp.data for rp, _ in lines)]
        for (rp, wp), above in zip(lines, here, strict=False):
            m.d.comb += [
                rp.en.eq(self.look), rp.addr.eq(self.look_column),
                wp.en.eq(self.push), wp.addr.eq(self.column), wp.data.eq(above),
            ]
        # The same for the columns before, as they came.
        columns = [here]
        for k in range(1, WINDOW_COLUMNS):
            earlier = [Signal(bits, name=f"word_{a}_{k}") for a in range(WINDOW_ROWS)]
            with m.If(self.push):
                m.d.sync += [to.eq(source) for to, source in zip(earlier, columns[-1], strict=True)]
            columns.append(earlier)
        padding = Signal(bits)
        m.d.comb += padding.eq(self.pad.replicate(self.config.lanes))
        with m.If(self.take):
            for tap, (a, k) in zip(self.taps, tap_lanes(self.config), strict=True):
                inside = self.rows_inside[a] & self.columns_inside[k]
                with m.If(self.rows_used[a] & self.columns_used[k]):
                    m.d.sync += tap.eq(Mux(inside, columns[k][a], padding))
                with m.Else():
                    m.d.sync += tap.eq(0)
        return m
