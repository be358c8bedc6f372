"""The benches of the on-chip memories and of the march notice errors that are planted in what they see."""

import random

import cocotb
import pytest
from lepton_hdl.memory.bist import March
from lepton_hdl.memory.scratchpad import Scratchpad

from tests.bench.disturbed import PlantedError, check_messages
from tests.bench.pins import Pins
from tests.bench.stalls import MOST
from tests.cocotb_harness import failing_cocotb, parameters
from tests.hdl.memory import march_bench
from tests.hdl.memory.configs import banked
from tests.hdl.memory.scratchpad_bench import BITS, ScratchpadBench, Traffic

MARCH_DATA = 1 << 5  # lowest bit of a word that the march writes: behind its address
LATE = 40  # reads

ERRORS = {
    "scratchpad4": [
        PlantedError("low", r"low is \d+, not \d+; after Traffic\(", 1 << 7, LATE),
        PlantedError("high", r"high is \d+, not \d+; after Traffic\(", 1 << 31, LATE),
        PlantedError("residual_read__data", r"residual_read__data is \d+, not \d+", 1, LATE),
        PlantedError("store_read__data", r"store_read__data is \d+, not \d+", 1, LATE),
        PlantedError("rows_read__data", r"rows_read__data is \d+, not \d+", 1, LATE),
        PlantedError("residual_read__request__ready", r"residual_read__request__ready is \d, not \d", 1, LATE),
        PlantedError("store_read__request__ready", r"store_read__request__ready is \d, not \d", 1, LATE),
        PlantedError("load_write__ready", r"load_write__ready is \d, not \d", 1, LATE),
        PlantedError("rows_read__request__ready", r"rows_read__request__ready is \d, not \d", 1, LATE),
        PlantedError("rows_write__ready", r"rows_write__ready is \d, not \d", 1, LATE),
    ],
    "march": [
        PlantedError("failed", "the march reports a sound memory"),
        PlantedError("busy", "the march does not begin"),
        PlantedError("busy", "access: 120 items are missing", first=1),
        PlantedError("write__payload", r"access: item 0 is Write\(address=1,.*, not Write\(address=0,"),
        PlantedError("write__payload", r"access: item 0 is Write\(address=0, word=.*, not Write", MARCH_DATA),
        PlantedError("write__payload", "write: an item was changed before it was taken", held="write__"),
        PlantedError("write__valid", "write: an item was withdrawn before it was taken", held="write__"),
        PlantedError("read__request__payload", r"access: item \d+ is Read\(address=1\), not Read\(address=0\)"),
        PlantedError("read__request__valid", "read__request: an item was withdrawn before it was taken",
                     held="read__request__"),
    ],
}
BLOCK = parameters().get("block", "march")


@cocotb.test(timeout_time=1, timeout_unit="ms", skip=BLOCK != "scratchpad4")
@cocotb.parametrize(number=range(len(ERRORS["scratchpad4"])))
async def traffic_with_a_wrong_output(dut, number):
    """Must fail."""
    config = banked(4)
    bench = ScratchpadBench(Pins(ERRORS[BLOCK][number].planted(dut)), config)
    await bench.start()
    for i in range(300):
        address = random.randrange(config.scratchpad_words - 3)
        last = address + 3
        # All four banks are read: the last one by STORE and by ROWS in turn.
        await bench.cycle(Traffic((address, 1), (address, random.getrandbits(BITS)), address + 2,
                                  last if i % 2 else None, (address + 1, random.getrandbits(BITS)),
                                  None if i % 2 else last, (address + 2, random.getrandbits(BITS))))


@cocotb.test(timeout_time=1, timeout_unit="ms", skip=BLOCK != "march")
@cocotb.parametrize(number=range(len(ERRORS["march"])))
async def a_march_with_a_wrong_output(dut, number):
    """Must fail."""
    bench = await march_bench.opened(ERRORS[BLOCK][number].planted(dut))
    assert not await bench.march(march_bench.Memory(), MOST), "the march reports a sound memory"


@pytest.mark.parametrize("block", ERRORS)
def test_planted_errors_are_reported(block):
    top = March(march_bench.CONFIG, march_bench.DEPTH) if block == "march" else Scratchpad(banked(4))
    check_messages(failing_cocotb(top, block, __name__, parameters={"block": block}), ERRORS[block])
