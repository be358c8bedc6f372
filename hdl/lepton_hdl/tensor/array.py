"""The dot-product array: K by N multipliers, weights stationary and double-buffered."""

from itertools import zip_longest

from amaranth.hdl import Const, Module, Mux, Signal, signed
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out
from amaranth.utils import ceil_log2
from lepton.arch import ChipConfig

from ..multipliers import columns_of_tables
from ..views import View, add, split_sum_of_products, sum_of_products, view_of
from .window import tap_lanes

STAGES = 2  # from a pixel at `x` to its sums at `dot`
_SUM = 32  # bits of a sum in a simulation: those of the processor's registers
_GROUP = 4  # products that are added in the first stage; with K = 16 the second one adds as many sums


class DotArray(wiring.Component):
    """Column n computes sum over k of x[k] * w[n][k], one pixel a cycle.

    Members
    -------
    x: K int8 lanes of the current pixel. `enable`: it is a pixel; `dot` follows STAGES cycles later.
    window, taps: instead of x, lane k of column n sees lane n of `taps[k]`: its own channel's taps.
    bypass: `dot` is lane n itself, for pooling (SUM, MAX).
    load, load_column, load_data: write one column of the shadow weights.
    swap: the shadow weights become the active ones after this clock edge. The shadow may be
        written at the same edge: the swap sees its old contents.

    Between the stages are sums of a few products. The simulator's view delays the inputs instead, and adds at once:
    every additional register of a column costs it a load and a store (docs/decisions/07-array.md).
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
        # What the second stage needs of the pixel.
        enable = Signal()
        bypass = Signal()
        x = [Signal(signed(8), name=f"late_x_{k}") for k in range(self.config.lanes)]
        m.d.sync += enable.eq(self.enable)
        with m.If(self.enable):
            m.d.sync += [bypass.eq(self.bypass), *(late.eq(now) for late, now in zip(x, self.x, strict=True))]
        if view is View.SIMULATION:
            window, taps = self._delayed_taps(m)
            weights = self._delayed_weights(m)
        else:
            weights = self._weights(m, self.load, self.load_column, self.load_data, self.swap)
        of_tables = columns_of_tables(self.config, platform)
        for n, active in enumerate(weights):
            dot = self.dot[n]
            partial = [] if view is View.SIMULATION else self._partial_sums(
                m, n, active, View.GATES if n < of_tables else view, view is View.GATES)
            with m.If(enable):
                with m.If(bypass):
                    m.d.sync += dot.eq(x[n])
                if view is not View.SIMULATION:
                    with m.Else():
                        m.d.sync += dot.eq(add(partial, len(dot)))
                    continue
                if taps:
                    with m.Elif(window):
                        m.d.sync += dot.eq(_dot(m, _lane(taps, n), active))
                with m.Else():
                    m.d.sync += dot.eq(_dot(m, x, active))
        return m

    def _weights(self, m, load, column, word, swap):
        """The active weights of each column."""
        lanes = range(self.config.lanes)
        weights = []
        for n in range(self.config.columns):
            shadow = [Signal(signed(8), name=f"shadow_{n}_{k}") for k in lanes]
            active = [Signal(signed(8), name=f"active_{n}_{k}") for k in lanes]
            with m.If(load & (column == n)):
                m.d.sync += [shadow[k].eq(word.word_select(k, 8)) for k in lanes]
            with m.If(swap):
                m.d.sync += [a.eq(s) for a, s in zip(active, shadow, strict=True)]
            weights.append(active)
        return weights

    def _delayed_weights(self, m):
        """The active weights, each a cycle later."""
        load = Signal()
        swap = Signal()
        column = Signal.like(self.load_column)
        word = Signal.like(self.load_data)
        m.d.sync += [load.eq(self.load), swap.eq(self.swap)]
        with m.If(self.load):
            m.d.sync += [column.eq(self.load_column), word.eq(self.load_data)]
        return self._weights(m, load, column, word, swap)

    def _delayed_taps(self, m):
        """`window` and `taps`, a cycle later."""
        window = Signal()
        taps = [Signal.like(self.taps[k], name=f"late_taps_{k}") for k in range(self.taps_count)]
        with m.If(self.enable):
            m.d.sync += window.eq(self.window)
            with m.If(self.window):
                m.d.sync += [late.eq(now) for late, now in zip(taps, self.taps, strict=True)]
        return window, taps

    def _partial_sums(self, m, n, active, view, carry_save):
        """Registered sums of _GROUP products of column n, each as one value or with `carry_save` as two.

        They need no enable: `dot` has one. Two values are modulo the range of `dot`, as they have no sign to extend. An
        FPGA has carry chains, and adds at once.
        """
        bits = len(self.dot[n])
        pairs = list(zip(self._operands(m, n), active, strict=False))
        partial = []
        for first in range(0, len(pairs), _GROUP):
            group = pairs[first:first + _GROUP]
            terms = split_sum_of_products(m, group, bits, view) if carry_save else [
                sum_of_products(m, group, 16 + ceil_log2(_GROUP), view)]
            for i, term in enumerate(terms):
                part = Signal.like(term, name=f"partial_{n}_{first}_{i}")
                m.d.sync += part.eq(term)
                partial.append(part)
        return partial

    def _operands(self, m, n):
        """What meets the weights of column n: the pixel, or the taps of the column's own channel."""
        if not self.taps_count:
            return self.x
        operands = [Signal(signed(8), name=f"operand_{n}_{k}") for k in range(self.config.lanes)]
        m.d.comb += [operand.eq(Mux(self.window, tap, x)) for operand, tap, x in zip_longest(
            operands, _lane(self.taps, n), self.x, fillvalue=Const(0, 8))]
        return operands


def _lane(words, n):
    """Lane n of each word."""
    return [word.word_select(n, 8).as_signed() for word in words]


def _dot(m, x, w):
    """Sum of the products of two sequences of int8, the shorter one's length, for a simulation."""
    return sum_of_products(m, list(zip(x, w, strict=False)), _SUM, View.SIMULATION)
