"""The TENSOR engine with its memories."""

import random

import cocotb
import numpy as np
from cocotb.clock import Clock
from cocotb.triggers import FallingEdge, ReadOnly, RisingEdge
from lepton.arch import Tensor, TensorOpcode
from lepton_hdl.interfaces import DONE, ERROR, command_layout, word_write_layout


class Bench:
    """Drives a `Datapath`: fills its memories, streams commands, watches completions."""

    def __init__(self, dut, config):
        self.dut, self.config = dut, config
        self.done, self.error = [], []
        self.cycles = 0

    async def start(self):
        dut = self.dut
        for name in ("control__command__valid", "control__halt", "load_write__valid", "store_read__request__valid"):
            getattr(dut, name).value = 0
        dut.rst.value = 1
        Clock(dut.clk, 10, unit="ns").start()
        for _ in range(3):
            await RisingEdge(dut.clk)
        dut.rst.value = 0
        cocotb.start_soon(self._watch())

    async def _watch(self):
        while True:
            await RisingEdge(self.dut.clk)
            await ReadOnly()
            self.cycles += 1
            if self.dut.control__done__valid.value:
                done = DONE.from_bits(int(self.dut.control__done__payload.value))
                self.done.append((self.cycles, done.post, done.layer, done.snapshot))
            if self.dut.control__error__valid.value:
                self.error.append(ERROR.from_bits(int(self.dut.control__error__payload.value)))

    async def fill(self, space, data):
        """Write a whole memory through the LOAD port."""
        layout = word_write_layout(self.config)
        for address, word in enumerate(np.asarray(data).reshape(-1, self.config.lanes)):
            await FallingEdge(self.dut.clk)
            self.dut.load_write__payload.value = layout.const(
                {"space": space, "address": address, "data": int.from_bytes(word.tobytes(), "little")}).as_value().value
            self.dut.load_write__valid.value = 1
            await RisingEdge(self.dut.clk)
        await FallingEdge(self.dut.clk)
        self.dut.load_write__valid.value = 0

    async def dump(self):
        """The scratchpad's bytes, through the STORE port."""
        words = []
        for address in range(self.config.scratchpad_words):
            await FallingEdge(self.dut.clk)
            self.dut.store_read__request__payload.value = address
            self.dut.store_read__request__valid.value = 1
            await RisingEdge(self.dut.clk)
            await FallingEdge(self.dut.clk)
            self.dut.store_read__request__valid.value = 0
            words.append(int(self.dut.store_read__data.value).to_bytes(self.config.lanes, "little"))
        return np.frombuffer(b"".join(words), np.uint8)

    async def issue(self, records, stalls=0.0):
        """Offer commands one after another, with random pauses."""
        layout = command_layout(Tensor)
        for index, record in enumerate(records):
            while random.random() < stalls:
                await FallingEdge(self.dut.clk)
            self.dut.control__command__payload.value = int.from_bytes(record, "little") | index << 8 * Tensor.size
            assert layout.size == 8 * Tensor.size + 32
            self.dut.control__command__valid.value = 1
            while True:
                await ReadOnly()
                ready = bool(self.dut.control__command__ready.value)
                await RisingEdge(self.dut.clk)
                await FallingEdge(self.dut.clk)
                if ready:
                    break
            self.dut.control__command__valid.value = 0

    async def hammer(self):
        """Read the scratchpad at random, as STORE would, to take banks away from the residual."""
        while True:
            await FallingEdge(self.dut.clk)
            self.dut.store_read__request__valid.value = random.random() < 0.7
            self.dut.store_read__request__payload.value = random.randrange(self.config.scratchpad_words)

    async def wait_done(self, count, limit=200_000):
        start = self.cycles
        while len(self.done) < count:
            await RisingEdge(self.dut.clk)
            assert not self.error, f"error {self.error[0]}"
            assert self.cycles - start < limit, f"{len(self.done)} of {count} commands done after {limit} cycles"

    async def wait_error(self, limit=10_000):
        for _ in range(limit):
            await RisingEdge(self.dut.clk)
            if self.error:
                return self.error[0]
        raise AssertionError("no error reported")

BASIC = dict(opcode=TensorOpcode.DOT, first=1, last=1, kernel_x=1, kernel_y=1, blocks=1, nx=1, ny=1, nz=1,
             in_w=1, in_h=1, out_min=-128, out_max=127)

WINDOW = dict(opcode=TensorOpcode.WINDOW)
