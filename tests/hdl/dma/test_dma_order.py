"""Both DMA engines: an error comes after all that was before it, also behind memories that stall; 64-bit addresses."""

import random

import cocotb
import numpy as np
import pytest
from cocotb.triggers import ClockCycles
from lepton.arch import DmaOpcode, ErrorCode

from tests.cocotb_harness import parameters, run_cocotb
from tests.hdl.dma.bench import CONFIGS, LoadBench, StoreBench, command, expected_words, rows
from tests.hdl.dma.peers import AxiMemory, Control, WordSink, WordSource, start

CONFIG = CONFIGS["tiny"]
LANES = CONFIG.lanes
SIZE = 0x4000
# No two halves alike; the second begins below a multiple of 4 GiB and goes beyond it.
REGIONS = [(0xFEDC_BA98_0123_4000, SIZE), (0x89AB_CDEF_FFFF_E000, SIZE), (0x0000_8000_0000_0000, SIZE),
           (0xFFFF_FFFF_FFFF_C000, SIZE)]


class Bench:
    """An engine between memories that stall; region `region` is all that memory holds."""

    @classmethod
    async def open(cls, dut, region: int, *, stall: float = 0.0, latency: int = 20):
        bench = cls()
        bench.dut, bench.store, bench.region = dut, parameters()["store"], region
        rng = np.random.default_rng(random.getrandbits(32))
        bench.memory = rng.integers(0, 256, SIZE, dtype=np.uint8)
        bench.scratchpad = rng.integers(0, 256, CONFIG.scratchpad_bytes, dtype=np.uint8)
        bench.axi = AxiMemory(dut, CONFIG.bus_bytes, "write" if bench.store else "read",
                              bytearray(bench.memory.tobytes()), base=REGIONS[region][0], latency=latency, stall=stall)
        bench.control = Control(dut)
        bench.local = (WordSource(dut, CONFIG, bench.scratchpad.tobytes(), stall) if bench.store
                       else WordSink(dut, CONFIG, stall))
        await start(dut, REGIONS)
        return bench

    def command(self, **fields: int) -> dict[str, int]:
        opcode = DmaOpcode.STORE if self.store else DmaOpcode.LOAD
        return command(opcode, **{"region": self.region} | fields)

    def check(self, commands: list[dict[str, int]]) -> None:
        """Exactly the effect of `commands`."""
        if not self.store:
            assert self.local.words == [w for c in commands for w in expected_words(CONFIG, c, self.memory)]
            return
        memory = self.memory.copy()
        for fields in commands:
            for offset, local in rows(fields):
                memory[offset:offset + fields["row_bytes"]] = self.scratchpad[local:local + fields["row_bytes"]]
        assert bytes(self.axi.contents) == memory.tobytes()


@cocotb.test(timeout_time=5, timeout_unit="ms")
@cocotb.parametrize(stall=[0.0, 0.7, 0.95])
async def an_error_comes_last(dut, stall):
    """A command that is refused, right behind good ones: when the error is raised, their last word has been accepted
    and they are done. So in each of several jobs, whose last words meet stalls of all lengths."""
    bench = await Bench.open(dut, 2, stall=stall)
    control = bench.control
    for job in range(6):
        good = [bench.command(offset=64 * i, local=4 * LANES * i, row_bytes=random.randint(1, 3 * LANES), post=i + 1)
                for i in range(random.randint(1, 4))]
        control.send(*good, bench.command(local=1, layer=job))
        moved = None
        for _ in range(4000):
            await ClockCycles(dut.clk, 1)
            if control.errors and moved is None:
                moved = bytes(bench.axi.contents) if bench.store else list(bench.local.words)
            if control.errors and not control.busy:
                break
        (_, error), = control.errors
        assert (error["code"], error["index"], error["layer"]) == (ErrorCode.LOCAL_ALIGNMENT, len(good), job)
        assert [d["post"] for _, d in control.done] == list(range(1, len(good) + 1))
        assert max(time for time, _ in control.done) <= control.errors[0][0]
        bench.check(good)
        assert moved == (bytes(bench.axi.contents) if bench.store else bench.local.words), "the error was first"
        await ClockCycles(dut.clk, 50)
        assert len(control.errors) == 1, "one error is reported twice"
        control.forget()
        if bench.store:
            bench.axi.contents[:] = bench.memory.tobytes()
        else:
            bench.local.words.clear()
        dut.rst.value = 1
        await ClockCycles(dut.clk, 2)
        dut.rst.value = 0
        await ClockCycles(dut.clk, 2)


@cocotb.test(timeout_time=2, timeout_unit="ms")
@cocotb.parametrize(region=range(len(REGIONS)))
async def addresses_of_64_bits(dut, region):
    """Rows at both ends of a region and in between, where its address carries into the upper half."""
    bench = await Bench.open(dut, region)
    step = SIZE // 4
    commands = [bench.command(offset=5, row_bytes=100, count1=4, mem_step1=step, local_step1=128),
                bench.command(offset=0x2000 - 33, row_bytes=77, local=1024),
                bench.command(offset=SIZE - 1, row_bytes=1, local=2048)]
    bench.control.send(*commands)
    await bench.control.finished(len(commands))
    bench.check(commands)
    base = REGIONS[region][0]
    assert all(base <= address <= base + SIZE - 1 for address, _ in bench.axi.bursts)


@cocotb.test(timeout_time=2, timeout_unit="ms")
@cocotb.parametrize(region=range(len(REGIONS)))
async def errors_name_all_64_bits(dut, region):
    """Of the beat or burst that failed."""
    bench = await Bench.open(dut, region)
    at = REGIONS[region][0] + 0x3000
    bench.axi.faults.append((at, at + 1, 2))
    bench.control.send(bench.command(offset=0x1003, row_bytes=9), bench.command(offset=0x3000, row_bytes=64, local=64))
    await bench.control.until(lambda: bench.control.errors and not bench.control.busy, 3000)
    (_, error), = bench.control.errors
    assert (error["code"], error["index"], error["address"]) == (ErrorCode.AXI_SLVERR, 1, at)


@cocotb.test(timeout_time=2, timeout_unit="ms")
async def a_time_out_names_all_64_bits(dut):
    bench = await Bench.open(dut, 1)
    dut.timeout.value = 60
    bench.axi.hold = True
    bench.control.send(bench.command(offset=0x2345, row_bytes=9))
    await bench.control.until(lambda: dut.timed_out.value, 500)
    assert int(dut.failed_address.value) == REGIONS[1][0] + 0x2345


@cocotb.test(timeout_time=2, timeout_unit="ms")
async def a_long_fill_is_not_memory_s_silence(dut):
    """The next row's beats wait for longer than TIMEOUT until the FILL before it has ended: the job goes on."""
    if parameters()["store"]:
        return
    bench = await Bench.open(dut, 0)
    dut.timeout.value = 100
    whole = command(DmaOpcode.FILL, row_bytes=CONFIG.scratchpad_bytes // 4, fill=3)
    row = bench.command(offset=8, row_bytes=200)
    bench.control.send(whole, row)
    await bench.control.finished(2)
    assert not dut.timed_out.value and len(bench.local.words) > 10 * 100
    bench.check([whole, row])


@pytest.mark.parametrize("store", [False, True], ids=["load", "store"])
def test_order(store):
    bench = StoreBench if store else LoadBench
    run_cocotb(bench(CONFIG), f"{'store' if store else 'load'}_tiny", "tests.hdl.dma.test_dma_order",
               parameters={"config": "tiny", "store": store})
