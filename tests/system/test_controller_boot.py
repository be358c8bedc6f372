"""The controller on the RTL from reset to serving jobs, and every way in which that must fail."""

import lepton.device
import pytest
from lepton.arch import REGISTERS
from lepton.arch.controller import (
    IMAGE_OFFSET,
    BootError,
    BootState,
    EventKind,
    ImageHeader,
    JobRecord,
    host_offset,
)
from lepton.driver import BoardController, DriverError
from lepton.firmware.image import FIRMWARE_VERSION, build_image, development_key
from lepton.firmware.selftest import COMMANDS
from lepton_sim.memory_profile import Fault, FaultKind

from tests.system.controller_jobs import CONFIG

BOOT_CYCLES = 300_000
TEST_WEIGHTS = JobRecord.size + COMMANDS  # behind the beginning of the self-test


class Untrusting(BoardController):
    """Loads an image without looking at its signature, as an attacker on the host would."""

    def _boot(self, image, trusted):
        import lepton.driver.controller as module

        verify = module.verify_image
        module.verify_image = lambda *_: None
        try:
            super()._boot(image, trusted)
        finally:
            module.verify_image = verify


@pytest.fixture(scope="module")
def image(tmp_path_factory):
    return build_image(CONFIG, development_key(tmp_path_factory.mktemp("keys")))


def with_header(image, **changes):
    return ImageHeader.pack(**ImageHeader.unpack(image[:ImageHeader.size]) | changes) + image[ImageHeader.size:]


def header(image, name):
    return ImageHeader.unpack(image[:ImageHeader.size])[name]


def flipped(image, position):
    return image[:position] + bytes([image[position] ^ 1]) + image[position + 1:]


def test_boot(board):
    board.reset()
    before = board.cycles
    with BoardController(board) as controller:
        assert board.cycles - before <= BOOT_CYCLES
        assert controller.state == BootState.READY and controller.read("FIRMWARE") == FIRMWARE_VERSION
        assert controller.log()[0].kind == EventKind.BOOT
        # The host no longer drives the chip; what it could see, it still sees.
        assert board.read_register(REGISTERS["ID"].offset) == 0x4C45_5054
        for name in ("DOORBELL", "CONTROL", "OUTPUT_BASE", "IRQ_ENABLE"):
            with pytest.raises(lepton.device.DeviceError, match="SLVERR"):
                board.write_register(REGISTERS[name].offset, 1)


@pytest.mark.parametrize(("error", "change"), [
    (BootError.BAD_MAGIC, lambda i: with_header(i, magic=0)),
    (BootError.VERSION, lambda i: with_header(i, architecture=9)),
    (BootError.BAD_SIZE, lambda i: with_header(i, code_bytes=16388)),
    (BootError.BAD_SIZE, lambda i: with_header(i, code_bytes=0)),
    (BootError.BAD_SIZE, lambda i: with_header(i, code_bytes=7)),
    (BootError.BAD_CRC, lambda i: flipped(i, 200)),
    (BootError.BAD_CRC, lambda i: with_header(i, code_crc=1)),
    (BootError.MEMORY, lambda i: with_header(i, test_job=0xFFFF_FF00)),
    (BootError.SELF_TEST_JOB, lambda i: flipped(i, header(i, "test_job") - IMAGE_OFFSET)),
    (BootError.SELF_TEST_JOB, lambda i: flipped(i, header(i, "test_job") - IMAGE_OFFSET + 129)),
    (BootError.SELF_TEST_RESULT, lambda i: flipped(i, header(i, "test_job") - IMAGE_OFFSET + TEST_WEIGHTS + 45)),
    (BootError.SELF_TEST_RESULT, lambda i: with_header(i, test_crc=1)),
])
def test_a_bad_image_is_not_run(board, image, error, change):
    board.reset()
    with pytest.raises(DriverError, match=f"the controller has failed with {error.name}: "):
        Untrusting(board, change(image), [])
    assert board.read_register(host_offset("CONTROLLER_STATUS")) == BootState.FAILED


def test_memory_that_fails_during_the_boot(board, image):
    board.reset()
    board.add_fault(Fault(0, board.memory_bytes - 1, FaultKind.SLVERR))
    with pytest.raises(DriverError, match="failed with MEMORY"):
        Untrusting(board, image, [])
    board.clear_faults()


def test_after_a_failed_boot_the_next_succeeds(board, image):
    board.reset()
    with pytest.raises(DriverError, match="BAD_CRC"):
        Untrusting(board, flipped(image, 300), [])
    with BoardController(board) as controller:
        assert controller.state == BootState.READY


def test_an_unsigned_image_does_not_reach_the_chip(board, image):
    board.reset()
    with pytest.raises(ValueError, match="none of the 1 trusted keys"):
        BoardController(board, image)
    assert board.read_register(host_offset("CONTROLLER_STATUS")) == BootState.OFF


def test_a_firmware_that_runs_wild_halts(board, image):
    """Code that begins with an illegal instruction: the host is told, and can restart."""
    import zlib

    board.reset()
    size = header(image, "code_bytes")
    code = bytes(4) + image[132:128 + size]
    broken = with_header(image[:128] + code + image[128 + size:], code_crc=zlib.crc32(code))
    with pytest.raises(DriverError, match="the controller's processor has halted at address 0x1000000"):
        Untrusting(board, broken, [])
    with BoardController(board) as controller:
        assert controller.state == BootState.READY


def test_a_chip_without_a_controller_is_refused(boards):
    with pytest.raises(DriverError, match="configuration 'tiny' has no controller"):
        BoardController(boards("tiny"))
