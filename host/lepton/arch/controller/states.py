"""States, errors, events and flags, of registers and of records."""

from enum import IntEnum, IntFlag

from .sizes import CODE_BYTES, PRIORITIES


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
    BootError.SELF_TEST_RESULT: "the self-test's results are wrong; the chip is defective",
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


ENUMS: tuple[type[IntEnum], ...] = (BootState, BootError, JobStatus, Refusal, EventKind, CopyMode)
FLAGS: tuple[type[IntFlag], ...] = (JobFlag, Event, CopyStatus, LaunchStatus, Launch, BistStatus)
