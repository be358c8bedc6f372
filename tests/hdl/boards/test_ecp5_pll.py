"""The PLL's dividers: within the data sheet's limits, near the clock asked for, with an exact quarter of a period."""

import pytest
from lepton_hdl.boards.ecp5_pll import ClockError, settings

OSCILLATOR = 25e6


@pytest.mark.parametrize("clock", [10, 20, 22, 25, 33.3, 40, 48, 50, 60, 62.5, 75, 80, 100, 133])
def test_clocks(clock):
    found = settings(OSCILLATOR, clock * 1e6)
    assert abs(found.clock_hz / (clock * 1e6) - 1) < 0.005
    assert 400e6 <= found.vco_hz <= 800e6
    assert 10e6 <= OSCILLATOR / found.reference <= 400e6
    made = found.parameters()
    for name in ("CLKI", "CLKFB", "CLKOP", "CLKOS", "CLKOS2"):
        assert 1 <= made[f"p_{name}_DIV"] <= 128
    assert made["p_CLKOP_DIV"] == made["p_CLKOS_DIV"]
    # The loop: the compared output, divided by the feedback divider, is as fast as the divided oscillator.
    assert found.vco_hz / made["p_CLKOS2_DIV"] / made["p_CLKFB_DIV"] == pytest.approx(OSCILLATOR / made["p_CLKI_DIV"])
    late = made["p_CLKOS_CPHASE"] - made["p_CLKOP_CPHASE"] + made["p_CLKOS_FPHASE"] / 8  # in periods of the VCO
    assert late == made["p_CLKOP_DIV"] / 4
    assert 0 <= made["p_CLKOS_CPHASE"] <= 127 and 0 <= made["p_CLKOS_FPHASE"] <= 7


def test_impossible_clocks():
    with pytest.raises(ClockError, match="the PLL makes no clock of 1 MHz from 25 MHz; the nearest is "):
        settings(OSCILLATOR, 1e6)
    with pytest.raises(ClockError, match=r"no clock of 390 MHz from 25 MHz; the nearest is 387\.5 MHz"):
        settings(OSCILLATOR, 390e6)
