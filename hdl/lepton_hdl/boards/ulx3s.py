"""The ULX3S board (ECP5-85F, 32 MiB SDRAM, USB serial port): clocks, reset and pins of a `BoardSystem`."""

from amaranth.hdl import ClockDomain, ClockSignal, Elaboratable, Module, Signal
from amaranth.lib import io
from amaranth.lib.cdc import ResetSynchronizer

from ..multipliers import ECP5_85
from .ecp5_pll import Ecp5Pll, PllSettings, settings
from .sdram import SdramPins
from .sdram_timing import ULX3S_SDRAM
from .system import BoardSystem
from .uart import divisor

OSCILLATOR_HZ = 25e6
# The board's USB serial chip, an FT231X, divides 3 MHz (FTDI DS_FT231X, 4.2): the fastest rate first.
BAUD_RATES = (3_000_000, 2_000_000, 1_500_000, 1_000_000, 750_000, 500_000, 250_000, 115_200)
PIN_CYCLES = 2  # a register in the pin, each way
_SHOWN = 22  # bits of the counter that holds a light after a byte: 0.1 s at 40 MHz


def best_baud(clock_hz: float) -> int:
    """The fastest rate of the board's serial chip that a clock can serve."""
    for baud in BAUD_RATES:
        try:
            divisor(clock_hz, baud)
        except ValueError:
            continue
        return baud
    raise ValueError(f"a clock of {clock_hz / 1e6:g} MHz is too slow for the serial port: {BAUD_RATES[-1]} baud need "
                     f"{8 * BAUD_RATES[-1] / 1e6:g} MHz")


class Ulx3s(Elaboratable):
    """The board's top level. Lights: 0 the clock is stable, 1 interrupt, 2 and 3 bytes from and to the host.

    The button PWR resets everything. `system` is made by `ulx3s_system`.
    """

    def __init__(self, system: BoardSystem, pll: PllSettings):
        self.system = system
        self.pll = pll

    def elaborate(self, platform):
        m = Module()
        self._make_clocks(m, platform)
        m.submodules.system = system = self.system
        self._connect_sdram(m, platform, system.sdram)
        uart = platform.request("uart", 0, dir="-")
        m.submodules.rx = rx = io.Buffer("i", uart.rx)
        m.submodules.tx = tx = io.Buffer("o", uart.tx)
        m.d.comb += [system.rx.eq(rx.i), tx.o.eq(system.tx)]
        for number, shown in enumerate((1, system.irq, _held(m, "rx", ~system.rx), _held(m, "tx", ~system.tx))):
            m.submodules[f"led{number}"] = led = io.Buffer("o", platform.request("led", number, dir="-"))
            m.d.comb += led.o.eq(shown)
        return m

    def _make_clocks(self, m, platform):
        """Domains "sync" and "late", a quarter of a period behind it, in reset until the PLL is stable."""
        m.submodules.oscillator = oscillator = io.Buffer("i", platform.request("clk25", 0, dir="-"))
        m.submodules.button = button = io.Buffer("i", platform.request("button_pwr", 0, dir="-"))
        m.submodules.pll = pll = Ecp5Pll(self.pll)
        m.domains.sync = ClockDomain()
        m.domains.late = ClockDomain(reset_less=True)
        clock = Signal(name="clock")
        late = Signal(name="late_clock")
        m.d.comb += [pll.i.eq(oscillator.i), clock.eq(pll.o), late.eq(pll.late), ClockSignal().eq(clock),
                     ClockSignal("late").eq(late)]
        platform.add_clock_constraint(clock, self.pll.clock_hz)
        platform.add_clock_constraint(late, self.pll.clock_hz)
        m.submodules.reset = ResetSynchronizer(~pll.locked | button.i, domain="sync")

    def _connect_sdram(self, m, platform, pins: SdramPins):
        """Every pin has a register in its buffer; the SDRAM's clock leaves through such a register as well."""
        port = platform.request("sdram", 0, dir="-")
        m.submodules.sdram_clock = clock = io.DDRBuffer("o", port.clk, o_domain="late")
        m.d.comb += [clock.o[0].eq(1), clock.o[1].eq(0)]
        ras, cas, we = reversed(pins.command)  # low when active, as on the pins; the ports of these invert
        for name, value in (("ras", ~ras), ("cas", ~cas), ("we", ~we), ("cs", 1), ("clk_en", pins.cke),
                            ("ba", pins.bank), ("a", pins.address), ("dqm", pins.dqm)):
            m.submodules[f"sdram_{name}"] = buffer = io.FFBuffer("o", getattr(port, name))
            m.d.comb += buffer.o.eq(value)
        m.submodules.sdram_dq = dq = io.FFBuffer("io", port.dq)
        m.d.comb += [dq.o.eq(pins.dq_o), dq.oe.eq(pins.dq_oe), pins.dq_i.eq(dq.i)]


def _held(m, name: str, seen):
    """A light that stays on for a while after `seen`."""
    left = Signal(_SHOWN, name=f"{name}_shown")
    with m.If(seen):
        m.d.sync += left.eq(-1)
    with m.Elif(left != 0):
        m.d.sync += left.eq(left - 1)
    return left != 0


def ulx3s(config, clock_hz: float, baud: int | None = None, rom: list[int] | None = None, chip=None) -> Ulx3s:
    """The board with a chip of `config`. `baud`: `best_baud` if None. `chip`: another component with a chip's ports.

    Raises `ClockError` for a clock that the PLL cannot make, `ValueError` for a rate that the clock cannot make.
    """
    pll = settings(OSCILLATOR_HZ, clock_hz)
    system = BoardSystem(config, ULX3S_SDRAM, round(pll.clock_hz), baud or best_baud(pll.clock_hz), rom,
                         chip=chip, pin_cycles=PIN_CYCLES)
    return Ulx3s(system, pll)


def platform(device: str = "85F"):
    """The platform of amaranth-boards for the board with an FPGA of this size."""
    from amaranth_boards.ulx3s import ULX3S_85F_Platform

    if device != "85F":
        raise ValueError(f"the ULX3S must carry an ECP5-85F, not {device!r}: smaller ones do not hold a chip")
    board = ULX3S_85F_Platform()
    board.multipliers = ECP5_85
    return board
