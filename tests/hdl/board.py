"""The chip between a host and a memory, and a job for it."""

import random

import numpy as np
from cocotb.clock import Clock
from cocotb.triggers import FallingEdge, RisingEdge
from cocotbext.axi import AxiBus, AxiLiteBus, AxiLiteMaster, AxiRam, AxiResp
from lepton.arch import PRESETS, REGISTERS, Dma, DmaOpcode, Engine, Region, Space, Tensor, TensorOpcode
from lepton.arch.commands import PARAM_WORDS

CONFIG = PRESETS["tiny"]
K = CONFIG.lanes
BASE = {Region.PROGRAM: 0x1000, Region.INPUT: 0x4F80, Region.OUTPUT: 0x8000}  # INPUT meets a 4 KiB boundary
SIZE = {Region.PROGRAM: 0x1000, Region.INPUT: 0x400, Region.OUTPUT: 0x400}
STREAMS = {Engine.LOAD: 0x000, Engine.TENSOR: 0x400, Engine.STORE: 0x800, Engine.ROWS: 0xA00}
WEIGHTS_AT = 0xC00  # in region PROGRAM
PIXELS = 30
BLOCKS = 2
OUT = 0x800  # on chip


class Board:
    """The chip between a host and a memory."""

    @classmethod
    async def open(cls, dut, pause=0.0, memory_bytes=1 << 16):
        board = cls()
        board.dut = dut
        dut.rst.value = 1
        Clock(dut.clk, 10, unit="ns").start()
        board.host = AxiLiteMaster(AxiLiteBus.from_prefix(dut, "host_"), dut.clk, dut.rst)
        board.ram = AxiRam(AxiBus.from_prefix(dut, "memory_"), dut.clk, dut.rst, size=memory_bytes)
        sides = (board.host, board.ram)
        for interface in (i for side in sides for i in (side.write_if, side.read_if)):
            interface.log.setLevel("WARNING")
            for name in ("aw", "w", "b", "ar", "r"):
                if pause and hasattr(interface, f"{name}_channel"):
                    getattr(interface, f"{name}_channel").set_pause_generator(board._pauses(pause))
        for _ in range(3):
            await RisingEdge(dut.clk)
        await FallingEdge(dut.clk)
        dut.rst.value = 0
        return board

    @staticmethod
    def _pauses(share):
        while True:
            yield random.random() < share

    async def write(self, name, value):
        answer = await self.host.write(REGISTERS[name].offset, (value & 0xFFFF_FFFF).to_bytes(4, "little"))
        assert answer.resp == AxiResp.OKAY, name

    async def read(self, name):
        answer = await self.host.read(REGISTERS[name].offset, 4)
        assert answer.resp == AxiResp.OKAY, name
        return int.from_bytes(answer.data, "little")

    async def start_job(self, streams):
        for engine, commands in streams.items():
            self.ram.write(BASE[Region.PROGRAM] + STREAMS[engine], b"".join(commands))
            await self.write(f"{engine.name}_PROGRAM", STREAMS[engine])
            await self.write(f"{engine.name}_COUNT", len(commands))
        for region, base in BASE.items():
            await self.write(f"{region.name}_BASE", base)
            await self.write(f"{region.name}_BASE_HI", base >> 32)
            await self.write(f"{region.name}_SIZE", SIZE[region])
        await self.write("DOORBELL", 1)

    async def interrupt(self, limit=20_000):
        for _ in range(limit):
            await RisingEdge(self.dut.clk)
            if self.dut.irq.value:
                return
        raise AssertionError(f"no interrupt after {limit} cycles")


def dma(opcode, **fields):
    return Dma.pack(**(dict(opcode=opcode, count1=1, count2=1, count3=1) | fields))


def streams():
    """Loads an image and weights, multiplies, stores: the engines wait for one another by semaphores 0, 6 and 10."""
    weight_bytes = K * (PARAM_WORDS + BLOCKS * K)
    load = [
        dma(DmaOpcode.LOAD, region=Region.INPUT, row_bytes=PIXELS * K * BLOCKS, post=1 << 0),
        dma(DmaOpcode.LOAD, region=Region.PROGRAM, space=Space.WEIGHTS, offset=WEIGHTS_AT, row_bytes=weight_bytes,
            post=1 << 6),
    ]
    tensor = [Tensor.pack(
        opcode=TensorOpcode.DOT, wait=1 << 0 | 1 << 6, post=1 << 10, first=1, last=1, kernel_x=1, kernel_y=1,
        blocks=BLOCKS, nx=PIXELS, ny=1, nz=1, in_x=K, in_block=PIXELS * K, in_w=PIXELS, in_h=1, stride_x=1,
        weights=PARAM_WORDS, params=0, out_addr=OUT, out_x=K, out_zero=-3, out_min=-128, out_max=127)]
    store = [dma(DmaOpcode.STORE, region=Region.OUTPUT, offset=5, local=OUT, row_bytes=PIXELS * K - 1, wait=1 << 10)]
    return dict(zip(Engine, (load, tensor, store, []), strict=True))


def fill_memory(ram, rng):
    """Random bytes everywhere, an image and a record of parameters; returns what OUTPUT must hold."""
    ram.write(0, rng.bytes(1 << 16))
    image = rng.integers(-128, 128, (BLOCKS, PIXELS, K))
    weights = rng.integers(-128, 128, (BLOCKS, K, K))
    bias = rng.integers(-5000, 5000, K)
    # The scale is 1/512: a multiplier of one half, 8 to the right.
    record = np.concatenate([
        bias.astype("<i4").view(np.uint8).reshape(K, 4).T, np.full(K, 1 << 30, "<i4").view(np.uint8).reshape(K, 4).T,
        np.zeros((1, K), np.uint8), np.full((1, K), 8, np.uint8)])
    ram.write(BASE[Region.INPUT], image.astype(np.int8).tobytes())
    ram.write(BASE[Region.PROGRAM] + WEIGHTS_AT, record.tobytes() + weights.astype(np.int8).tobytes())

    sums = np.einsum("bpk,bnk->pn", image, weights) + bias
    halves = (sums + 1) >> 1  # the high product rounds half up
    scaled = np.where(halves < 0, -((-halves + 128) >> 8), (halves + 128) >> 8)  # the shift away from zero
    row = (scaled - 3).clip(-128, 127).astype(np.int8).tobytes()[:-1]
    output = bytearray(ram.read(BASE[Region.OUTPUT], SIZE[Region.OUTPUT]))
    output[5:5 + len(row)] = row
    assert len(set(row)) > 20
    return bytes(output)
