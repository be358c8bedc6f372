"""The PLL of ECP5 devices: from the board's oscillator to the chip's clock, and a copy of it a quarter later."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from amaranth.hdl import Instance, Module, Signal
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

# Limits of EHXPLLL, in MHz (Lattice DS1044 "ECP5 and ECP5-5G Family", table of sysCLOCK PLL timing).
VCO_MHZ = (400.0, 800.0)
PHASE_DETECTOR_MHZ = (10.0, 400.0)
DIVIDERS = range(1, 129)  # of the reference, the feedback and each output
_EIGHTHS = 8  # a phase is set in eighths of a period of the VCO
# The clock that is made may be this far from the one asked for.
_TOLERANCE = 0.005


class ClockError(ValueError):
    """A clock that the PLL cannot make; the text says what it can."""


@dataclass(frozen=True)
class PllSettings:
    """Dividers. The VCO runs at `input_hz` / `reference` * `feedback` * `compared`, the clock at that / `output`.

    `compared` divides the VCO on the way to the phase detector, in an output of its own (CLKOS2), which makes many
    more clocks possible than feedback from the clock itself.
    """

    input_hz: float
    reference: int
    feedback: int
    compared: int
    output: int

    @property
    def vco_hz(self) -> float:
        return self.input_hz / self.reference * self.feedback * self.compared

    @property
    def clock_hz(self) -> float:
        return self.vco_hz / self.output

    def parameters(self) -> dict[str, Any]:
        """Parameters of EHXPLLL. CLKOP is the clock, CLKOS the same a quarter of a period later.

        A phase of 0 is CPHASE = divider - 1 (Lattice FPGA-TN-02200, "Phase Adjustment"); the quarter is counted in
        eighths of the VCO's period and is exact, as there are `output` of those periods in one of the clock.
        """
        coarse, fine = divmod(self.output * _EIGHTHS // 4, _EIGHTHS)
        return {
            "p_CLKI_DIV": self.reference, "p_CLKFB_DIV": self.feedback, "p_FEEDBK_PATH": "INT_OS2",
            "p_CLKOP_ENABLE": "ENABLED", "p_CLKOP_DIV": self.output, "p_CLKOP_CPHASE": self.output - 1,
            "p_CLKOP_FPHASE": 0,
            "p_CLKOS_ENABLE": "ENABLED", "p_CLKOS_DIV": self.output, "p_CLKOS_CPHASE": self.output - 1 + coarse,
            "p_CLKOS_FPHASE": fine,
            "p_CLKOS2_ENABLE": "ENABLED", "p_CLKOS2_DIV": self.compared, "p_CLKOS2_CPHASE": self.compared - 1,
            "p_CLKOS2_FPHASE": 0,
            # The loop filter, as the Trellis project's ecppll sets it.
            "a_ICP_CURRENT": "12", "a_LPF_RESISTOR": "8", "a_MFG_ENABLE_FILTEROPAMP": "1", "a_MFG_GMCREF_SEL": "2",
        }


def _all_settings(input_hz: float) -> Iterator[PllSettings]:
    for reference in DIVIDERS:
        detector = input_hz / reference / 1e6
        if not PHASE_DETECTOR_MHZ[0] <= detector <= PHASE_DETECTOR_MHZ[1]:
            continue
        # VCO / detector = feedback * compared; with the compared clock at the detector's own rate, feedback is 1.
        for compared in DIVIDERS:
            if VCO_MHZ[0] <= detector * compared <= VCO_MHZ[1]:
                for output in DIVIDERS:
                    # CPHASE, up to 127, holds the phase of the later clock too.
                    if output - 1 + output // 4 < len(DIVIDERS):
                        yield PllSettings(input_hz, reference, 1, compared, output)


def settings(input_hz: float, clock_hz: float) -> PllSettings:
    """The dividers that come nearest to `clock_hz`; of equal ones, those with the fastest phase detector, then VCO.

    Raises `ClockError` where none comes within 0.5 %.
    """
    best = min(_all_settings(input_hz), key=lambda s: (abs(s.clock_hz - clock_hz), s.reference, -s.vco_hz))
    if abs(best.clock_hz - clock_hz) > _TOLERANCE * clock_hz:
        raise ClockError(f"the PLL makes no clock of {clock_hz / 1e6:g} MHz from {input_hz / 1e6:g} MHz; the nearest "
                         f"is {best.clock_hz / 1e6:g} MHz")
    return best


class Ecp5Pll(wiring.Component):
    """Members
    -------
    i: the oscillator. o: the clock. late: the clock, a quarter of a period later. locked: both are stable.
    """

    def __init__(self, pll: PllSettings):
        self.settings = pll
        super().__init__({"i": In(1), "o": Out(1), "late": Out(1), "locked": Out(1)})

    def elaborate(self, platform):
        m = Module()
        compared = Signal()
        m.submodules.pll = Instance(
            "EHXPLLL", **self.settings.parameters(), a_FREQUENCY_PIN_CLKI=f"{self.settings.input_hz / 1e6:g}",
            a_FREQUENCY_PIN_CLKOP=f"{self.settings.clock_hz / 1e6:g}",
            a_FREQUENCY_PIN_CLKOS=f"{self.settings.clock_hz / 1e6:g}",
            i_CLKI=self.i, i_CLKFB=compared, i_RST=0, i_STDBY=0, i_PHASESEL0=0, i_PHASESEL1=0, i_PHASEDIR=0,
            i_PHASESTEP=0, i_PHASELOADREG=0, i_PLLWAKESYNC=0, i_ENCLKOP=0, i_ENCLKOS=0, i_ENCLKOS2=0,
            o_CLKOP=self.o, o_CLKOS=self.late, o_CLKOS2=compared, o_LOCK=self.locked)
        return m
