"""The self-test's job on the golden chip: what the image expects, and every engine has a part in it."""

import zlib

import lepton.device
import pytest
from lepton.arch import PRESETS, REGISTERS, ChipConfig, Engine, Region
from lepton.arch.controller import JobRecord
from lepton.arch.registers import Interrupt
from lepton.firmware.selftest import COMMANDS, PIXELS, SelfTest, self_test

START = 0x3000  # of the job in memory
CYCLE_LIMIT = 100_000
CHIPS = [*PRESETS.values(), PRESETS["tiny"].with_(name="without ROWS", row_lanes=0)]


def results(config: ChipConfig, test: SelfTest, image: bytes) -> bytes:
    """What the chip writes when it runs the job as the controller would."""
    job = JobRecord.unpack(image[:JobRecord.size])
    with lepton.device.open("golden", config=config, memory_bytes=1 << 20) as device:
        device.write_memory(START, image)
        values = {f"{engine.name}_{part}": job[f"{engine.name.lower()}_{part.lower()}"]
                  for engine in Engine for part in ("PROGRAM", "COUNT")}
        for region in (Region.PROGRAM, Region.INPUT, Region.OUTPUT):
            values |= {f"{region.name}_BASE": job[f"{region.name.lower()}_offset"],
                       f"{region.name}_SIZE": job[f"{region.name.lower()}_size"]}
        for name, value in (values | {"IRQ_ENABLE": Interrupt.DONE | Interrupt.ERROR, "DOORBELL": 1}).items():
            device.write_register(REGISTERS[name].offset, int(value))
        device.wait_interrupt(CYCLE_LIMIT)
        return bytes(device.read_memory(test.output, test.output_bytes))


@pytest.mark.parametrize("config", CHIPS, ids=lambda config: config.name)
def test_the_job_gives_what_the_image_expects(config):
    test = self_test(config, START)
    assert zlib.crc32(results(config, test, test.image)) == test.crc
    assert test.output_bytes == PIXELS * config.lanes * (3 if config.row_lanes else 1)


def test_a_wrong_constant_of_rows_shows():
    """One bit of a bias of NORM, of the largest exponential, of a weight: other bytes are written."""
    config = PRESETS["tiny"]
    test = self_test(config, START)
    commands = JobRecord.size + COMMANDS
    size = JobRecord.unpack(test.image[:JobRecord.size])["program_size"]
    records = 2 * 8 * config.lanes  # bytes at the end of the program
    for place in (commands + 45, JobRecord.size + size - 1, JobRecord.size + size - records - 1024 + 3):
        image = bytearray(test.image)
        image[place] ^= 1 << 6
        assert zlib.crc32(results(config, test, bytes(image))) != test.crc, place
