"""The parts that both DMA engines are made of, alone: walk, realigner, queue, watchdog."""

import random
from itertools import product

import cocotb
import pytest
from cocotb.clock import Clock
from cocotb.triggers import FallingEdge, ReadOnly
from lepton.arch import Dma
from lepton_hdl.dma.queue import Queue
from lepton_hdl.dma.realign import Realign
from lepton_hdl.dma.walk import ROW, Walk
from lepton_hdl.dma.watchdog import Watchdog

from tests.cocotb_harness import parameters, run_cocotb

BLOCK = parameters().get("block")


async def begin(dut, *inputs):
    for name in inputs:
        getattr(dut, name).value = 0
    dut.rst.value = 1
    Clock(dut.clk, 10, unit="ns").start()
    await FallingEdge(dut.clk)
    await FallingEdge(dut.clk)
    dut.rst.value = 0


async def through(dut, inputs, count, *, share):
    """Feeds {stream: [payload, ...]} and takes `count` payloads of `o` or `row`; both sides pause at random."""
    output = "row" if BLOCK == "walk" else "o"
    waiting, got = {name: list(items) for name, items in inputs.items()}, []
    offered = dict.fromkeys(waiting, False)
    for _ in range(100_000):
        for name, items in waiting.items():
            offered[name] = offered[name] or (bool(items) and random.random() < share)
            getattr(dut, f"{name}__valid").value = offered[name]
            if offered[name]:
                getattr(dut, f"{name}__payload").value = items[0]
        ready = random.random() < share
        getattr(dut, f"{output}__ready").value = ready
        await ReadOnly()
        if ready and getattr(dut, f"{output}__valid").value:
            got.append(int(getattr(dut, f"{output}__payload").value))
        for name, items in waiting.items():
            if offered[name] and getattr(dut, f"{name}__ready").value:
                items.pop(0)
                offered[name] = False
        await FallingEdge(dut.clk)
        if len(got) == count:
            return got
    raise AssertionError(f"{len(got)} of {count} came out")


@cocotb.test(timeout_time=5, timeout_unit="ms", skip=BLOCK != "walk")
@cocotb.parametrize(share=[1.0, 0.5])
async def rows_in_order(dut, share):
    await begin(dut, "command__valid", "command__payload", "row__ready")
    commands, rows = [], []
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
    got = [ROW.from_bits(row) for row in await through(dut, {"command": commands}, len(rows), share=share)]
    assert [(row.offset, row.local, row.bytes, row.last) for row in got] == rows


@cocotb.test(timeout_time=5, timeout_unit="ms", skip=BLOCK != "realign")
@cocotb.parametrize(share=[1.0, 0.5])
async def bytes_move_to_lane_zero(dut, share):
    """Memory to chip: rows that begin at any lane come out from lane 0 on."""
    await begin(dut, "row__valid", "row__payload", "i__valid", "i__payload", "o__ready")
    unit = parameters()["unit"]
    layout = Realign.row_layout(unit, 8)
    rows, units, expected = [], [], []
    for _ in range(60):
        skew, length = random.randrange(unit), random.randrange(1, 6 * unit)
        taken, put = -(-(skew + length) // unit), -(-length // unit)
        data = random.randbytes(taken * unit)
        keep = (unit - skew) % unit  # the upper bytes of a unit that are the next output's first
        rows.append(layout.const({"keep": keep, "left": put - 1, "prime": keep != 0,
                                  "flush": keep != 0 and taken == put, "blank": 0}).as_value().value)
        units += [int.from_bytes(data[i:i + unit], "little") for i in range(0, len(data), unit)]
        expected += [(data[skew + i:skew + min(i + unit, length)], i == 0, i + unit >= length)
                     for i in range(0, length, unit)]
    got = await through(dut, {"row": rows, "i": units}, len(expected), share=share)
    for value, (data, first, last) in zip(got, expected, strict=True):
        assert (value & (1 << 8 * unit) - 1).to_bytes(unit, "little")[:len(data)] == data
        assert (value >> 8 * unit & 1, value >> 8 * unit + 1) == (first, last)


@cocotb.test(timeout_time=5, timeout_unit="ms", skip=BLOCK != "queue")
@cocotb.parametrize(share=[1.0, 0.5])
async def first_in_first_out(dut, share):
    await begin(dut, "i__valid", "i__payload", "o__ready")
    items = [random.getrandbits(20) for _ in range(400)]
    assert await through(dut, {"i": items}, len(items), share=share) == items


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
