"""The bench of the ROWS engine: a scratchpad that stalls, commands, completions and errors; its model is the golden
chip of the simulator."""

from dataclasses import dataclass

import numpy as np
from cocotb.handle import HierarchyObject
from lepton.arch import ChipConfig
from lepton.arch.rows import Rows
from lepton_hdl.interfaces import DONE, ERROR
from lepton_hdl.memory.scratchpad import tensor_write_layout
from lepton_sim.golden.row_walk import rows_command
from lepton_sim.golden.state import ChipState
from numpy.typing import NDArray

from tests.bench.checker import InOrder
from tests.bench.clock import cycles, start_clock, until
from tests.bench.layouts import decode
from tests.bench.stalls import NONE, stall
from tests.bench.stream import ReadyDriver, StreamDriver, StreamMonitor
from tests.bench.word_memory import WordReads
from tests.hdl.rows.commands import Fields

LIMIT = 400_000  # cycles for the commands of a test; the longest take less than half of it
COMMAND_BITS = 8 * Rows.size
QUIET = 60  # cycles for which nothing may move where nothing is under way; more than the engine's longest latency
Completion = tuple[int, int, int]
"""Post, layer, snapshot."""


@dataclass(frozen=True)
class EngineError:
    """What the engine reports, as `ERROR`."""

    code: int
    index: int
    layer: int
    address: int


def completion_of(fields: Fields) -> Completion:
    """What the engine says when this command is done."""
    return fields["post"], fields["layer"], fields["snapshot"]


def check_scratchpad(got: NDArray[np.uint8], expected: NDArray[np.uint8], lanes: int) -> None:
    """Every byte as the model says."""
    wrong = np.flatnonzero(got != expected)
    assert not wrong.size, (f"{wrong.size} bytes of the scratchpad are wrong, first byte {wrong[0] % lanes} of word "
                            f"{wrong[0] // lanes}: {got[wrong[0]]}, not {expected[wrong[0]]}")


class RowsBench:
    """All parts around one `RowsEngine`. `pause`: the pattern in which the scratchpad's ports and commands are held
    back. `chip` is the model, `memory` the scratchpad that the engine sees."""

    def __init__(self, dut: HierarchyObject, config: ChipConfig, pause: str = NONE) -> None:
        self.dut = dut
        self.config = config
        self.memory = np.zeros(config.scratchpad_bytes, np.uint8)
        self.commands = StreamDriver[bytes](dut, "control__command", self._pack, stall(pause))
        self.completions = InOrder[Completion]("completion")
        self.done = StreamMonitor(dut, "control__done", self._completion, lambda item: self.completions.receive(item))
        self.errors = StreamMonitor(dut, "control__error", lambda bits: EngineError(**decode(ERROR, bits)))
        self.reads = WordReads(dut, "read", self._read, 8 * config.lanes, stall(pause))
        self.write_ready = ReadyDriver(dut, "write", stall(pause))
        self.writes = StreamMonitor(dut, "write", int, self._write)
        self._packed = 0

    async def start(self) -> None:
        """Start the clock and reset."""
        await start_clock(self.dut, control__halt=0)
        await cycles(self.dut, 1)

    async def again(self) -> None:
        """Reset; what was sent and seen is forgotten, the scratchpad keeps its contents."""
        self.dut.rst.value = 1
        self.dut.control__halt.value = 0
        self.commands.clear()
        await cycles(self.dut, 2)
        self._packed = 0
        self.completions = InOrder("completion")
        for monitor in (self.done, self.errors, self.writes):
            monitor.clear()
        self.dut.rst.value = 0
        await cycles(self.dut, 1)

    def _pack(self, record: bytes) -> int:
        index = self._packed
        self._packed += 1
        return int.from_bytes(record, "little") | index << COMMAND_BITS

    @staticmethod
    def _completion(bits: int) -> Completion:
        fields = decode(DONE, bits)
        return fields["post"], fields["layer"], fields["snapshot"]

    def _word(self, address: int) -> slice:
        assert address < self.config.scratchpad_words, f"word {address} is outside the scratchpad"
        return slice(address * self.config.lanes, (address + 1) * self.config.lanes)

    def _read(self, address: int) -> int:
        return int.from_bytes(self.memory[self._word(address)].tobytes(), "little")

    def _write(self, bits: int) -> None:
        fields = decode(tensor_write_layout(self.config), bits)
        data = fields["data"].to_bytes(self.config.lanes, "little")
        self.memory[self._word(fields["address"])] = np.frombuffer(data, np.uint8)

    def send(self, *commands: Fields) -> None:
        """Offer commands; their completions are expected."""
        self.completions.expect(*(completion_of(fields) for fields in commands))
        self.commands.send(*(Rows.pack(**fields) for fields in commands))

    async def finish(self) -> None:
        """Until every command is done; no error may be reported, and the engine is not busy behind it."""
        def ended() -> bool:
            assert not self.errors.items, f"{self.errors.items[0]}"
            return self.completions.complete

        await until(self.dut, ended, LIMIT, lambda: f"{self.completions.received} commands are done")
        self.completions.finish()
        await cycles(self.dut, 3)
        assert not self.dut.control__busy.value, "busy without a command"

    async def run(self, chip: ChipState, *commands: Fields) -> int:
        """Commands on the engine and on the golden chip, which must agree; the cycles that they took."""
        self.memory = chip.scratchpad.copy()
        for fields in commands:
            rows_command(fields, chip)
        began = self.done.now
        self.send(*commands)
        await self.finish()
        try:
            check_scratchpad(self.memory, chip.scratchpad, self.config.lanes)
        except AssertionError as error:
            raise AssertionError(f"{error}; {commands}") from None
        return self.done.times[-1] - began

    async def stopped(self) -> EngineError:
        """The error; then the engine must be idle and stay so, and report no second one."""
        await until(self.dut, lambda: self.errors.items, LIMIT, lambda: "no error is reported")
        await self.quiet()
        assert len(self.errors.items) == 1, f"more than one error is reported: {self.errors.items}"
        return self.errors.items[0]

    async def quiet(self) -> None:
        """The engine becomes idle, and nothing moves from then on."""
        await until(self.dut, lambda: not self.dut.control__busy.value, LIMIT, lambda: "it stays busy")
        reads = len(self.reads.requests.items)
        writes = len(self.writes.items)
        done = len(self.done.items)
        await cycles(self.dut, QUIET)
        assert not self.dut.control__busy.value, "busy again"
        moved = (len(self.reads.requests.items), len(self.writes.items), len(self.done.items))
        assert moved == (reads, writes, done), "the engine did not stay quiet"
