"""The dot-product array: K by N multipliers, weights stationary and double-buffered."""

from itertools import zip_longest

from amaranth.hdl import Const, Module, Mux, Signal, signed
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out
from amaranth.utils import ceil_log2
from lepton.arch import ChipConfig

from ..views import View, sum_of_products, view_of
from .window import tap_lanes

_SUM = 32  # bits of a sum in a simulation: those of the processor's registers


class DotArray(wiring.Component):
    """Column n computes sum over k of x[k] * w[n][k] in one cycle.

    Members
    -------
    x: K int8 lanes of the current pixel. `enable`: it is a pixel; `dot` follows one cycle later.
    window, taps: instead of x, lane k of column n sees lane n of `taps[k]`: its own channel's taps.
    bypass: `dot` is lane n itself, for pooling (SUM, MAX).
    load, load_column, load_data: write one column of the shadow weights.
    swap: the shadow weights become the active ones after this clock edge. The shadow may be
        written at the same edge: the swap sees its old contents.

    The sum has one register only: a second one costs a third of the simulation speed, and the
    adder tree is what limits the clock (docs/decisions/07-array.md).
    """

    def __init__(self, config: ChipConfig):
        self.config = config
        # K products of magnitude up to 2**14 = (-128)**2
        self.taps_count = len(tap_lanes(config)) if config.window_columns else 0
        self.dot_shape = signed(16 + ceil_log2(config.lanes))
        super().__init__({
            "x": In(signed(8)).array(config.lanes),
            "enable": In(1),
            "bypass": In(1),
            "window": In(1),
            "taps": In(8 * config.lanes).array(self.taps_count),
            "load": In(1),
            "load_column": In(ceil_log2(config.columns)),
            "load_data": In(8 * config.lanes),
            "swap": In(1),
            "dot": Out(self.dot_shape).array(config.columns),
        })

    def elaborate(self, platform):
        m = Module()
        view = view_of(platform)
        lanes = range(self.config.lanes)
        for n in range(self.config.columns):
            shadow = [Signal(signed(8), name=f"shadow_{n}_{k}") for k in lanes]
            active = [Signal(signed(8), name=f"active_{n}_{k}") for k in lanes]
            with m.If(self.load & (self.load_column == n)):
                m.d.sync += [shadow[k].eq(self.load_data.word_select(k, 8)) for k in lanes]
            with m.If(self.swap):
                m.d.sync += [a.eq(s) for a, s in zip(active, shadow, strict=True)]
            taps = [self.taps[k].word_select(n, 8).as_signed() for k in range(self.taps_count)]
            with m.If(self.enable):
                with m.If(self.bypass):
                    m.d.sync += self.dot[n].eq(self.x[n])
                if view is View.SIMULATION and taps:
                    with m.Elif(self.window):
                        m.d.sync += self.dot[n].eq(_dot(taps, active, view))
                    with m.Else():
                        m.d.sync += self.dot[n].eq(_dot(self.x, active, view))
                else:
                    with m.Else():
                        m.d.sync += self.dot[n].eq(_dot(self._operands(m, n, taps), active, view))
        return m

    def _operands(self, m, n, taps):
        """What meets the weights of column n: the pixel, or the taps of the column's own channel."""
        if not taps:
            return self.x
        operands = [Signal(signed(8), name=f"operand_{n}_{k}") for k in range(self.config.lanes)]
        m.d.comb += [operand.eq(Mux(self.window, tap, x))
                     for operand, tap, x in zip_longest(operands, taps, self.x, fillvalue=Const(0, 8))]
        return operands


def _dot(x, w, view):
    """Sum of the products of two sequences of int8, the shorter one's length."""
    pairs = list(zip(x, w, strict=False))
    bits = _SUM if view is View.SIMULATION else 16 + ceil_log2(len(pairs))
    return sum_of_products(pairs, bits, view)
