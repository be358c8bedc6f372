"""What stands around a DMA engine: the driver of its commands, monitors of what it reports, on-chip memories."""

from collections.abc import Sequence
from dataclasses import dataclass

from cocotb.handle import HierarchyObject
from cocotb.triggers import RisingEdge
from lepton.arch import ChipConfig, Dma
from lepton_hdl.interfaces import DONE, ERROR, REGION_TABLE, word_write_layout

from tests.bench.clock import cycles, start_clock, until
from tests.bench.layouts import decode
from tests.bench.stalls import Stall
from tests.bench.stream import ReadyDriver, StreamDriver, StreamMonitor
from tests.bench.word_memory import WordReads
from tests.hdl.dma.commands import Fields, Region, Word

RESET_CYCLES = 2  # of a reset in the middle of a test


@dataclass(frozen=True)
class Done:
    """What an engine reports of a command that has finished."""

    post: int
    layer: int
    snapshot: int

    @classmethod
    def of(cls, fields: Fields) -> "Done":
        """What it must report of a command; DMA commands take no snapshots."""
        return cls(fields["post"], fields["layer"], 0)


@dataclass(frozen=True)
class Failure:
    """What an engine reports when it cannot go on."""

    code: int
    index: int
    layer: int
    address: int


@dataclass(frozen=True)
class NumberedCommand:
    """A command with its number in the job."""

    index: int
    fields: Fields


def _pack(numbered: NumberedCommand) -> int:
    return int.from_bytes(Dma.pack(**numbered.fields), "little") | numbered.index << 8 * Dma.size


async def start_engine(dut: HierarchyObject, regions: Sequence[Region]) -> None:
    """Start the clock and reset; the job may use these regions."""
    table = REGION_TABLE.const([{"base": region.base, "size": region.size} for region in regions])
    await start_clock(dut, control__halt=0, timeout=0, restart=0, regions=table.as_value().value)
    await RisingEdge(dut.clk)


async def restart_port(dut: HierarchyObject) -> None:
    """Pulse `restart` of a memory port, as the next job does."""
    dut.restart.value = 1
    await cycles(dut, 1)
    dut.restart.value = 0
    await cycles(dut, 2)


class Control:
    """Drives an engine's commands, numbered as sent, and watches what it reports."""

    def __init__(self, dut: HierarchyObject, pause: Stall | None = None) -> None:
        self.dut = dut
        self.driver = StreamDriver(dut, "control__command", _pack, pause)
        self.accepted = StreamMonitor(dut, "control__command", int)
        self.done = StreamMonitor(dut, "control__done", lambda bits: Done(**decode(DONE, bits)))
        self.errors = StreamMonitor(dut, "control__error", lambda bits: Failure(**decode(ERROR, bits)))
        self._number = 0

    def send(self, *commands: Fields) -> None:
        """Queue commands."""
        for fields in commands:
            self.driver.send(NumberedCommand(self._number, fields))
            self._number += 1

    @property
    def busy(self) -> bool:
        """What the engine says."""
        return bool(self.dut.control__busy.value)

    @property
    def state(self) -> str:
        """For the message of a test that waits in vain."""
        return f"{len(self.done.items)} done, errors {self.errors.items}, busy {self.busy}"

    async def finished(self, count: int, limit: int = 50_000) -> None:
        """Wait until `count` commands in total are done and the engine is idle; no error may be reported."""
        await until(self.dut, lambda: len(self.done.items) >= count and not self.busy, limit, lambda: self.state)
        assert not self.errors.items, self.errors.items

    async def reset(self) -> None:
        """Reset engine and port in the middle of a test, and forget what was sent and reported."""
        self.driver.clear()
        for monitor in (self.accepted, self.done, self.errors):
            monitor.clear()
        self._number = 0
        self.dut.rst.value = 1
        await cycles(self.dut, RESET_CYCLES)
        self.dut.rst.value = 0
        await cycles(self.dut, 2)


class WordSink:
    """The on-chip memories that LOAD writes: `monitor.items` are the words, in order."""

    def __init__(self, dut: HierarchyObject, config: ChipConfig, pause: Stall | None = None) -> None:
        layout = word_write_layout(config)

        def unpack(bits: int) -> Word:
            word = layout.from_bits(bits)
            return Word(word.space, word.address, word.data.to_bytes(config.lanes, "little"))

        ReadyDriver(dut, "write", pause)
        self.monitor = StreamMonitor(dut, "write", unpack)


class WordSource:
    """The scratchpad that STORE reads."""

    def __init__(self, dut: HierarchyObject, config: ChipConfig, contents: bytes, pause: Stall | None = None) -> None:
        lanes = config.lanes

        def read(address: int) -> int:
            assert address < config.scratchpad_words, f"word {address} is outside the scratchpad"
            return int.from_bytes(contents[address * lanes:(address + 1) * lanes], "little")

        self.reads = WordReads(dut, "read", read, 8 * lanes, pause)
