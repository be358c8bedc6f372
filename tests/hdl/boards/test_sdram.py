"""The SDRAM controller under dense random traffic, against an SDRAM chip that checks its timing."""

from dataclasses import replace

import pytest
from lepton.device import DeviceError
from lepton_hdl.boards.sdram import Sdram
from lepton_hdl.boards.sdram_timing import ULX3S_SDRAM
from lepton_sim.serial_board import SerialBoardModel

from tests.hdl.boards.traffic import SdramTraffic

CLOCK_HZ = 60_000_000
CYCLES = 400_000


@pytest.mark.parametrize("clock_hz", [CLOCK_HZ, 25_000_000, 100_000_000])
def test_traffic(clock_hz):
    board = SerialBoardModel(SdramTraffic(ULX3S_SDRAM, clock_hz))
    board.run(CYCLES)
    status = board.status()
    assert not status.irq, "other data was read than was written"
    seconds = CYCLES / clock_hz - 200e-6
    assert status.refreshes >= seconds / (64e-3 / 8192)
    board.close()


def test_traffic_through_registers_in_the_pins():
    board = SerialBoardModel(SdramTraffic(ULX3S_SDRAM, CLOCK_HZ, registered=True))
    board.run(CYCLES)
    assert not board.status().irq, "other data was read than was written"
    board.close()


# Data that a slower or another chip would lose. With bursts of eight halves a row is always open for longer than tRAS
# and tRC want, so these two cannot be broken.
@pytest.mark.parametrize(("name", "rule"), [
    ("rcd", "tRCD"), ("rp", "tRP"), ("rfc", "tRFC"), ("wr", "tWR"), ("rrd", "tRRD"),
    ("refresh_ms", "no AUTO REFRESH within 9 intervals"), ("power_up_us", "before the SDRAM has powered up"),
    ("mrd", "too soon after LOAD MODE"), ("cas_latency", "the mode has another CAS latency"),
])
def test_the_chip_notices_a_controller_that_is_too_fast(name, rule):
    value = getattr(ULX3S_SDRAM, name)
    slower = {"refresh_ms": value / 12, "mrd": value + 1, "cas_latency": 3}.get(name, value + 50)  # three cycles more
    board = SerialBoardModel(SdramTraffic(ULX3S_SDRAM, CLOCK_HZ), sdram=replace(ULX3S_SDRAM, **{name: slower}))
    with pytest.raises(DeviceError, match=f"the SDRAM controller broke a rule: .*{rule}"):
        board.run(CYCLES)
    board.close()


@pytest.mark.filterwarnings("ignore::amaranth.hdl.UnusedElaboratable")
def test_words_that_are_no_burst():
    with pytest.raises(ValueError, match="a word must have 2, 4, 8 or 16 bytes, the bursts of an SDRAM chip, not 32"):
        Sdram(ULX3S_SDRAM, CLOCK_HZ, 32)
