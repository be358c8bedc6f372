"""Writes docs/reference/ from the description: `python -m lepton.arch.docs`.

The pages are kept in the repository so that they can be read there; a test compares
them with what this module makes.
"""

import sys
from collections.abc import Iterable, Iterator
from dataclasses import fields
from enum import IntFlag
from itertools import groupby
from pathlib import Path

from . import controller
from .commands import (
    ENGINE_OPCODES,
    ENGINE_RECORDS,
    PARAM_WORDS,
    SEMAPHORES_READ,
    SEMAPHORES_WEIGHTS,
    SEMAPHORES_WRITE,
    UNIFORM_PARAM_WORDS,
    Engine,
    Region,
    Space,
)
from .config import PRESETS, ChipConfig
from .errors import ErrorCode
from .record import Record
from .registers import (
    ADDRESS_BITS,
    COUNTERS,
    DRAIN_LIMIT,
    REGISTERS,
    SNAPSHOT_BASE,
    SNAPSHOT_COUNTERS,
    Control,
    Interrupt,
    MemoryStatus,
)

COMMAND = "python -m lepton.arch.docs"
_NOTICE = f"<!-- Generated from host/lepton/arch by `{COMMAND}`; do not edit. -->"


def folder() -> Path:
    """docs/reference of the source tree of this module."""
    return Path(__file__).resolve().parents[3] / "docs" / "reference"


def pages() -> dict[str, str]:
    """The text of every page by file name."""
    made = {"commands.md": _commands(), "registers.md": _registers(), "errors.md": _errors(), "config.md": _config(),
            "controller.md": _controller()}
    return {name: "\n".join(lines) + "\n" for name, lines in made.items()}


def stale(where: Path) -> list[str]:
    """File names under `where` that are missing or differ from `pages`."""
    return [name for name, text in pages().items()
            if not (where / name).exists() or (where / name).read_text(encoding="utf-8") != text]


def write(where: Path) -> list[str]:
    """Bring the pages under `where` up to date; the names of those that were not."""
    changed = stale(where)
    where.mkdir(parents=True, exist_ok=True)
    for name in changed:
        (where / name).write_text(pages()[name], encoding="utf-8")
    return changed


def _commands() -> Iterator[str]:
    yield from _heading("Commands", "What the engines execute, from `lepton.arch.commands` and `lepton.arch.rows`.")
    yield ""
    yield from _table(("Engine", "Command", "Bytes", "Opcodes"), (
        (engine.name, record.name, record.size,
         ", ".join(f"`{opcode:#04x}` {opcode.name}" for opcode in ENGINE_OPCODES[engine]))
        for engine, record in ENGINE_RECORDS.items()))
    yield ""
    yield "Records are little-endian, without gaps, least significant bit first. Fields named `reserved…` must be zero."
    for record in dict.fromkeys(ENGINE_RECORDS.values()):
        yield from record_section(record)
    yield from ("", "## Semaphores", "")
    yield "A wait of TENSOR is counted by the class of its lowest missing semaphore."
    yield ""
    yield from _table(("Semaphores", "Counted as"), (
        (f"{r.start}..{r.stop - 1}", name) for r, name in (
            (SEMAPHORES_READ, "WAIT_READ"), (SEMAPHORES_WEIGHTS, "WAIT_WEIGHTS"), (SEMAPHORES_WRITE, "WAIT_WRITE"))))
    for title, values in (("Regions", Region), ("On-chip memories", Space)):
        yield from ("", f"## {title}", "")
        yield from _table(("Value", "Name"), ((int(value), value.name) for value in values))
    yield from ("", "## Parameter record", "")
    yield (f"{PARAM_WORDS} words of the weight memory for K output channels; byte n of a word belongs to channel n: "
           "bias (4 words, int32), multiplier (4 words, int32), left shift (1), right shift (1). "
           f"With `uniform`, {UNIFORM_PARAM_WORDS} words: bias (int24).")


def record_section(record: Record) -> Iterator[str]:
    """Lines that describe one record: its doc, and a table of its fields."""
    first, _, rest = record.doc.partition("\n")
    yield from ("", f"## {record.name}", "", first, "")
    yield from _prose_and_code(rest.strip("\n").splitlines())
    yield ""
    yield from _table(("Byte", "Bits", "Field", "Type", "Meaning"), (
        (*_position(record.offset(f.name), f.bits), f"`{f.name}`", f"{'int' if f.signed else 'uint'}{f.bits}",
         f.doc + (": " + ", ".join(f"{int(v)} {v.name}" for v in f.enum) if f.enum else ""))
        for f in record.fields))


def _prose_and_code(lines: Iterable[str]) -> Iterator[str]:
    """Runs of indented lines become code blocks, set apart by blank lines."""
    for code, run in groupby((line for line in lines if line), key=lambda line: line.startswith("    ")):
        text = [line[4:] if code else line for line in run]
        yield from ("```python", *text, "```", "") if code else text


def _position(offset: int, bits: int) -> tuple[str, str]:
    """Byte, and bits in it; a field of whole bytes shows no bits."""
    byte, bit = divmod(offset, 8)
    if bit == 0 and bits % 8 == 0:
        return str(byte), ""
    return str(byte), f"{bit}" if bits == 1 else f"{bit + bits - 1}:{bit}"


def _registers() -> Iterator[str]:
    yield from _heading("Registers", "What the host sees over AXI4-Lite, from `lepton.arch.registers`.")
    yield ""
    yield (f"Registers are 32 bits wide and their addresses {ADDRESS_BITS}. SLVERR, and no effect, answers an offset "
           "that is not listed, an unaligned address, a write of less than four bytes, a write to a read-only "
           "register, and a write to a *job* register while a job runs.")
    yield ""
    yield "`ro` read only · `rw` read and write · `w1c` write one to clear · `wo` acts when written, reads as zero"
    yield ""
    yield from _table(("Offset", "Register", "Access", "Job", "Meaning"), (
        (f"`{r.offset:#05x}`", r.name, r.access, "job" if r.job else "", r.doc) for r in REGISTERS.values()))
    for flags in (Control, MemoryStatus, Interrupt):
        yield from _flags(flags)
    yield ""
    yield ("RESET stops a job at once, but not its transactions: what memory still answers is read and dropped, write "
           "bursts get their missing beats with no byte marked, and the next job fetches its first command when "
           "MEMORY_STATUS shows nothing open. What never ends must be forgotten on both sides with MEMORY_RESET, which "
           f"also raises the pin `memory_reset` for a cycle; driver and firmware do so after {DRAIN_LIMIT} cycles.")
    yield from ("", "## Counters", "")
    causes = [name for name, _ in COUNTERS[1:7]]
    yield (f"They start at zero with the doorbell and stand still when the job has ended. {', '.join(causes)} add up "
           "to CYCLES exactly.")
    yield from ("", "## Snapshots", "")
    yield (f"Slot *i* holds the counters at the end of the last TENSOR command with `snapshot` and `layer` = *i*; "
           f"counter *j* is at `{SNAPSHOT_BASE:#x} + 32*i + 4*j`. Slots that a job does not write keep what they held.")
    yield ""
    yield from _table(("*j*", "Counter"), enumerate(name for name, _ in SNAPSHOT_COUNTERS))


def _errors() -> Iterator[str]:
    yield from _heading("Errors", "Why a job stops: the values of ERROR_CODE, from `lepton.arch.errors`.")
    yield ""
    yield from _table(("Code", "Name", "Meaning"), ((int(code), code.name, code.text) for code in ErrorCode))
    yield ""
    engines = ", ".join(f"{int(engine)} for {engine.name}" for engine in Engine)
    yield f"ERROR_ENGINE is {engines}. Of several causes the first counts."


def _controller() -> Iterator[str]:
    first, *rest = controller.__doc__.strip("\n").splitlines()
    yield from _heading("Controller", f"{first} From `lepton.arch.controller`.")
    yield ""
    yield from _prose_and_code(rest)
    yield from ("", "## Registers", "")
    yield (f"The host finds them at `{controller.HOST_BASE:#x}` + offset, the processor at "
           f"`{controller.PERIPHERAL_BASE:#x}` + offset.")
    yield ""
    yield from _table(("Offset", "Register", "Host", "Processor", "Meaning"), (
        (f"`{r.offset:#05x}`", r.name, r.host, r.processor, r.doc) for r in controller.CONTROLLER_REGISTERS.values()))
    for record in controller.RECORDS:
        yield from record_section(record)
    for enum in controller.ENUMS:
        yield from ("", f"## {enum.__name__}", "")
        texts = [getattr(member, "text", "") for member in enum]
        has_text = any(texts)
        yield from _table(("Value", "Name", "Meaning") if has_text else ("Value", "Name"), (
            (int(member), member.name, text) if has_text else (int(member), member.name)
            for member, text in zip(enum, texts, strict=True)))
    for flags in controller.FLAGS:
        yield from _flags(flags)


def _flags(flags: type[IntFlag]) -> Iterator[str]:
    """A section with the bits of a register."""
    yield from ("", f"## {flags.__name__}", "")
    yield from _table(("Value", "Name"), ((int(flag), flag.name) for flag in flags))


def _config() -> Iterator[str]:
    yield from _heading("Configurations", "The tested presets of `lepton.arch.ChipConfig`; other combinations are not.")
    yield ""
    names = [f.name for f in fields(ChipConfig) if f.name != "name"]
    yield from _table(("Parameter", *PRESETS), (
        (f"`{name}`", *(getattr(config, name) for config in PRESETS.values())) for name in names))


def _heading(title: str, text: str) -> Iterator[str]:
    yield from (f"# {title}", "", _NOTICE, "", text)


def _table(header: tuple[str, ...], rows: Iterable[tuple[object, ...]]) -> Iterator[str]:
    yield "| " + " | ".join(header) + " |"
    yield "|" + "---|" * len(header)
    for row in rows:
        yield "| " + " | ".join(str(cell).replace("|", r"\|") for cell in row) + " |"


def main() -> int:
    """Rewrite the pages and say which changed."""
    changed = write(folder())
    print("\n".join(f"written: {folder() / name}" for name in changed) or "all reference pages are up to date")
    return 0


if __name__ == "__main__":
    sys.exit(main())
