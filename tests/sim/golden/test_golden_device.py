"""The golden model behind the `Device` interface."""

import numpy as np
import pytest
from lepton.arch import COUNTERS, PRESETS, REGISTERS, DmaOpcode, ErrorCode
from lepton.arch.registers import Control, Interrupt, State, snapshot_offset
from lepton.device import DeviceError
from lepton.device import open as open_device
from lepton_sim.golden.device import open_golden

from tests.sim.golden.golden_program import Program, bits, dma, register

SMALL = 1 << 20


@pytest.fixture
def device():
    with open_golden("base", memory_bytes=SMALL) as device:
        yield device


def test_is_found_by_name():
    with open_device("golden", config="tiny", memory_bytes=SMALL) as device:
        assert device.config == PRESETS["tiny"]
        assert device.memory_bytes == SMALL


def test_tells_which_chip_it_is(device):
    read = {name: device.read_register(register(name)) for name in
            ("ID", "VERSION", "GEOMETRY", "SCRATCHPAD", "WEIGHTS", "ACCUMULATORS")}
    assert read == {"ID": 0x4C455054, "VERSION": 3, "GEOMETRY": 0x4101010, "SCRATCHPAD": 256 << 10,
                    "WEIGHTS": 128 << 10, "ACCUMULATORS": 1024}


def test_writable_registers_hold_their_value(device):
    written = [r for r in REGISTERS.values() if r.access == "rw"]
    for i, r in enumerate(written):
        device.write_register(r.offset, 0x1000 + i)
    assert [device.read_register(r.offset) for r in written] == [0x1000 + i for i in range(len(written))]


def test_counters_and_snapshots_read_zero(device):
    offsets = [register(name) for name, _ in COUNTERS] + [snapshot_offset(255, "READ_BEATS"), 0x2000]
    assert [device.read_register(offset) for offset in offsets] == [0] * len(offsets)


@pytest.mark.parametrize("offset", [2, 0x01C, 0x1FFC, 0x2002, 0x4000, -4])
def test_unknown_offsets(device, offset):
    with pytest.raises(DeviceError, match=f"read of register {offset:#x} answered SLVERR: no register"):
        device.read_register(offset)
    with pytest.raises(DeviceError, match=f"write to register {offset:#x} answered SLVERR: no writable register"):
        device.write_register(offset, 0)


@pytest.mark.parametrize("name", [r.name for r in REGISTERS.values() if r.access == "ro"])
def test_read_only_registers(device, name):
    before = device.read_register(register(name))
    with pytest.raises(DeviceError, match=rf"write to register {name} \(.*answered SLVERR: it is read-only"):
        device.write_register(register(name), 1)
    assert device.read_register(register(name)) == before


@pytest.mark.parametrize("value", [-1, 1 << 32])
def test_register_values_have_32_bits(device, value):
    with pytest.raises(DeviceError, match=f"must be in 0..4294967295, not {value}"):
        device.write_register(register("TIMEOUT"), value)


def test_write_only_registers_read_zero(device):
    assert [device.read_register(register(name)) for name in ("CONTROL", "DOORBELL")] == [0, 0]


def test_interrupts_are_enabled_raised_and_cleared(device):
    assert device.read_register(register("STATUS")) == State.IDLE
    device.write_register(register("DOORBELL"), 0)
    assert device.read_register(register("STATUS")) == State.DONE
    assert not device.wait_interrupt(10)
    device.write_register(register("IRQ_ENABLE"), Interrupt.DONE)
    assert device.wait_interrupt(10)
    device.write_register(register("IRQ_STATUS"), Interrupt.ERROR)
    assert device.read_register(register("IRQ_STATUS")) == Interrupt.DONE
    device.write_register(register("IRQ_STATUS"), Interrupt.DONE)
    assert device.read_register(register("IRQ_STATUS")) == 0
    assert not device.wait_interrupt(10)


def test_reset_clears_the_outcome_and_abort_does_nothing_when_idle():
    program = Program(PRESETS["tiny"], load=[dma(DmaOpcode.STORE, layer=4)])
    with program.open() as device:
        assert program.start(device) == State.ERROR
        device.write_register(register("CONTROL"), Control.ABORT)
        assert device.read_register(register("ERROR_CODE")) == ErrorCode.ILLEGAL_OPCODE
        device.write_register(register("CONTROL"), Control.RESET)
        for name in ("STATUS", "IRQ_STATUS", "ERROR_CODE", "ERROR_LAYER"):
            assert device.read_register(register(name)) == 0
        assert device.read_register(register("LOAD_COUNT")) == 1


def test_error_addresses_have_64_bits():
    program = Program(PRESETS["tiny"], load=[dma()])
    with program.open() as device:
        program.start(device)
        device.write_register(register("PROGRAM_BASE_HI"), 0x89)
        device.write_register(register("DOORBELL"), 1)
        assert device.read_register(register("ERROR_ADDRESS_HI")) == 0x89


@pytest.mark.parametrize("data", [b"\x01\x02\x03\x04", np.array([0x04030201], "<u4"), np.array([1, 2, 3, 4], np.int8)])
def test_memory_takes_bytes_and_arrays(device, data):
    device.write_memory(SMALL - 4, data)
    read = device.read_memory(SMALL - 4, 4)
    assert (read.dtype, read.tolist()) == (np.uint8, [1, 2, 3, 4])
    read[:] = 0  # a copy
    assert device.read_memory(SMALL - 4, 4).tolist() == [1, 2, 3, 4]


def test_memory_takes_nothing(device):
    device.write_memory(SMALL, b"")
    assert device.read_memory(0, 0).size == 0


@pytest.mark.parametrize("address, size", [(SMALL - 3, 4), (-1, 1), (0, SMALL + 1), (SMALL, 1)])
def test_memory_has_an_end(device, address, size):
    with pytest.raises(DeviceError, match=r"do not lie in the board's memory of 1048576 bytes.*larger memory_bytes"):
        device.read_memory(address, size)
    with pytest.raises(DeviceError, match="do not lie in the board's memory"):
        device.write_memory(address, bytes(size))


def test_default_memory_costs_nothing_until_written():
    with open_golden() as device:
        assert device.memory_bytes == 256 << 20
        assert device.config.name == "base"


def test_a_closed_device_refuses():
    device = open_golden("tiny", memory_bytes=SMALL)
    device.close()
    device.close()
    for use in (lambda: device.read_register(0), lambda: device.write_register(0x28, 0),
                lambda: device.read_memory(0, 1), lambda: device.write_memory(0, b"a"),
                lambda: device.wait_interrupt(1)):
        with pytest.raises(DeviceError, match="the golden device is closed"):
            use()


def test_bad_arguments():
    with pytest.raises(DeviceError, match="config must be one of tiny, small, base, large or a ChipConfig, not 'huge'"):
        open_golden("huge")
    with pytest.raises(DeviceError, match="memory_bytes must be a positive multiple of 4096, not 100"):
        open_golden("tiny", memory_bytes=100)
    with pytest.raises(DeviceError, match="cannot hold memory_bytes=1152921504606846976 of device memory"):
        open_golden("tiny", memory_bytes=1 << 60)


def test_works_without_the_hardware_packages():
    """The golden device must not drag in Amaranth."""
    import subprocess
    import sys
    code = "import sys, lepton_sim.golden.device; sys.exit(any(name.startswith('amaranth') for name in sys.modules))"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_unordered_jobs_without_the_checker_run():
    program = Program(PRESETS["tiny"], load=[dma(DmaOpcode.FILL, post=bits(0))],
                      store=[dma(DmaOpcode.STORE, region=2, row_bytes=4)])
    with program.open() as device:
        assert program.start(device) == State.DONE
        assert device.races == []
