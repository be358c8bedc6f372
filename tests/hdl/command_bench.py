"""What the benches of TENSOR and ROWS share: commands, completions and errors of an engine (`EngineSignature`)."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from cocotb.handle import HierarchyObject
from lepton.arch import ChipConfig
from lepton.arch.record import Record
from lepton_hdl.interfaces import DONE, ERROR, command_layout
from numpy.typing import NDArray

from tests.bench.checker import InOrder
from tests.bench.clock import cycles, start_clock, until
from tests.bench.layouts import decode
from tests.bench.stalls import NONE, stall
from tests.bench.stream import StreamDriver, StreamMonitor

Memory = NDArray[np.uint8]
Completion = tuple[int, int, int]
"""Post, layer, snapshot."""


@dataclass(frozen=True)
class EngineError:
    """What the engine reports, as `ERROR`."""

    code: int
    index: int
    layer: int
    address: int


def completion_of(fields: Mapping[str, int]) -> Completion:
    """What the engine says when a command with these fields is done."""
    return fields["post"], fields["layer"], fields["snapshot"]


def check_scratchpad(got: Memory, expected: Memory, lanes: int) -> None:
    """Every byte as the model says."""
    wrong = np.flatnonzero(got != expected)
    assert not wrong.size, (f"{wrong.size} bytes of the scratchpad are wrong, first byte {wrong[0] % lanes} of word "
                            f"{wrong[0] // lanes}: {got[wrong[0]]}, not {expected[wrong[0]]}")


class CommandBench:
    """The driver of commands of the layout `record`, and the monitors and checkers of their ends.

    `pause`: the pattern in which commands are held back. `limit`: cycles for the commands of a test.
    """

    record: Record
    limit: int

    def __init__(self, dut: HierarchyObject, config: ChipConfig, pause: str = NONE) -> None:
        self.dut = dut
        self.config = config
        self.commands = StreamDriver[bytes](dut, "control__command", self._pack, stall(pause))
        self.completions = InOrder[Completion]("completion")
        self.done = StreamMonitor(dut, "control__done", lambda bits: completion_of(decode(DONE, bits)),
                                  lambda item: self.completions.receive(item))
        self.errors = StreamMonitor(dut, "control__error", lambda bits: EngineError(**decode(ERROR, bits)))
        self._packed = 0

    async def start(self) -> None:
        """Start the clock and reset."""
        await start_clock(self.dut, control__halt=0)
        await cycles(self.dut, 1)

    async def again(self) -> None:
        """Reset; what was sent and seen is forgotten, memories keep their contents."""
        self.dut.rst.value = 1
        self.dut.control__halt.value = 0
        self.commands.clear()
        await cycles(self.dut, 2)
        self._packed = 0
        self.completions = InOrder("completion")
        self.forget()
        self.dut.rst.value = 0
        await cycles(self.dut, 1)

    def forget(self) -> None:
        """Forget what the monitors have seen, during the reset."""
        for monitor in (self.done, self.errors):
            monitor.clear()

    def _pack(self, record: bytes) -> int:
        """A command with its index, which follows it (`command_layout`)."""
        index = self._packed
        self._packed += 1
        return int.from_bytes(record, "little") | index << command_layout(self.record).size - 32

    def send(self, *commands: Mapping[str, int]) -> None:
        """Offer commands; their completions are expected."""
        packed = [self.record.pack(**fields) for fields in commands]
        self.completions.expect(*(completion_of(self.record.unpack(record)) for record in packed))
        self.commands.send(*packed)

    async def finish(self) -> None:
        """Until every command is done; no error may be reported, and the engine is not busy behind it."""
        def ended() -> bool:
            assert not self.errors.items, f"{self.errors.items[0]}"
            return self.completions.complete

        await until(self.dut, ended, self.limit, lambda: f"{self.completions.received} commands are done")
        self.completions.finish()
        await cycles(self.dut, 3)
        assert not self.dut.control__busy.value, "busy without a command"
