"""The benches of the engines notice errors that are planted in what they see: each of their monitors and checkers."""

import cocotb
import pytest

from tests.bench.disturbed import PlantedError, check_messages
from tests.bench.stalls import MOST
from tests.cocotb_harness import failing_cocotb, parameters
from tests.hdl.dma.bench import CONFIGS, LoadBench, StoreBench
from tests.hdl.dma.commands import Region
from tests.hdl.dma.engine_bench import LoadTester, Pauses, StoreTester

CONFIG = CONFIGS["tiny"]
BASE = 0x1_0000_0000
SIZE = 0x1000
WORD_DATA = 1 << 33  # lowest bit of a word that is written: behind its space and its address
BYTES = r"\d+ bytes differ, first 0x[0-9a-f]+: 0x[0-9a-f]+, not 0x[0-9a-f]+"

COMMON = [
    PlantedError("control__done__payload", r"done: item 0 is Done\(post=\d+, .*, not Done"),
    PlantedError("control__done__valid", r"done: item 0 is Done\(.*, not Done"),
    PlantedError("control__done__valid", r"done: item \d (is|was not expected)", first=200),
    PlantedError("control__error__valid", r"\[Failure\("),
    PlantedError("control__busy", "waited 6000 cycles; 6 done"),
]
ERRORS = {
    "load": [
        *COMMON,
        PlantedError("write__payload", r"word: item 0 is Word\(.*, not Word", WORD_DATA),
        PlantedError("write__valid", "write: an item was withdrawn before it was taken", held="write__"),
        PlantedError("write__payload", "write: an item was changed before it was taken", WORD_DATA, held="write__"),
        PlantedError("bus__araddr", r"word: item 0 is Word\(.*, not Word", 1 << 10),
        PlantedError("bus__araddr", "is outside memory", 1 << 40),
        PlantedError("bus__arlen", r"Burst\(address=\d+, beats=\d+\) crosses 4 KiB", 0xFF),
        PlantedError("bus__arsize", "arsize is 5: not a whole beat"),
        PlantedError("bus__arburst", "arburst is 0, not INCR"),
        PlantedError("bus__arid", "arid is 1, not 0"),
        PlantedError("bus__arvalid", "ar was withdrawn before it was accepted", held="bus__ar"),
        PlantedError("bus__araddr", "ar changed before it was accepted", 1 << 6, held="bus__ar"),
    ],
    "store": [
        *COMMON,
        PlantedError("read__request__payload", "is outside the scratchpad", 1 << 20),
        PlantedError("read__request__valid", "read__request: an item was withdrawn before it was taken",
                     held="read__request__"),
        PlantedError("bus__awaddr", BYTES, 1 << 10),
        PlantedError("bus__awsize", "awsize is 5: not a whole beat"),
        PlantedError("bus__awburst", "awburst is 0, not INCR"),
        PlantedError("bus__awid", "awid is 1, not 0"),
        PlantedError("bus__awvalid", "aw was withdrawn before it was accepted", held="bus__aw"),
        PlantedError("bus__awlen", "aw changed before it was accepted", held="bus__aw"),
        PlantedError("bus__wdata", BYTES, 1 << 40),
        PlantedError("bus__wstrb", BYTES, 1 << 5),
        PlantedError("bus__wlast", r"WLAST is \d on beat 0 of \d"),
        PlantedError("bus__wvalid", "w was withdrawn before it was accepted", held="bus__w"),
        PlantedError("bus__wdata", "w changed before it was accepted", held="bus__w"),
        PlantedError("bus__bready", "a response was refused"),
    ],
}
ENGINE = parameters().get("engine", "load")


@cocotb.test(timeout_time=2, timeout_unit="ms")
@cocotb.parametrize(number=range(len(ERRORS[ENGINE])))
async def a_job_with_a_wrong_output(dut, number):
    """Must fail."""
    seen = ERRORS[ENGINE][number].planted(dut)
    kind = StoreTester if ENGINE == "store" else LoadTester
    bench = kind.open(seen, CONFIG, [Region(BASE, SIZE)] * 4, SIZE, BASE, Pauses(memory=MOST, local=MOST))
    await bench.start()
    commands = [bench.command(offset=300 * i, local=64 * i, row_bytes=120, post=i, layer=7) for i in range(6)]
    await bench.run(*commands, limit=6000)
    await bench.quiet()


@pytest.mark.parametrize("engine", ERRORS)
def test_planted_errors_are_reported(engine):
    block = StoreBench if engine == "store" else LoadBench
    problems = failing_cocotb(block(CONFIG), f"{engine}_tiny", __name__, parameters={"engine": engine})
    check_messages(problems, ERRORS[engine])
