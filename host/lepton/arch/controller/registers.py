"""The registers, as the host and the controller's processor see them."""

from collections.abc import Iterator
from dataclasses import dataclass

from ..commands import Engine, Region
from ..registers import COUNTERS, REGISTERS
from .sizes import CLIENTS, CONTROLLER_WINDOW, HOST_BASE


@dataclass(frozen=True)
class ControllerRegister:
    """One 32-bit register of the controller. `host` and `processor` say what either may do:
    "ro", "rw", "wo", "w1c" (write one to clear), "w1s" (write one to set) or "" (not there).

    Registers with `stored` are words of a small memory that keep what was written, undefined after reset.
    """

    name: str
    offset: int
    host: str
    processor: str
    doc: str
    stored: bool = False


STORED_BASE = 0x100
STORED_WORDS = 128
LAUNCH_BASE = 0x100
RESULT_BASE = 0x160
WINDOW_BASE = 0x1A0
WINDOW_STRIDE = 0x20

# Job registers that the launcher copies from LAUNCH_<name>; the regions are added to their window.
LAUNCH_COPIED = ("TIMEOUT", *(f"{e.name}_{part}" for e in Engine for part in ("PROGRAM", "COUNT")))
# What the launcher reads when a job has ended; the errors only after an error.
RESULT_COUNTERS = tuple(name for name, _ in COUNTERS)
RESULT_ERRORS = tuple(name for name in REGISTERS if name.startswith("ERROR_"))


def _registers() -> Iterator[ControllerRegister]:
    yield ControllerRegister("START", 0x000, "wo", "", "1 starts the processor at its ROM, 0 puts it back into reset")
    yield ControllerRegister("CONTROLLER_STATUS", 0x004, "ro", "rw", "`BootState`")
    yield ControllerRegister("DETAIL", 0x008, "ro", "rw", "`BootError` after FAILED, the address after HALTED")
    yield ControllerRegister("FIRMWARE", 0x00C, "ro", "rw", "version of the firmware that runs")
    yield ControllerRegister("CLIENT_IRQ_ENABLE", 0x010, "rw", "", "bit i: completions of client i; bit 8: STATUS")
    yield ControllerRegister("CLIENT_IRQ", 0x014, "w1c", "w1s", "as CLIENT_IRQ_ENABLE: what is pending")
    yield ControllerRegister("LOG_COUNT", 0x018, "ro", "rw", "events written since the start")
    yield ControllerRegister("CLIENT_RESET", 0x01C, "w1s", "w1c", "bit i: forget the jobs of client i, set its HEAD "
                                                                  "and DONE to 0; cleared when that is done")
    yield ControllerRegister("TIME", 0x020, "ro", "ro", "cycles since reset, low half")
    yield ControllerRegister("TIME_HI", 0x024, "ro", "ro", "high half")
    yield ControllerRegister("EVENTS", 0x040, "", "w1c", "`Event`")
    yield ControllerRegister("WAIT", 0x044, "", "ro", "EVENTS; the read is answered when one is pending, and the "
                                                      "processor's clock stands still until then")
    yield ControllerRegister("DOORBELLS", 0x03C, "", "w1c", "bit i: the host wrote CONTROL or TAIL of client i")
    yield ControllerRegister("TIMER", 0x048, "", "wo", "raise Event.TIMER after this many cycles; 0 stops it")
    yield ControllerRegister("LOCK", 0x04C, "", "wo", "any write makes the code memory read-only until START")
    yield ControllerRegister("BIST", 0x050, "", "wo", "any write tests scratchpad and weight memory")
    yield ControllerRegister("BIST_STATUS", 0x054, "", "ro", "`BistStatus`")
    yield ControllerRegister("COPY_WINDOW", 0x060, "", "wo", "window of the next copy")
    yield ControllerRegister("COPY_OFFSET", 0x064, "", "wo", "offset in the window, a multiple of 4")
    yield ControllerRegister("COPY_LOCAL", 0x068, "", "wo", "processor's address, a multiple of 4")
    yield ControllerRegister("COPY_LENGTH", 0x06C, "", "wo", "bytes, a multiple of 4")
    yield ControllerRegister("COPY_START", 0x070, "", "wo", "`CopyMode`")
    yield ControllerRegister("COPY_STATUS", 0x074, "", "ro", "`CopyStatus`")
    yield ControllerRegister("COPY_CRC", 0x078, "", "rw", "state of the CRC32 over everything read by copies")
    yield ControllerRegister("LAUNCH", 0x080, "", "wo", "`Launch`")
    yield ControllerRegister("LAUNCH_STATUS", 0x084, "", "ro", "`LaunchStatus`; bits 15:8 count the jobs started")
    yield ControllerRegister("LAUNCH_WINDOW", 0x088, "", "wo", "window of the staged job")
    yield ControllerRegister("LAUNCH_LIMIT", 0x08C, "", "wo", "cycles until Event.LIMIT; 0: never")
    yield ControllerRegister("RESULT_START", 0x090, "", "ro", "TIME at the doorbell of the last job, low half")
    yield ControllerRegister("RESULT_START_HI", 0x094, "", "ro", "high half")
    for i, name in enumerate(LAUNCH_COPIED):
        yield ControllerRegister(f"LAUNCH_{name}", LAUNCH_BASE + 4 * i, "", "rw", f"{name} of the staged job", True)
    for region in Region:
        offset = LAUNCH_BASE + 4 * len(LAUNCH_COPIED) + 8 * region
        yield ControllerRegister(f"LAUNCH_{region.name}", offset, "", "rw", "offset of the region in the window", True)
        yield ControllerRegister(f"LAUNCH_{region.name}_SIZE", offset + 4, "", "rw", "its size in bytes", True)
    for i, name in enumerate(("STATUS", *RESULT_COUNTERS, *RESULT_ERRORS)):
        yield ControllerRegister(f"RESULT_{name}", RESULT_BASE + 4 * i, "", "ro", f"{name} of the last job", True)
    for i in range(CLIENTS + 1):
        base = WINDOW_BASE + WINDOW_STRIDE * i
        name = "CONTROLLER" if i == CONTROLLER_WINDOW else f"CLIENT{i}"
        yield ControllerRegister(f"{name}_BASE", base, "rw", "ro", "address of the window, low half", True)
        yield ControllerRegister(f"{name}_BASE_HI", base + 4, "rw", "ro", "high half", True)
        yield ControllerRegister(f"{name}_SIZE", base + 8, "rw", "ro", "size of the window in bytes", True)
        if i != CONTROLLER_WINDOW:
            yield ControllerRegister(f"{name}_CONTROL", base + 0xC, "rw", "ro",
                                     "bit 0 enable, bits 5:4 highest priority", True)
            yield ControllerRegister(f"{name}_LIMIT", base + 0x10, "rw", "ro",
                                     "longest time limit of a job in cycles; 0: none", True)
            yield ControllerRegister(f"{name}_TAIL", base + 0x14, "rw", "ro",
                                     "doorbell: records written so far, modulo 2**32", True)
            yield ControllerRegister(f"{name}_HEAD", base + 0x18, "ro", "rw", "records taken", True)
            yield ControllerRegister(f"{name}_DONE", base + 0x1C, "ro", "rw", "completions written", True)


CONTROLLER_REGISTERS: dict[str, ControllerRegister] = {r.name: r for r in _registers()}


def host_offset(name: str) -> int:
    """Where the host finds a register of the controller."""
    return HOST_BASE + CONTROLLER_REGISTERS[name].offset
