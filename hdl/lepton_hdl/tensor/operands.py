"""What the multipliers see of a pixel: the same word in every column, or each column its own channel's taps."""

from amaranth.hdl import Cat, Const, Module, Signal
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out
from lepton.arch import ChipConfig

from .window import tap_lanes


class Operands(wiring.Component):
    """The array's input registers.

    Lanes that a tap can meet have a register in every column, the others one for all columns: as
    many as registers for the pixel and for the taps would be, with the choice between the two
    before them instead of in front of every multiplier.

    Members
    -------
    take: `columns` hold this cycle's pixel or window after the clock edge.
    word: the pixel, K int8 lanes. window, taps: instead of it, lane k of column n gets lane n of
        `taps[k]` (`tap_lanes`); lanes without a tap get 0.
    columns: per column, what its K multipliers see.
    """

    def __init__(self, config: ChipConfig):
        self.config = config
        self.taps_count = len(tap_lanes(config)) if config.window_columns else 0
        super().__init__({
            "take": In(1),
            "word": In(8 * config.lanes),
            "window": In(1),
            "taps": In(8 * config.lanes).array(self.taps_count),
            "columns": Out(8 * config.lanes).array(config.columns),
        })

    def elaborate(self, platform):
        m = Module()
        own_bits = 8 * self.taps_count
        shared = Signal(8 * self.config.lanes - own_bits)
        # One vector a column: the simulator moves it in words, and takes a branch once a word.
        own = [Signal(own_bits, name=f"own_{n}") for n in range(self.config.columns)]
        with m.If(self.take):
            with m.If(self.window):
                m.d.sync += shared.eq(Const(0))
                m.d.sync += [register.eq(Cat(tap.word_select(n, 8) for tap in self.taps))
                             for n, register in enumerate(own)]
            with m.Else():
                m.d.sync += shared.eq(self.word >> own_bits)
                m.d.sync += [register.eq(self.word) for register in own]
        m.d.comb += [column.eq(Cat(register, shared)) for column, register in zip(self.columns, own, strict=True)]
        return m
