"""The command queue alone: whole commands in order, never more than there is room for."""

import random

import cocotb
import pytest
from cocotb.clock import Clock
from cocotb.triggers import FallingEdge, ReadOnly
from lepton.arch import Dma, Tensor
from lepton_hdl.control.queue import CommandQueue

from tests.cocotb_harness import parameters, run_cocotb

DEPTH = 4


@cocotb.test(timeout_time=1, timeout_unit="ms")
@cocotb.parametrize(reader=[1.0, 0.05], writer=[1.0, 0.3])
async def keeps_order(dut, reader, writer):
    given, size = parameters(), parameters()["size"]
    words = size // given["data_bytes"]
    dut.write.value = dut.word.value = dut.o__ready.value = 0
    dut.rst.value = 1
    Clock(dut.clk, 10, unit="ns").start()
    await FallingEdge(dut.clk)
    await FallingEdge(dut.clk)
    dut.rst.value = 0
    commands = [random.randbytes(size) for _ in range(30)]
    todo = [command[i:i + given["data_bytes"]] for command in commands for i in range(0, size, given["data_bytes"])]
    room, written, got = DEPTH, 0, []
    for _ in range(20000):
        write = bool(todo) and (written % words > 0 or room > 0) and random.random() < writer
        dut.write.value, dut.o__ready.value = write, random.random() < reader
        if write:
            dut.word.value = int.from_bytes(todo[0], "little")
        await ReadOnly()
        if write:
            assert bool(dut.last_word.value) == (written % words == words - 1)
            room -= written % words == 0
            written += 1
            todo.pop(0)
        if dut.o__valid.value and dut.o__ready.value:
            got.append(int(dut.o__payload.value).to_bytes(size, "little"))
        room += int(dut.freed.value)
        assert room <= DEPTH
        if len(got) == len(commands):
            break
        await FallingEdge(dut.clk)
    assert got == commands


@pytest.mark.parametrize("record, data_bytes", [(Dma, 16), (Tensor, 4), (Dma, 64)])
def test_command_queue(record, data_bytes):
    run_cocotb(CommandQueue(record, data_bytes, DEPTH), f"command_queue_{record.name}{data_bytes}", __name__,
               parameters={"size": record.size, "data_bytes": data_bytes})
