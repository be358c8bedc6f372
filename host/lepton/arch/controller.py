"""The controller: its registers, its memories, and what lies in the memory that it shares with the host.

Nothing here exists in a chip with `ChipConfig.controller` unset.

Memory is reached through *windows*. The host gives every client one, and one to the controller itself;
records name offsets in a window, and hardware adds the base and checks the end, so that the firmware
has no way to name memory outside a window. A client's window begins with its two rings:

    0x0000  submission ring, RING_ENTRIES job records
    0x0800  completion ring, RING_ENTRIES completion records; job n is answered in slot n mod RING_ENTRIES
    0x1000  the client's buffers

The controller's window holds the event log and then the boot image.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from enum import IntEnum, IntFlag

from .commands import Engine, Region
from .record import Field, Record
from .registers import COUNTERS, REGISTERS

CLIENTS = 8
CONTROLLER_WINDOW = CLIENTS  # the window after those of the clients
RING_ENTRIES = 16
PRIORITIES = 4
PATIENCE = 8  # a client that was passed over this often goes before every priority

ROM_BYTES = 4096
CODE_BYTES = 16384
DATA_BYTES = 8192

# The processor's address map.
ROM_BASE = 0x0000_0000
CODE_BASE = 0x1000_0000
DATA_BASE = 0x2000_0000
PERIPHERAL_BASE = 0x3000_0000
CHIP_BASE = 0x4000_0000  # the chip's registers, as the host sees them

HOST_BASE = 0x1000  # where the host sees the controller's registers


class BootState(IntEnum):
    """CONTROLLER_STATUS."""

    OFF = 0  # the processor is held in reset; the host drives the chip directly
    ROM = 1  # the ROM loads the image
    SELF_TEST = 2  # the firmware tests the chip
    READY = 3  # jobs are served
    FAILED = 4  # boot has stopped; DETAIL says why
    HALTED = 5  # the processor met an illegal instruction or address; only a restart helps


class BootError(IntEnum):
    """DETAIL after FAILED; the text says what it means and what to do."""

    NONE = 0
    BAD_MAGIC = 1
    BAD_SIZE = 2
    BAD_CRC = 3
    MEMORY = 4
    SCRATCHPAD = 5
    WEIGHTS = 6
    SELF_TEST_JOB = 7
    SELF_TEST_RESULT = 8
    VERSION = 9

    @property
    def text(self) -> str:
        return _BOOT_TEXT[self]


_BOOT_TEXT = {
    BootError.NONE: "no error",
    BootError.BAD_MAGIC: "the controller's window holds no boot image; write one at IMAGE_OFFSET",
    BootError.BAD_SIZE: f"the image's code is empty, not whole words, or larger than {CODE_BYTES} bytes",
    BootError.BAD_CRC: "the image's code does not have the CRC32 of its header; load the image again",
    BootError.MEMORY: "memory did not answer while the image was read",
    BootError.SCRATCHPAD: "the scratchpad failed its self-test; the chip is defective",
    BootError.WEIGHTS: "the weight memory failed its self-test; the chip is defective",
    BootError.SELF_TEST_JOB: "the chip stopped the self-test's job with an error; the chip is defective",
    BootError.SELF_TEST_RESULT: "the self-test's product is wrong; the chip is defective",
    BootError.VERSION: "the image is for another version of the architecture; use the driver's own image",
}


class JobStatus(IntEnum):
    """Of a completion."""

    DONE = 1
    REFUSED = 2  # the record was refused; nothing of the job was done
    ERROR = 3  # the chip stopped the job, error_code says why
    TIME_LIMIT = 4  # the job ran longer than it may, and was stopped


class Refusal(IntEnum):
    """Why a job record was refused."""

    NONE = 0
    MAGIC = 1
    CRC = 2
    SEQUENCE = 3
    RESERVED = 4
    PRIORITY = 5
    REGION = 6
    STREAM = 7
    SNAPSHOTS = 8
    PROGRAM_HASH = 9
    MEMORY = 10

    @property
    def text(self) -> str:
        return _REFUSAL_TEXT[self]


_REFUSAL_TEXT = {
    Refusal.NONE: "not refused",
    Refusal.MAGIC: "the slot holds no job record",
    Refusal.CRC: "the record does not have its CRC32; was it written whole before the doorbell?",
    Refusal.SEQUENCE: "the record belongs to another turn of the ring",
    Refusal.RESERVED: "a reserved field or an unknown flag is not zero",
    Refusal.PRIORITY: f"the priority is above {PRIORITIES - 1}",
    Refusal.REGION: "a region leaves the client's window or overlaps its rings",
    Refusal.STREAM: "a command stream is not aligned or leaves the program, or there are no commands",
    Refusal.SNAPSHOTS: "the snapshots do not fit the client's window, or are more than the chip keeps",
    Refusal.PROGRAM_HASH: "the program does not have the hash of the record",
    Refusal.MEMORY: "memory failed when the record or the program was read",
}


class JobFlag(IntFlag):
    VERIFY = 1  # compare the program with program_hash before the job runs
    SNAPSHOTS = 2  # copy per-layer counters to memory before the completion


class EventKind(IntEnum):
    """Of an entry in the event log; in brackets, what arg0.. hold."""

    BOOT = 1  # [firmware version, cycles of the boot]
    START = 2  # [sequence, program_hash, limit]
    END = 3  # [sequence, status, cycles, error_code]
    REFUSED = 4  # [sequence, reason]
    BAD_DOORBELL = 5  # [tail, head]
    CLIENT_RESET = 6  # []
    TIME_LIMIT = 7  # [sequence, limit]
    ABORT = 8  # [sequence], as the client was reset while the job ran
    ENGINE_RESET = 9  # [sequence], as memory did not answer, or an abort did not end the job
    MEMORY_FAULT = 10  # [offset, bytes]


class Event(IntFlag):
    """Bits of EVENTS: what wakes the processor."""

    DOORBELL = 1  # the host wrote TAIL, CONTROL or CLIENT_RESET
    JOB = 2  # a job has ended; its results can be read
    LIMIT = 4  # the running job has reached its time limit
    TIMER = 8  # the timer has run out


class CopyMode(IntEnum):
    """What COPY_START starts."""

    READ = 0  # memory to the processor's memories
    WRITE = 1  # data memory to memory
    CHECK = 2  # memory to nowhere; for its CRC


class CopyStatus(IntFlag):
    BUSY = 1
    BOUNDS = 2  # the last copy would have left its window or the local memory; nothing was done
    FAILED = 4  # memory answered an error, or not at all
    STUCK = 8  # not at all: CONTROL.RESET must precede the next copy


class LaunchStatus(IntFlag):
    STAGED = 1  # a job waits for its turn
    RUNNING = 2
    RESULT = 4  # RESULT registers hold the last job's results, until acknowledged
    HELD = 8  # the last job ended in an error: the staged one waits for the acknowledgement
    REFUSED = 16  # a region of the staged job leaves its window; it was not started
    EXPIRED = 32  # the running job has reached its time limit


class Launch(IntFlag):
    """Bits of LAUNCH."""

    STAGE = 1  # start the staged job as soon as the chip is free
    CANCEL = 2  # forget it, if it has not started
    ACKNOWLEDGE = 4  # the results have been read


class BistStatus(IntFlag):
    BUSY = 1
    SCRATCHPAD = 2  # a word of it read back wrong
    WEIGHTS = 4


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


STORED_BASE, STORED_WORDS = 0x100, 128
LAUNCH_BASE = 0x100
RESULT_BASE = 0x140
WINDOW_BASE, WINDOW_STRIDE = 0x180, 0x20

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


JOB_MAGIC = 0x424A_4F4C  # "LOJB"
IMAGE_MAGIC = 0x4D49_4F4C  # "LOIM"
JOB_BYTES = 128
COMPLETION_BYTES = 128
COMPLETION_RING = RING_ENTRIES * JOB_BYTES
RINGS_BYTES = COMPLETION_RING + RING_ENTRIES * COMPLETION_BYTES
LOG_EVENTS = 128
IMAGE_OFFSET = LOG_EVENTS * 32


def _reserved(bits: int, number: int = 0) -> Field:
    return Field(f"reserved{number}", bits, "zero")


JobRecord = Record("JobRecord", JOB_BYTES, (
    Field("magic", 32, f"{JOB_MAGIC:#x}"),
    Field("sequence", 32, "jobs that the client submitted before, modulo 2**32"),
    Field("flags", 8, "`JobFlag`"),
    Field("priority", 8, f"0..{PRIORITIES - 1}, higher first; at most what the client may"),
    _reserved(16),
    Field("time_limit", 32, "cycles; 0: the client's limit"),
    Field("timeout", 32, "the TIMEOUT register: cycles without an answer from memory"),
    Field("program_hash", 32, "CRC32 of the region PROGRAM, of its whole words"),
    *(field for e in Engine for field in (
        Field(f"{e.name.lower()}_program", 32, f"offset of the {e.name} stream in PROGRAM, a multiple of 64"),
        Field(f"{e.name.lower()}_count", 32, "its commands"))),
    *(field for r in Region for field in (
        Field(f"{r.name.lower()}_offset", 32, f"of the region {r.name} in the client's window"),
        Field(f"{r.name.lower()}_size", 32, "its bytes; 0: none"))),
    Field("snapshot_offset", 32, "where snapshots go in the client's window, a multiple of 4"),
    Field("snapshot_count", 32, "slots to copy, from slot 0"),
    Field("tag", 64, "given back in the completion"),
    _reserved(224, 1),
    Field("crc", 32, "CRC32 of the bytes before it"),
), "What a client asks for: one job. Offsets are in its window.")

CompletionRecord = Record("CompletionRecord", COMPLETION_BYTES, (
    Field("sequence", 32, "of the job"),
    Field("status", 8, "what became of it", enum=JobStatus),
    Field("reason", 8, "why it was refused", enum=Refusal),
    Field("error_code", 8, "`ErrorCode`, where the chip stopped it"),
    Field("error_engine", 8, "`Engine`"),
    Field("error_command", 32, "index of the command in its stream"),
    Field("error_layer", 32, "layer field of the command"),
    Field("error_address", 64, "offending address or value"),
    Field("tag", 64, "of the job record"),
    Field("start", 64, "TIME at the doorbell"),
    Field("accepted", 64, "TIME when the record was taken"),
    *(Field(name.lower(), 32, doc) for name, doc in COUNTERS),
    _reserved(320),
    Field("program_hash", 32, "of the job record"),
), "What became of a job.")

EventRecord = Record("EventRecord", 32, (
    Field("sequence", 32, "events before this one"),
    Field("kind", 8, "what happened", enum=EventKind),
    Field("client", 8, f"whose; {CLIENTS}: the controller"),
    _reserved(16),
    Field("time", 64, "TIME"),
    *(Field(f"arg{i}", 32, "see `EventKind`") for i in range(4)),
), "An entry of the event log; the log is a ring of LOG_EVENTS.")

ImageHeader = Record("ImageHeader", 128, (
    Field("magic", 32, f"{IMAGE_MAGIC:#x}"),
    Field("version", 32, "of the firmware: major, minor, patch in a byte each"),
    Field("architecture", 32, "VERSION of the chip that it is for"),
    Field("code_bytes", 32, "code, directly after the header"),
    Field("code_crc", 32, "its CRC32"),
    Field("image_bytes", 32, "header and everything behind it"),
    Field("test_job", 32, "offset in the controller's window of the self-test's job record"),
    Field("test_output", 32, "and of its result"),
    Field("test_bytes", 32, "size of the result"),
    Field("test_crc", 32, "CRC32 that it must have"),
    _reserved(192),
    Field("signature", 512, "Ed25519, over the image with this field zero"),
), "Before the firmware's code, at IMAGE_OFFSET in the controller's window.")

RECORDS = (JobRecord, CompletionRecord, EventRecord, ImageHeader)
ENUMS = (BootState, BootError, JobStatus, Refusal, EventKind, CopyMode)
FLAGS = (JobFlag, Event, CopyStatus, LaunchStatus, Launch, BistStatus)
