"""What the host sees over AXI4-Lite: 32-bit registers, byte offsets.

Writing a read-only register, touching an offset that is not listed, or writing
a job register while a job runs answers SLVERR and changes nothing.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from enum import IntEnum, IntFlag

from .commands import REGIONS, Engine, Region

IDENTIFICATION = 0x4C45_5054  # "LEPT"
VERSION = 0x0000_0003  # of this architecture description
ADDRESS_BITS = 14
# Cycles that driver and firmware give memory to answer what a job has left open, before they reset it: a
# hundred times the latency of a slow memory and its longest queue.
DRAIN_LIMIT = 100_000


class State(IntEnum):
    """The STATUS register."""

    IDLE = 0
    RUNNING = 1
    DONE = 2
    ERROR = 3


class Interrupt(IntFlag):
    """Bits of IRQ_STATUS and IRQ_ENABLE."""

    DONE = 1
    ERROR = 2


class Control(IntFlag):
    """Bits of CONTROL; they act when written and read as zero."""

    RESET = 1  # stop the job at once; what memory still answers is discarded, the next job begins after that
    ABORT = 2  # end the running job with error ABORTED
    MEMORY_RESET = 4  # RESET, and memory and ports forget all transactions; only where memory no longer answers


class MemoryStatus(IntFlag):
    """Bits of MEMORY_STATUS: what memory still has to answer, and what it did wrong."""

    READS_OPEN = 1  # read data of the job are outstanding
    WRITES_OPEN = 2  # write responses of the job are outstanding
    READ_TIMED_OUT = 4  # no progress for TIMEOUT cycles; until the next doorbell or reset
    WRITE_TIMED_OUT = 8
    READ_BROKEN = 16  # AXI_PROTOCOL; until MEMORY_RESET, or the next doorbell where nothing is outstanding
    WRITE_BROKEN = 32


@dataclass(frozen=True)
class Register:
    """One 32-bit register; `access` is "ro", "rw", "w1c" (write one to clear) or "wo"."""

    name: str
    offset: int
    access: str
    doc: str
    job: bool = False  # can be written only while no job runs


COUNTERS = (
    ("CYCLES", "cycles from doorbell to completion; the next six add up to it"),
    ("COMPUTE", "an input word entered the tensor pipeline"),
    ("WAIT_READ", "TENSOR waited for input data"),
    ("WAIT_WEIGHTS", "TENSOR waited for weights, from memory or into the array"),
    ("WAIT_WRITE", "TENSOR waited for room for its results"),
    ("WAIT_SYNC", "TENSOR waited for its own earlier results, or for a residual"),
    ("IDLE", "TENSOR had no command"),
    ("READ_BEATS", "data beats read from memory"),
    ("WRITE_BEATS", "data beats written to memory"),
)
SNAPSHOT_COUNTERS = COUNTERS[:8]  # what a snapshot holds, in this order
COUNTER_BASE = 0x100
SNAPSHOT_BASE = 0x2000  # slot i, counter j: SNAPSHOT_BASE + 32*i + 4*j


def _registers() -> Iterator[Register]:
    yield Register("ID", 0x000, "ro", "0x4C455054, the letters LEPT")
    yield Register("VERSION", 0x004, "ro", "version of the architecture description")
    yield Register("GEOMETRY", 0x008, "ro", "lanes (bits 7:0), columns (15:8), bus bytes (23:16), row lanes (31:24)")
    yield Register("SCRATCHPAD", 0x00C, "ro", "scratchpad size in bytes")
    yield Register("WEIGHTS", 0x010, "ro", "weight memory size in bytes")
    yield Register("ACCUMULATORS", 0x014, "ro", "accumulator rows")
    yield Register("CONTROL", 0x020, "wo", "`Control`: bit 0 reset, bit 1 abort, bit 2 memory reset")
    yield Register("STATUS", 0x024, "ro", "0 idle, 1 running, 2 done, 3 error")
    yield Register("IRQ_ENABLE", 0x028, "rw", "bit 0 done, bit 1 error")
    yield Register("IRQ_STATUS", 0x02C, "w1c", "bit 0 done, bit 1 error")
    yield Register("DOORBELL", 0x030, "wo", "any write starts the job", job=True)
    yield Register("TIMEOUT", 0x034, "rw", "cycles without an answer from memory until AXI_TIMEOUT; 0 means never",
                   job=True)
    yield Register("ERROR_CODE", 0x040, "ro", "why the job stopped")
    yield Register("ERROR_ENGINE", 0x044, "ro", ", ".join(f"{int(e)} {e.name.lower()}" for e in Engine))
    yield Register("ERROR_COMMAND", 0x048, "ro", "index of the command in its stream")
    yield Register("ERROR_LAYER", 0x04C, "ro", "layer field of the command")
    yield Register("ERROR_ADDRESS", 0x050, "ro", "offending address or field value, low half")
    yield Register("ERROR_ADDRESS_HI", 0x054, "ro", "high half")
    yield Register("MEMORY_STATUS", 0x058, "ro", "`MemoryStatus`; the open bits must be 0 before the next doorbell")
    for engine in Engine:
        yield Register(f"{engine.name}_PROGRAM", 0x060 + 8 * engine, "rw",
                       "offset of the command stream in region PROGRAM, a multiple of 64", job=True)
        yield Register(f"{engine.name}_COUNT", 0x064 + 8 * engine, "rw", "commands in the stream", job=True)
    for region in Region:
        base = 0x080 + 16 * region
        yield Register(f"{region.name}_BASE", base, "rw", "address of the region, low half", job=True)
        yield Register(f"{region.name}_BASE_HI", base + 4, "rw", "high half", job=True)
        yield Register(f"{region.name}_SIZE", base + 8, "rw", "size of the region in bytes", job=True)
    assert len(Region) == REGIONS
    for i, (name, doc) in enumerate(COUNTERS):
        yield Register(name, COUNTER_BASE + 4 * i, "ro", doc)


REGISTERS: dict[str, Register] = {r.name: r for r in _registers()}


def snapshot_offset(layer: int, counter: str) -> int:
    """Offset of a counter in the snapshot of a layer."""
    return SNAPSHOT_BASE + 32 * layer + 4 * [name for name, _ in SNAPSHOT_COUNTERS].index(counter)
