"""The whole firmware on the RTL in cocotb: the image, the driver and the records that the board uses, over AXI peers
that have nothing to do with the board's."""

import tempfile
from pathlib import Path

import cocotb
import numpy as np
import pytest
from cocotb.task import bridge, resume
from cocotb.triggers import FallingEdge, RisingEdge, SimTimeoutError, with_timeout
from cocotbext.axi import AxiResp
from lepton.arch import PRESETS, Dma, DmaOpcode, Engine, ErrorCode, Region
from lepton.arch.controller import BootState, EventKind
from lepton.device import DeviceError
from lepton.driver import BoardController, ChipError, Driver, DriverError, Job, JobRefused, JobTimeout, Stream
from lepton.firmware.build import rom
from lepton.firmware.image import build_image, development_key
from lepton_hdl.chip import Chip

from tests.cocotb_harness import run_cocotb
from tests.hdl.board import Board

CONFIG = PRESETS["tiny"].with_(controller=True)
MEMORY = 1 << 19
WINDOW = 11 << 14
PERIOD = 10  # ns


class CocotbDevice:
    """`lepton.device.Device` for code that runs in a thread of its own (`bridge`) while the simulator runs."""

    config = CONFIG
    memory_bytes = MEMORY

    def __init__(self, board):
        self.board = board
        self._read, self._write, self._wait = (resume(f) for f in (self._a_read, self._a_write, self._a_wait))
        self._memory_read = resume(self._a_memory_read)
        self._memory_write = resume(self._a_memory_write)

    async def _a_read(self, offset):
        answer = await self.board.host.read(offset, 4)
        return answer.resp, int.from_bytes(answer.data, "little")

    async def _a_write(self, offset, value):
        return (await self.board.host.write(offset, value.to_bytes(4, "little"))).resp

    async def _a_wait(self, cycles):
        irq = self.board.dut.irq
        if not irq.value:
            try:
                await with_timeout(RisingEdge(irq), cycles * PERIOD, "ns")
            except SimTimeoutError:
                return False
        return True

    async def _a_memory_read(self, address, size):
        return self.board.ram.read(address, size)

    async def _a_memory_write(self, address, data):
        self.board.ram.write(address, data)

    def read_register(self, offset):
        resp, value = self._read(offset)
        if resp != AxiResp.OKAY:
            raise DeviceError(f"read of {offset:#x}: {resp.name}")
        return value

    def write_register(self, offset, value):
        if (resp := self._write(offset, value)) != AxiResp.OKAY:
            raise DeviceError(f"write to {offset:#x}: {resp.name}")

    def read_memory(self, address, size):
        return np.frombuffer(self._memory_read(address, size), np.uint8).copy()

    def write_memory(self, address, data):
        self._memory_write(address, np.frombuffer(data, np.uint8).tobytes())

    def wait_interrupt(self, max_cycles):
        return self._wait(max_cycles)

    def close(self):
        pass


def image():
    with tempfile.TemporaryDirectory() as folder:
        key = development_key(Path(folder))
    return build_image(CONFIG, key), [key.public_key()]


def dma(opcode, region, size, **fields):
    return Dma.pack(opcode=opcode, region=region, row_bytes=size, count1=1, count2=1, count3=1, **fields)


def copy_job(driver, size, load=None, **options):
    buffers = {region: driver.allocate(n, region.name) for region, n in
               ((Region.PROGRAM, 128), (Region.INPUT, size), (Region.OUTPUT, size))}
    buffers[Region.PROGRAM].write((load or dma(DmaOpcode.LOAD, Region.INPUT, size, post=1))
                                  + dma(DmaOpcode.STORE, Region.OUTPUT, size, wait=1))
    buffers[Region.INPUT].write(np.random.default_rng(size).integers(0, 256, size, np.uint8))
    return Job(buffers, {Engine.LOAD: Stream(0, 1), Engine.STORE: Stream(64, 1)}, **options)


def scenario(device):
    """Boot, good jobs of two clients, a bad record, an error with its details, a time limit, a good job again."""
    boot_image, trusted = image()
    with BoardController(device, boot_image, trusted) as controller:
        assert controller.state == BootState.READY
        with Driver(device, controller.client(WINDOW)) as first, Driver(device, controller.client(WINDOW)) as second:
            jobs = [(driver, copy_job(driver, size)) for driver, size in ((first, 100), (second, 61), (first, 256))]
            handles = [(driver, job, driver.submit(job)) for driver, job in jobs]
            for driver, job, handle in handles:
                completion = driver.wait(handle)
                assert np.array_equal(job.regions[Region.INPUT].read(), job.regions[Region.OUTPUT].read())
                assert completion.cycles == sum(completion.counters[name] for name in (
                    "COMPUTE", "WAIT_READ", "WAIT_WEIGHTS", "WAIT_WRITE", "WAIT_SYNC", "IDLE"))
            client = first._port
            make = client._record
            client._record = lambda *arguments: make(*arguments)[:-1] + b"\0"
            with pytest.raises(JobRefused, match="CRC"):
                first.run(copy_job(first, 64))
            client._record = make
            with pytest.raises(ChipError) as caught:
                first.run(copy_job(first, 64, load=dma(DmaOpcode.LOAD, Region.INPUT, 65, layer=5)))
            assert (caught.value.code, caught.value.engine, caught.value.layer) == (
                ErrorCode.MEMORY_BOUNDS, Engine.LOAD, 5)
            endless = Dma.pack(opcode=DmaOpcode.LOAD, region=Region.INPUT, row_bytes=64, count1=1000, count2=1000,
                               count3=1)
            with pytest.raises(JobTimeout, match="cycle_limit=2000"):
                second.run(copy_job(second, 64, load=endless, time_limit=2000))
            job = copy_job(second, 77)
            second.run(job)
            assert np.array_equal(job.regions[Region.INPUT].read(), job.regions[Region.OUTPUT].read())
        kinds = [event.kind for event in controller.log()]
        assert kinds[0] == EventKind.BOOT and {EventKind.REFUSED, EventKind.TIME_LIMIT} <= set(kinds)


@cocotb.test(timeout_time=5, timeout_unit="ms")
async def from_reset_to_completions(dut):
    board = await Board.open(dut, memory_bytes=MEMORY)
    await bridge(scenario)(CocotbDevice(board))


async def stick(dut, cell, bit):
    """A cell of a memory that holds 1 whatever is written."""
    while True:
        await FallingEdge(dut.clk)
        word = int(cell.value)
        if not word >> bit & 1:
            cell.value = word | 1 << bit


def boot(device):
    boot_image, trusted = image()
    try:
        with BoardController(device, boot_image, trusted):
            return "READY"
    except DriverError as error:
        return str(error)


@cocotb.test(timeout_time=5, timeout_unit="ms")
@cocotb.parametrize(which=["scratchpad", "weights"])
async def a_stuck_bit_is_found_at_boot(dut, which):
    board = await Board.open(dut, memory_bytes=MEMORY)
    memory = dut.core.datapath.scratchpad.bank2 if which == "scratchpad" else dut.core.datapath.weights.memory
    task = cocotb.start_soon(stick(dut, memory[77], 9))
    answer = await bridge(boot)(CocotbDevice(board))
    assert answer.startswith(f"the controller has failed with {which.upper()}: "), answer
    task.cancel()
    assert await bridge(boot)(CocotbDevice(board)) == "READY"


def test_firmware():
    run_cocotb(Chip(CONFIG, rom()), "chip_tiny_controller", __name__, internals=True)
