"""The parts that both DMA engines are made of, alone: walk, realigner, queue, watchdog."""

import random
from collections.abc import Callable
from itertools import product
from typing import TypeVar

import cocotb
import pytest
from cocotb.triggers import FallingEdge
from lepton.arch import Dma
from lepton_hdl.dma.queue import Queue
from lepton_hdl.dma.realign import Realign
from lepton_hdl.dma.walk import ROW, Walk
from lepton_hdl.dma.watchdog import Watchdog

from tests.bench.checker import InOrder
from tests.bench.clock import cycles, start_clock, until
from tests.bench.stalls import NONE, SOME, STALLS, stall
from tests.bench.stream import ReadyDriver, StreamDriver, StreamMonitor
from tests.cocotb_harness import parameters, run_cocotb

BLOCK = parameters().get("block")
Item = TypeVar("Item")


async def begin(dut, *inputs: str) -> None:
    """Reset, with these inputs 0; at a falling edge."""
    await start_clock(dut, **dict.fromkeys(inputs, 0))
    await FallingEdge(dut.clk)


async def through(dut, inputs: dict[str, list[int]], output: str, expected: list[Item], unpack: Callable[[int], Item],
                  reader: str, writer: str, defined: Callable[[int, int], int] = lambda number, bits: bits) -> None:
    """Send payloads into the input streams; the output stream must give exactly what is expected."""
    drivers = {name: StreamDriver[int](dut, name, int, stall(writer)) for name in inputs}
    ReadyDriver(dut, output, stall(reader))
    checker = InOrder(output, expected)
    StreamMonitor(dut, output, unpack, checker.receive, defined=defined)
    await start_clock(dut)
    for name, payloads in inputs.items():
        drivers[name].send(*payloads)
    await until(dut, lambda: checker.complete, 100_000, lambda: f"{checker.received} of {len(expected)} came out")
    await cycles(dut, 50)  # nothing more may come
    checker.finish()
    assert all(driver.idle for driver in drivers.values())


@cocotb.test(timeout_time=5, timeout_unit="ms", skip=BLOCK != "walk")
@cocotb.parametrize(reader=STALLS, writer=[NONE, SOME])
async def rows_in_order(dut, reader, writer):
    commands: list[int] = []
    rows: list[tuple[int, int, int, int]] = []
    for _ in range(30):
        f = {f"count{i}": random.randrange(1, 5) for i in (1, 2, 3)}
        f |= {f"{side}_step{i}": random.randrange(-(1 << 31), 1 << 31) for side in ("mem", "local") for i in (1, 2, 3)}
        f |= {name: random.getrandbits(32) for name in ("offset", "local", "row_bytes")}
        commands.append(int.from_bytes(Dma.pack(**f), "little"))
        walk = list(product(range(f["count3"]), range(f["count2"]), range(f["count1"])))
        for n, (k, j, i) in enumerate(walk):
            offset, local = (f[base] + k * f[f"{side}_step3"] + j * f[f"{side}_step2"] + i * f[f"{side}_step1"]
                             for base, side in (("offset", "mem"), ("local", "local")))
            rows.append((offset % (1 << 32), local % (1 << 32), f["row_bytes"], n == len(walk) - 1))

    def unpack(bits: int) -> tuple[int, int, int, int]:
        row = ROW.from_bits(bits)
        return row.offset, row.local, row.bytes, row.last

    await through(dut, {"command": commands}, "row", rows, unpack, reader, writer)


@cocotb.test(timeout_time=5, timeout_unit="ms", skip=BLOCK != "realign")
@cocotb.parametrize(reader=STALLS, writer=[NONE, SOME])
async def bytes_move_to_lane_zero(dut, reader, writer):
    """Memory to chip: rows that begin at any lane come out from lane 0 on."""
    unit = parameters()["unit"]
    layout = Realign.row_layout(unit, 8)
    rows: list[int] = []
    units: list[int] = []
    expected: list[tuple[bytes, bool, bool]] = []
    lengths: list[int] = []  # bytes of each output that have a meaning
    for _ in range(60):
        skew = random.randrange(unit)
        length = random.randrange(1, 6 * unit)
        taken = -(-(skew + length) // unit)
        put = -(-length // unit)
        data = random.randbytes(taken * unit)
        keep = (unit - skew) % unit  # the upper bytes of a unit that are the next output's first
        rows.append(layout.const({"keep": keep, "left": put - 1, "prime": keep != 0,
                                  "flush": keep != 0 and taken == put, "blank": 0}).as_value().value)
        units += [int.from_bytes(data[i:i + unit], "little") for i in range(0, len(data), unit)]
        expected += [(data[skew + i:skew + min(i + unit, length)].ljust(unit, b"\0"), i == 0, i + unit >= length)
                     for i in range(0, length, unit)]
        lengths += [min(unit, length - i) for i in range(0, length, unit)]

    def defined(number: int, bits: int) -> int:
        """Bytes behind a row's end have no meaning."""
        length = lengths[number] if number < len(lengths) else unit
        return bits & ((1 << 8 * length) - 1 | 3 << 8 * unit)

    def unpack(bits: int) -> tuple[bytes, bool, bool]:
        data = (bits & (1 << 8 * unit) - 1).to_bytes(unit, "little")
        return data, bool(bits >> 8 * unit & 1), bool(bits >> 8 * unit + 1)

    await through(dut, {"row": rows, "i": units}, "o", expected, unpack, reader, writer, defined)


@cocotb.test(timeout_time=5, timeout_unit="ms", skip=BLOCK != "queue")
@cocotb.parametrize(reader=STALLS, writer=[NONE, SOME])
async def first_in_first_out(dut, reader, writer):
    items = [random.getrandbits(20) for _ in range(400)]
    await through(dut, {"i": items}, "o", items, int, reader, writer)


WATCHDOG = ("limit", "waiting", "progress", "violation", "restart", "address")


@cocotb.test(timeout_time=5, timeout_unit="ms", skip=BLOCK != "watchdog")
async def expires_after_the_limit(dut):
    """Only an unbroken wait counts; the address is that of the cycle in which it expires; 0 is never."""
    for limit, broken in product((0, 1, 7), (False, True)):
        await begin(dut, *WATCHDOG)
        dut.limit.value = limit
        dut.waiting.value = 1
        waited = 0
        for cycle in range(40):
            dut.address.value = 1000 + cycle
            dut.progress.value = broken and cycle == limit - 1
            waited = 0 if broken and cycle == limit - 1 else waited + 1
            await FallingEdge(dut.clk)
            if limit and waited == limit:
                assert dut.expired.value and int(dut.failed_address.value) == 1000 + cycle
                break
            assert not dut.expired.value
        assert bool(dut.expired.value) == bool(limit)
        assert not dut.broken.value


@cocotb.test(timeout_time=5, timeout_unit="ms", skip=BLOCK != "watchdog")
async def keeps_the_first_fault_until_a_restart(dut):
    """A violation keeps its address; a restart clears it, but not while a transaction is outstanding."""
    await begin(dut, *WATCHDOG)
    dut.waiting.value = 1
    for address in (7, 8):
        dut.address.value = address
        dut.violation.value = 1
        await FallingEdge(dut.clk)
    dut.violation.value = 0
    assert dut.broken.value and not dut.expired.value and int(dut.failed_address.value) == 7
    for waiting in (1, 0):
        dut.waiting.value = waiting
        dut.restart.value = 1
        await FallingEdge(dut.clk)
        dut.restart.value = 0
        assert bool(dut.broken.value) == bool(waiting)
    dut.limit.value = 2
    dut.waiting.value = 1
    dut.address.value = 9
    for _ in range(2):
        await FallingEdge(dut.clk)
    assert dut.expired.value and int(dut.failed_address.value) == 9
    dut.restart.value = 1
    await FallingEdge(dut.clk)
    assert not dut.expired.value


@pytest.mark.parametrize("name, block, given", [
    ("walk", Walk(), {}), ("realign", Realign(4, 8), {"unit": 4}), ("realign", Realign(16, 8), {"unit": 16}),
    ("queue", Queue(20, 5), {}), ("watchdog", Watchdog(), {}),
])
def test_block(name, block, given):
    run_cocotb(block, f"dma_{name}{given.get('unit', '')}", __name__, parameters={"block": name, **given})
