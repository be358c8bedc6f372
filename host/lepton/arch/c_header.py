"""Writes firmware/include/lepton_arch.h from the description: `python -m lepton.arch.c_header`.

The header is kept in the repository; a test compares it with what this module makes.
"""

import sys
from collections.abc import Iterator
from enum import Enum, IntEnum, IntFlag
from pathlib import Path

from . import controller
from .controller import CONTROLLER_REGISTERS, ENUMS, FLAGS, RECORDS
from .errors import ErrorCode
from .record import Record
from .registers import (
    DRAIN_LIMIT,
    REGISTERS,
    SNAPSHOT_BASE,
    SNAPSHOT_COUNTERS,
    VERSION,
    Control,
    Interrupt,
    MemoryStatus,
    State,
)

COMMAND = "python -m lepton.arch.c_header"

_CONSTANTS = ("CLIENTS", "CONTROLLER_WINDOW", "RING_ENTRIES", "PRIORITIES", "PATIENCE", "ROM_BYTES", "CODE_BYTES",
              "DATA_BYTES", "ROM_BASE", "CODE_BASE", "DATA_BASE", "PERIPHERAL_BASE", "CHIP_BASE", "WINDOW_STRIDE",
              "JOB_MAGIC", "IMAGE_MAGIC", "JOB_BYTES", "COMPLETION_BYTES", "COMPLETION_RING", "RINGS_BYTES",
              "LOG_EVENTS", "IMAGE_OFFSET")


def path() -> Path:
    """The header in the source tree of this module."""
    return Path(__file__).resolve().parents[3] / "firmware" / "include" / "lepton_arch.h"


def text() -> str:
    """The whole header."""
    return "\n".join(_lines()) + "\n"


def _lines() -> Iterator[str]:
    yield f"// Generated from host/lepton/arch by `{COMMAND}`; do not edit."
    yield from ("#ifndef LEPTON_ARCH_H", "#define LEPTON_ARCH_H", "", "#include <stdint.h>", "")
    yield f"#define LEPTON_VERSION {VERSION:#x}u"
    for name in _CONSTANTS:
        yield f"#define LEPTON_{name} {getattr(controller, name):#x}u"
    yield from ("", "// Registers of the controller, offsets from LEPTON_PERIPHERAL_BASE.")
    for r in CONTROLLER_REGISTERS.values():
        if r.processor:
            yield f"#define LEPTON_REG_{r.name} {r.offset:#05x}u  // {r.processor}: {r.doc}"
    yield from ("", "// Registers of the chip, offsets from LEPTON_CHIP_BASE.")
    for register in REGISTERS.values():
        yield f"#define LEPTON_CHIP_{register.name} {register.offset:#05x}u"
    yield f"#define LEPTON_DRAIN_LIMIT {DRAIN_LIMIT}u"
    yield f"#define LEPTON_SNAPSHOT_BASE {SNAPSHOT_BASE:#x}u"
    yield f"#define LEPTON_SNAPSHOT_BYTES {4 * len(SNAPSHOT_COUNTERS)}u"
    enums: tuple[type[IntEnum], ...] = (*ENUMS, ErrorCode, State)
    for enum in enums:
        yield from ("", "typedef enum {")
        yield from (f"    {_constant(enum, member)} = {int(member)}," for member in enum)
        yield f"}} lepton_{_snake(enum.__name__)}_t;"
    yield ""
    every_flags: tuple[type[IntFlag], ...] = (*FLAGS, Control, Interrupt, MemoryStatus)
    for flags in every_flags:
        yield from (f"#define {_constant(flags, member)} {int(member):#x}u" for member in flags)
    for record in RECORDS:
        yield from _struct(record)
    yield from ("", "#endif")


def _struct(record: Record) -> Iterator[str]:
    name = f"lepton_{_snake(record.name)}_t"
    yield from ("", f"// {record.doc.splitlines()[0]}", "typedef struct {")
    for f in record.fields:
        if f.bits in (8, 16, 32):
            yield f"    uint{f.bits}_t {f.name};"
        else:  # words, so that no member needs more than 4 bytes of alignment
            yield f"    uint32_t {f.name}[{f.bits // 32}];"
    yield f"}} {name};"
    yield f'_Static_assert(sizeof({name}) == {record.size}, "{record.name} must be {record.size} bytes");'


def _constant(enum: type[Enum], member: Enum) -> str:
    return f"LEPTON_{_snake(enum.__name__)}_{member.name}".upper()


def _snake(name: str) -> str:
    return "".join(f"_{c.lower()}" if c.isupper() and i else c.lower() for i, c in enumerate(name))


def main() -> int:
    """Rewrite the header if it differs."""
    if path().exists() and path().read_text(encoding="utf-8") == text():
        print("the header is up to date")
    else:
        path().parent.mkdir(parents=True, exist_ok=True)
        path().write_text(text(), encoding="utf-8")
        print(f"written: {path()}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
