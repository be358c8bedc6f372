"""Bytes over a serial line: 8 data bits, no parity, one stop bit."""

from amaranth.hdl import Cat, Const, Module, Signal
from amaranth.lib import stream, wiring
from amaranth.lib.cdc import FFSynchronizer
from amaranth.lib.wiring import In, Out

LEAST_DIVISOR = 8  # cycles a bit: the receiver's sample is at most 1/16 of a bit from the middle
_DATA_BITS = 8


def divisor(clock_hz: float, baud: float) -> int:
    """Cycles a bit. Raises `ValueError` where the clock is too slow for the rate, or misses it by over 2 percent.

    Ten bits share one start edge, so that half a bit of error at the last one is 5 percent; both sides have a half.
    """
    cycles = round(clock_hz / baud)
    if cycles < LEAST_DIVISOR:
        raise ValueError(f"{baud:.0f} baud needs a clock of at least {LEAST_DIVISOR * baud / 1e6:g} MHz, "
                         f"not {clock_hz / 1e6:g} MHz; choose a lower rate")
    error = abs(clock_hz / cycles / baud - 1)
    if error > 0.02:
        raise ValueError(f"a clock of {clock_hz / 1e6:g} MHz gives {clock_hz / cycles:.0f} baud, {100 * error:.1f} % "
                         f"off {baud:.0f}; choose a rate nearer to the clock divided by an integer")
    return cycles


class UartReceiver(wiring.Component):
    """`rx` to bytes, which are not stalled. A byte without a stop bit is dropped."""

    def __init__(self, divisor: int):
        self.divisor = divisor
        super().__init__({"rx": In(1), "o": Out(stream.Signature(8, always_ready=True))})

    def elaborate(self, platform):
        m = Module()
        line = Signal(init=1)
        m.submodules.synchronizer = FFSynchronizer(self.rx, line, init=1)
        timer = Signal(range(self.divisor + self.divisor // 2))
        bits = Signal(range(_DATA_BITS + 1))
        shift = Signal(_DATA_BITS)
        m.d.sync += self.o.valid.eq(0)
        m.d.comb += self.o.payload.eq(shift)
        with m.FSM(name="receiver"):
            with m.State("IDLE"):
                m.d.sync += [timer.eq(self.divisor // 2 - 1), bits.eq(0)]
                with m.If(~line):
                    m.next = "START"
            with m.State("START"):
                m.d.sync += timer.eq(timer - 1)
                with m.If(timer == 0):
                    m.d.sync += timer.eq(self.divisor - 1)
                    with m.If(line):  # a glitch
                        m.next = "IDLE"
                    with m.Else():
                        m.next = "DATA"
            with m.State("DATA"):
                m.d.sync += timer.eq(timer - 1)
                with m.If(timer == 0):
                    m.d.sync += timer.eq(self.divisor - 1)
                    with m.If(bits == _DATA_BITS):
                        m.d.sync += self.o.valid.eq(line)
                        m.next = "STOP"
                    with m.Else():
                        m.d.sync += [shift.eq(Cat(shift[1:], line)), bits.eq(bits + 1)]
            # After a break the line must rest before the next start bit.
            with m.State("STOP"), m.If(line):
                m.next = "IDLE"
        return m


class UartTransmitter(wiring.Component):
    """Bytes to `tx`."""

    def __init__(self, divisor: int):
        self.divisor = divisor
        super().__init__({"i": In(stream.Signature(8)), "tx": Out(1, init=1)})

    def elaborate(self, platform):
        m = Module()
        timer = Signal(range(self.divisor))
        left = Signal(range(_DATA_BITS + 3))  # bits on their way, start and stop bits included
        shift = Signal(_DATA_BITS + 1, init=-1)
        m.d.comb += self.i.ready.eq(left == 0)
        with m.If(timer != 0):
            m.d.sync += timer.eq(timer - 1)
        with m.If(self.i.valid & self.i.ready):
            m.d.sync += [self.tx.eq(0), shift.eq(Cat(self.i.payload, Const(1, 1))), left.eq(_DATA_BITS + 2),
                         timer.eq(self.divisor - 1)]
        with m.Elif((left != 0) & (timer == 0)):
            m.d.sync += [self.tx.eq(shift[0]), shift.eq(Cat(shift[1:], Const(1, 1))), left.eq(left - 1),
                         timer.eq(self.divisor - 1)]
        return m
