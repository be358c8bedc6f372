"""The bench of the ROWS engine: a scratchpad that stalls, commands, completions and errors; its model is the golden
chip of the simulator."""


import numpy as np
from cocotb.handle import HierarchyObject
from lepton.arch import ChipConfig
from lepton.arch.rows import Rows
from lepton_hdl.memory.scratchpad import tensor_write_layout
from lepton_sim.golden.row_walk import rows_command
from lepton_sim.golden.state import ChipState

from tests.bench.clock import cycles, until
from tests.bench.layouts import decode
from tests.bench.stalls import NONE, stall
from tests.bench.stream import ReadyDriver, StreamMonitor
from tests.bench.word_memory import WordReads
from tests.hdl.command_bench import CommandBench, EngineError, check_scratchpad
from tests.hdl.rows.commands import Fields

LIMIT = 400_000  # cycles for the commands of a test; the longest take less than half of it
COMMAND_BITS = 8 * Rows.size
QUIET = 60  # cycles for which nothing may move where nothing is under way; more than the engine's longest latency


class RowsBench(CommandBench):
    """All parts around one `RowsEngine`. `pause`: the pattern in which the scratchpad's ports and commands are held
    back. `chip` is the model, `memory` the scratchpad that the engine sees."""

    record = Rows
    limit = LIMIT

    def __init__(self, dut: HierarchyObject, config: ChipConfig, pause: str = NONE) -> None:
        super().__init__(dut, config, pause)
        self.memory = np.zeros(config.scratchpad_bytes, np.uint8)
        self.reads = WordReads(dut, "read", self._read, 8 * config.lanes, stall(pause))
        self.write_ready = ReadyDriver(dut, "write", stall(pause))
        self.writes = StreamMonitor(dut, "write", int, self._write)

    def forget(self) -> None:
        super().forget()
        self.writes.clear()

    def _word(self, address: int) -> slice:
        assert address < self.config.scratchpad_words, f"word {address} is outside the scratchpad"
        return slice(address * self.config.lanes, (address + 1) * self.config.lanes)

    def _read(self, address: int) -> int:
        return int.from_bytes(self.memory[self._word(address)].tobytes(), "little")

    def _write(self, bits: int) -> None:
        fields = decode(tensor_write_layout(self.config), bits)
        data = fields["data"].to_bytes(self.config.lanes, "little")
        self.memory[self._word(fields["address"])] = np.frombuffer(data, np.uint8)

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
