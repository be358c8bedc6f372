"""The firmware's driver functions (dif_*.c, memory.c): each register, each refusal, each status."""

import ctypes
import random

import pytest
from lepton.arch.controller import (
    CONTROLLER_WINDOW,
    LAUNCH_COPIED,
    RESULT_COUNTERS,
    RESULT_ERRORS,
    CompletionRecord,
    CopyMode,
    CopyStatus,
    JobRecord,
    Launch,
    LaunchStatus,
)
from lepton.arch.registers import Control, MemoryStatus, State

from tests.host.firmware.units import BAD_ARGUMENT, BOUNDS, BUSY, MEMORY, OK, STUCK, Registers


@pytest.fixture
def registers(library: ctypes.CDLL) -> Registers:
    return Registers(library)


def words(count: int) -> ctypes.Array:
    return (ctypes.c_uint32 * count)()


def run(registers: Registers, function: str, *arguments) -> int:
    with registers.call():
        return getattr(registers.library, function)(*arguments)


def begins(registers: Registers, data) -> dict[CopyMode, tuple]:
    """For every mode: the function and its arguments but window, offset and bytes, and what COPY_LOCAL must get."""
    return {CopyMode.READ: ("dif_copy_read_begin", (0x2000_0040,), 0x2000_0040),
            CopyMode.WRITE: ("dif_copy_write_begin", (data,), None),
            CopyMode.CHECK: ("dif_copy_check_begin", (), 0)}


@pytest.mark.parametrize("mode", CopyMode)
def test_a_copy_begins_with_its_registers(registers, mode):
    """All four in any order, then the mode; the whole of 32 bits."""
    data = words(4)
    function, extra, local = begins(registers, data)[mode]
    for window, offset, length in ((0, 4, 8), (CONTROLLER_WINDOW, 0xFFFF_FFFC, 0x8000_0000), (3, 0x1234_5678, 4)):
        registers.writes.clear()
        assert run(registers, function, window, offset, *extra, length) == OK
        if mode == CopyMode.WRITE:
            local = registers._local(ctypes.addressof(data))
        *before, last = registers.writes
        assert dict(before) == {"COPY_WINDOW": window, "COPY_OFFSET": offset, "COPY_LENGTH": length,
                                "COPY_LOCAL": local}
        assert last == ("COPY_START", mode)


@pytest.mark.parametrize("mode", CopyMode)
def test_a_copy_that_cannot_begin_writes_nothing(registers, mode):
    data = words(4)
    function, extra, _ = begins(registers, data)[mode]
    wrong = [(CONTROLLER_WINDOW + 1, 0, 4), (0xFFFF_FFFF, 0, 4), (0, 0, 0), *((0, n, 4) for n in (1, 2, 3)),
             *((0, 0, n) for n in (1, 2, 3, 5))]
    for window, offset, length in wrong:
        assert run(registers, function, window, offset, *extra, length) == BAD_ARGUMENT, (window, offset, length)
    for local in (1, 2, 3):
        if mode == CopyMode.READ:
            assert run(registers, function, 0, 0, 0x2000_0000 + local, 4) == BAD_ARGUMENT
        if mode == CopyMode.WRITE:
            assert run(registers, function, 0, 0, ctypes.c_void_p(ctypes.addressof(data) + local), 4) == BAD_ARGUMENT
    if mode == CopyMode.WRITE:
        assert run(registers, function, 0, 0, None, 4) == BAD_ARGUMENT
    registers.values["COPY_STATUS"] = CopyStatus.BUSY
    assert run(registers, function, 0, 0, *extra, 4) == BUSY
    assert not registers.writes
    for status in set(range(16)) - {n for n in range(16) if n & CopyStatus.BUSY}:  # of the copy before
        registers.values["COPY_STATUS"] = status
        assert run(registers, function, 0, 0, *extra, 4) == OK


@pytest.mark.parametrize("memory", [0, *MemoryStatus])
def test_every_status_of_a_copy(registers, memory):
    """BUSY is waited for; STUCK, or a failure of memory that is out of step, resets memory; a refusal of the hardware
    is not an error of memory."""
    registers.values["chip.MEMORY_STATUS"] = memory
    broken = memory & (MemoryStatus.READ_BROKEN | MemoryStatus.WRITE_BROKEN)
    for status in range(16):
        registers.writes.clear()
        failed = STUCK if broken else MEMORY
        expected = (BUSY if status & CopyStatus.BUSY else STUCK if status & CopyStatus.STUCK else
                    BOUNDS if status & CopyStatus.BOUNDS else failed if status & CopyStatus.FAILED else OK)
        assert run(registers, "dif_copy_outcome", status) == expected
        assert registers.writes == ([("chip.CONTROL", Control.MEMORY_RESET)] if expected == STUCK else [])


@pytest.mark.parametrize(("status", "expected"), [(0, OK), (CopyStatus.FAILED, MEMORY), (CopyStatus.BOUNDS, BOUNDS),
                                                  (CopyStatus.STUCK | CopyStatus.FAILED, STUCK)])
def test_a_whole_copy_waits_for_its_end(registers, status, expected):
    looks = iter([0, *[CopyStatus.BUSY] * 50, status])
    registers.answers["COPY_STATUS"] = lambda: next(looks)
    assert run(registers, "dif_copy_read", 1, 8, 0x2000_0000, 12) == expected
    assert next(looks, None) is None
    registers.answers["COPY_STATUS"] = lambda: CopyStatus.BUSY
    assert run(registers, "dif_copy_read", 1, 8, 0x2000_0000, 12) == BUSY


def test_a_check_goes_on_with_the_state_that_it_is_given(registers):
    state = ctypes.c_uint32(0x1234_5678)
    looks = iter([0, CopyStatus.BUSY, 0])
    registers.answers["COPY_STATUS"] = lambda: next(looks)
    registers.answers["COPY_CRC"] = lambda: 0x8765_4321
    assert run(registers, "dif_copy_check", 2, 64, 8, ctypes.byref(state)) == OK
    assert registers.writes[0] == ("COPY_CRC", 0x1234_5678) and registers.writes[-1] == ("COPY_START", CopyMode.CHECK)
    assert state.value == 0x8765_4321
    assert run(registers, "dif_copy_check", 2, 64, 8, None) == BAD_ARGUMENT
    assert run(registers, "dif_copy_check", 2, 65, 8, ctypes.byref(state)) == BAD_ARGUMENT


def test_the_launcher_gets_every_field(registers):
    """Each with a value of its own; the job starts with the last write."""
    random.seed(3)
    values = {f.name: random.getrandbits(f.bits) for f in JobRecord.fields}
    limit = 0xFEDC_BA98
    assert run(registers, "dif_launcher_stage", 7, JobRecord.pack(**values), limit) == OK
    expected = {"LAUNCH_WINDOW": 7, "LAUNCH_LIMIT": limit}
    expected |= {f"LAUNCH_{name}": values[name.lower()] for name in LAUNCH_COPIED}
    for region in ("PROGRAM", "INPUT", "OUTPUT", "SCRATCH"):
        expected |= {f"LAUNCH_{region}": values[f"{region.lower()}_offset"],
                     f"LAUNCH_{region}_SIZE": values[f"{region.lower()}_size"]}
    *before, last = registers.writes
    assert dict(before) == expected and len(before) == len(expected)
    assert last == ("LAUNCH", Launch.STAGE)


def test_the_launcher_is_asked_only_when_it_is_free(registers):
    job = JobRecord.pack()
    assert run(registers, "dif_launcher_stage", 0, None, 0) == BAD_ARGUMENT
    assert run(registers, "dif_launcher_stage", CONTROLLER_WINDOW + 1, job, 0) == BAD_ARGUMENT
    registers.values["LAUNCH_STATUS"] = LaunchStatus.STAGED | LaunchStatus.RUNNING
    assert run(registers, "dif_launcher_stage", 0, job, 0) == BUSY
    assert not registers.writes
    registers.values["LAUNCH_STATUS"] = 0xFF00 | 0xFF & ~LaunchStatus.STAGED
    assert run(registers, "dif_launcher_stage", CONTROLLER_WINDOW, job, 0) == OK
    registers.writes.clear()
    run(registers, "dif_launcher_cancel")
    assert registers.writes == [("LAUNCH", Launch.CANCEL)]


@pytest.mark.parametrize("status", State)
def test_every_result_arrives_in_its_field(registers, status):
    """Each register has a value of its own; after a job that is done the error registers are not looked at."""
    names = (*RESULT_COUNTERS, *RESULT_ERRORS)
    values = {name: 0x9000_0000 + 0x01_0101 * i for i, name in enumerate(names)}
    registers.values |= {f"RESULT_{name}": value for name, value in values.items()}
    registers.values |= {"RESULT_STATUS": status, "RESULT_START": 0xF000_0001, "RESULT_START_HI": 0xF000_0002}
    completion = ctypes.create_string_buffer(CompletionRecord.size)
    found = ctypes.c_uint32(77)
    assert run(registers, "dif_launcher_results", completion, ctypes.byref(found)) == OK
    assert found.value == status
    got = CompletionRecord.unpack(completion.raw)
    expected = dict.fromkeys(got, 0) | {name.lower(): values[name] for name in RESULT_COUNTERS}
    expected["start"] = 0xF000_0002_F000_0001
    if status != State.DONE:
        expected |= {"error_code": values["ERROR_CODE"] & 0xFF, "error_engine": values["ERROR_ENGINE"] & 0xFF,
                     "error_command": values["ERROR_COMMAND"], "error_layer": values["ERROR_LAYER"],
                     "error_address": values["ERROR_ADDRESS"] | values["ERROR_ADDRESS_HI"] << 32}
    assert got == expected
    assert run(registers, "dif_launcher_results", None, ctypes.byref(found)) == BAD_ARGUMENT
    assert run(registers, "dif_launcher_results", completion, None) == BAD_ARGUMENT


@pytest.mark.parametrize("shift", [0, 1, 2, 3, 4])
@pytest.mark.parametrize("skew", [0, 1])
def test_copies_and_clears_of_every_alignment(library, shift, skew):
    """Only the wanted bytes change, for every length."""
    for length in range(20):
        source = ctypes.create_string_buffer(bytes(range(1, 41)), 40)
        target = ctypes.create_string_buffer(b"\xEE" * 40, 40)
        at = ctypes.addressof(target) + shift
        library.firmware_memcpy.restype = library.firmware_memset.restype = ctypes.c_void_p
        assert library.firmware_memcpy(ctypes.c_void_p(at), ctypes.c_void_p(ctypes.addressof(source) + shift + skew),
                                       ctypes.c_size_t(length)) == at
        expected = bytearray(b"\xEE" * 40)
        expected[shift:shift + length] = source.raw[shift + skew:shift + skew + length]
        assert target.raw == expected
        for value in (0, 0xA5, 0x1FF):
            assert library.firmware_memset(ctypes.c_void_p(at), value, ctypes.c_size_t(length)) == at
            expected[shift:shift + length] = bytes([value & 0xFF]) * length
            assert target.raw == expected
