"""What is found out about a row before its results are computed: its largest value, or its sums."""

from amaranth.hdl import Module, Mux, Signal, signed
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from .walk import ROW_BITS

_DIFFERENCE = signed(9)  # of int8 and int8
_SQUARE_BITS = 20  # a square of a difference has 17 bits, an exponential in Q12.19 has 20
SUM_BITS = 32  # of ROW_LENGTH exponentials in Q12.19
DEVIATION_BITS = 21  # of ROW_LENGTH differences, signed


class RowSums(wiring.Component):
    """Members
    -------
    enable: channels are at the inputs, and go on with the coming clock edge; enable_sum: the same for those of a cycle
        before. inside: which of them the row has. first, last, row: they begin or end a row of the group; given with
        `enable_sum`.
    difference, term: of each lane.
    done, done_row, largest, deviation, total: a row is summed; they stay until `take`, and no channel may go on
        meanwhile (`enable_sum`).
    """

    def __init__(self, lanes: int):
        self._lanes = lanes
        super().__init__({
            "enable": In(1), "enable_sum": In(1), "inside": In(lanes),
            "first": In(1), "last": In(1), "row": In(ROW_BITS),
            "difference": In(_DIFFERENCE).array(lanes), "term": In(_SQUARE_BITS).array(lanes),
            "take": In(1), "done": Out(1), "done_row": Out(ROW_BITS), "largest": Out(signed(8)),
            "deviation": Out(signed(DEVIATION_BITS)), "total": Out(SUM_BITS),
        })

    def elaborate(self, platform):
        m = Module()
        carry = self._lanes.bit_length() - 1
        largest = Signal(_DIFFERENCE)
        deviation = Signal(signed(_DIFFERENCE.width + carry))
        total = Signal(_SQUARE_BITS + carry)
        low = -(1 << _DIFFERENCE.width - 1)
        with m.If(self.enable):
            inside = list(zip(self.inside, self.difference, self.term, strict=True))
            m.d.sync += [
                largest.eq(_tree([Mux(here, value, low) for here, value, _ in inside], lambda a, b: Mux(a > b, a, b))),
                deviation.eq(_tree([Mux(here, value, 0) for here, value, _ in inside], lambda a, b: a + b)),
                total.eq(_tree([Mux(here, term, 0) for here, _, term in inside], lambda a, b: a + b)),
            ]
        with m.If(self.take):
            m.d.sync += self.done.eq(0)
        with m.If(self.enable_sum):
            m.d.sync += [
                self.deviation.eq(Mux(self.first, 0, self.deviation) + deviation),
                self.total.eq(Mux(self.first, 0, self.total) + total),
            ]
            with m.If(self.first | (largest > self.largest)):
                m.d.sync += self.largest.eq(largest)
            with m.If(self.last):
                m.d.sync += [self.done.eq(1), self.done_row.eq(self.row)]
        return m


def _tree(values, join):
    """All values joined, the neighbours first."""
    while len(values) > 1:
        values = [join(*values[i:i + 2]) if i + 1 < len(values) else values[i] for i in range(0, len(values), 2)]
    return values[0]
