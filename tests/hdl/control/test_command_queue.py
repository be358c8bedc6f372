"""The command queue alone: whole commands in order, never more than there is room for."""

import random
from collections import deque

import cocotb
import pytest
from cocotb.triggers import RisingEdge
from lepton.arch import Dma, Tensor
from lepton_hdl.control.queue import CommandQueue

from tests.bench.checker import InOrder
from tests.bench.clock import start_clock, until
from tests.bench.stalls import MOST, NONE, STALLS, Stall, stall
from tests.bench.stream import ReadyDriver, StreamMonitor
from tests.cocotb_harness import parameters, run_cocotb

DEPTH = 4
COMMANDS = 30


class WordDriver:
    """Writes commands word by word; begins one only where `freed` has made room for it."""

    def __init__(self, dut, commands: list[bytes], word_bytes: int, pause: Stall) -> None:
        self.dut = dut
        self.room = DEPTH
        self._words = deque((command[at:at + word_bytes], at, at + word_bytes == len(command))
                            for command in commands for at in range(0, len(command), word_bytes))
        self._pause = pause
        cocotb.start_soon(self._run())

    async def _run(self) -> None:
        dut = self.dut
        while True:
            await RisingEdge(dut.clk)
            if dut.rst.value:
                continue
            if dut.write.value:
                _, _, last = self._words.popleft()
                assert bool(dut.last_word.value) == last, "last_word is not the last word"
            self.room += int(dut.freed.value)
            assert self.room <= DEPTH, "more was freed than was written"
            starts = bool(self._words) and self._words[0][1] == 0
            write = bool(self._words) and (not starts or self.room > 0) and not self._pause()
            dut.write.value = write
            if write:
                dut.word.value = int.from_bytes(self._words[0][0], "little")
                self.room -= starts


@cocotb.test(timeout_time=2, timeout_unit="ms")
@cocotb.parametrize(reader=STALLS, writer=[NONE, MOST])
async def keeps_order(dut, reader, writer):
    size = parameters()["size"]
    commands = [random.randbytes(size) for _ in range(COMMANDS)]
    checker = InOrder("command", commands)
    ReadyDriver(dut, "o", stall(reader))
    StreamMonitor(dut, "o", lambda bits: bits.to_bytes(size, "little"), checker.receive)
    await start_clock(dut, write=0, word=0)
    driver = WordDriver(dut, commands, parameters()["data_bytes"], stall(writer))
    await until(dut, lambda: checker.complete, state=lambda: f"{checker.received} commands came")
    checker.finish()
    await until(dut, lambda: driver.room == DEPTH, 10)


@cocotb.test(timeout_time=1, timeout_unit="ms")
async def holds_one_command_more_than_its_depth(dut):
    """The one more is at the output, where it is not taken."""
    size = parameters()["size"]
    sink = ReadyDriver(dut, "o")
    sink.blocked = True
    commands = [random.randbytes(size) for _ in range(COMMANDS)]
    checker = InOrder("command", commands)
    StreamMonitor(dut, "o", lambda bits: bits.to_bytes(size, "little"), checker.receive)
    await start_clock(dut, write=0, word=0)
    words = COMMANDS * size // parameters()["data_bytes"]
    driver = WordDriver(dut, commands, parameters()["data_bytes"], stall(NONE))
    await until(dut, lambda: driver.room == 0 and not dut.write.value, words)
    for _ in range(50):
        await RisingEdge(dut.clk)
        assert not dut.write.value and driver.room == 0
    sink.blocked = False
    await until(dut, lambda: checker.complete)


@pytest.mark.parametrize("record, data_bytes", [(Dma, 16), (Tensor, 4), (Dma, 64)])
def test_command_queue(record, data_bytes):
    run_cocotb(CommandQueue(record, data_bytes, DEPTH), f"command_queue_{record.name}{data_bytes}", __name__,
               parameters={"size": record.size, "data_bytes": data_bytes})
