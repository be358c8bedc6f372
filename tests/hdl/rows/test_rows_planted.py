"""The bench of the ROWS engine notices errors that are planted in what it sees."""

import cocotb
from lepton.arch.rows import RowsOpcode
from lepton_hdl.rows.engine import RowsEngine

from tests.bench.disturbed import PlantedError, check_messages
from tests.bench.stalls import MOST
from tests.cocotb_harness import failing_cocotb
from tests.hdl.rows.bench import RowsBench
from tests.hdl.rows.commands import CONFIGS, blank_chip, random_command

CONFIG = CONFIGS[4, 1]
LATE = 50  # reads
BYTES = r"\d+ bytes of the scratchpad are wrong, first byte \d of word \d+: \d+, not \d+"
WRITE_DATA = 1 << 20  # a bit of a word that is written: behind its address of 12 bits

ERRORS = [
    PlantedError("control__done__payload", r"completion: item 0 is .*, not"),
    PlantedError("control__done__valid", r"completion: item 0 is .*, not"),
    PlantedError("control__done__valid", r"completion: item \d (is|was not expected)", first=200),
    PlantedError("control__error__valid", "EngineError"),
    PlantedError("control__busy", "busy without a command"),
    PlantedError("read__request__payload", "is outside the scratchpad", 1 << 20),
    PlantedError("read__request__payload", BYTES),
    PlantedError("read__request__valid", "read__request: an item was withdrawn before it was taken",
                 held="read__request__"),
    PlantedError("read__request__payload", "read__request: an item was changed before it was taken",
                 held="read__request__"),
    PlantedError("write__payload", BYTES, WRITE_DATA),
    PlantedError("write__payload", BYTES),
    PlantedError("write__valid", "write: an item was withdrawn before it was taken", held="write__"),
    PlantedError("write__payload", "write: an item was changed before it was taken", WRITE_DATA, held="write__"),
]


@cocotb.test(timeout_time=5, timeout_unit="ms")
@cocotb.parametrize(number=range(len(ERRORS)))
async def commands_with_a_wrong_output(dut, number):
    """Must fail."""
    bench = RowsBench(ERRORS[number].planted(dut), CONFIG, MOST)
    await bench.start()
    chip = blank_chip(CONFIG)
    norm = random_command(chip, RowsOpcode.NORM, (4, 1, 1), 2 * CONFIG.lanes)
    # Results that differ from row to row.
    norm |= dict(center=1, count=norm["length"], out_shift=18, out_zero=0, out_min=-128, out_max=127, in_zero=0)
    await bench.run(chip, *(norm | {"layer": i} for i in range(3)))


def test_planted_errors_are_reported():
    check_messages(failing_cocotb(RowsEngine(CONFIG), CONFIG.name, __name__), ERRORS)
