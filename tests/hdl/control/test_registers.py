"""The register file: the access rule of every register of the description, and AXI4-Lite's freedoms."""

import itertools
import random

import cocotb
import pytest
from cocotb.triggers import RisingEdge
from cocotbext.axi import AxiResp
from lepton.arch import PRESETS, REGISTERS
from lepton.arch.registers import ADDRESS_BITS, SNAPSHOT_BASE
from lepton_hdl.control.registers import RegisterFile, constants

from tests.bench.clock import start_clock
from tests.cocotb_harness import parameters, run_cocotb
from tests.hdl.control.peers import Host

OK, BAD = AxiResp.OKAY, AxiResp.SLVERR
RW = [r for r in REGISTERS.values() if r.access == "rw"]


def _config():
    return PRESETS["tiny"].with_(layer_slots=parameters()["layer_slots"])


def _read_only():
    return [r for r in REGISTERS.values() if r.access == "ro" and r.name not in constants(_config())]


async def _open(dut):
    host = Host(dut, "bus_")
    dut.locked.value = 0
    dut.irq_status.value = 0x5A5A_0003
    for register in _read_only():
        getattr(dut, register.name.lower()).value = 0xC000_0000 + register.offset
    await start_clock(dut)
    await RisingEdge(dut.clk)
    pulses = []

    async def watch():
        while True:
            await RisingEdge(dut.clk)
            for register in REGISTERS.values():
                if register.access == "wo" and getattr(dut, f"{register.name.lower()}_write").value:
                    pulses.append((register.name, int(dut.write_data.value)))
            if clear := int(dut.irq_status_clear.value):
                pulses.append(("IRQ_STATUS", clear))

    cocotb.start_soon(watch())
    return host, pulses


@cocotb.test(timeout_time=200, timeout_unit="us")
@cocotb.parametrize(stall=[0.0, 0.5])
async def every_register_follows_its_access_rule(dut, stall):
    host, pulses = await _open(dut)
    host.stall(stall)
    for register in REGISTERS.values():
        value, name = random.getrandbits(32) | 1, register.name.lower()
        if register.access == "ro":
            expected = constants(_config()).get(register.name, 0xC000_0000 + register.offset)
            assert await host.read(register.offset) == (expected, OK), register
            assert await host.write(register.offset, value) == BAD, register
            assert await host.read(register.offset) == (expected, OK), register
        elif register.access == "rw":
            assert await host.read(register.offset) == (0, OK), register
            assert await host.write(register.offset, value) == OK, register
            assert await host.read(register.offset) == (value, OK), register
            assert int(getattr(dut, name).value) == value
        else:
            assert await host.write(register.offset, value) == OK, register
            assert pulses == [(register.name, value)], register
            pulses.clear()
            assert await host.read(register.offset) == (0x5A5A_0003 if register.access == "w1c" else 0, OK), register
    assert not pulses


@cocotb.test(timeout_time=200, timeout_unit="us")
async def a_running_job_locks_its_registers_and_no_others(dut):
    host, pulses = await _open(dut)
    for register in RW:
        await host.write(register.offset, 0x1111_1111)
    dut.locked.value = 1
    for register in (r for r in REGISTERS.values() if r.access != "ro"):
        assert await host.write(register.offset, 0x2222_2223) == (BAD if register.job else OK), register
    for register in RW:
        assert await host.read(register.offset) == (0x1111_1111 if register.job else 0x2222_2223, OK), register
    assert sorted(name for name, _ in pulses) == ["CONTROL", "IRQ_STATUS"]


@cocotb.test(timeout_time=2, timeout_unit="ms")
async def unknown_offsets_answer_slverr(dut):
    host, pulses = await _open(dut)
    known = {r.offset for r in REGISTERS.values()}
    offsets = [o for o in range(0, 0x140, 4) if o not in known] + [0x1000, 0x1FFC]
    if (beyond := SNAPSHOT_BASE + 32 * _config().layer_slots) < 1 << ADDRESS_BITS:
        offsets += [beyond, (1 << ADDRESS_BITS) - 4]
    for offset in offsets:
        assert await host.read(offset) == (0, BAD), hex(offset)
        assert await host.write(offset, 0xFFFF_FFFF) == BAD, hex(offset)
    assert await host.write(SNAPSHOT_BASE, 1) == BAD, "snapshots are read only"
    assert not pulses


async def _raw_write(dut, address, data, strobe, first="both", gap=3):
    """A write whose address or data comes first by `gap` cycles; the manager is idle meanwhile."""
    dut.bus__bready.value = 1
    aw = (dut.bus__awvalid, dut.bus__awready, {dut.bus__awaddr: address})
    w = (dut.bus__wvalid, dut.bus__wready, {dut.bus__wdata: data, dut.bus__wstrb: strobe})

    async def send(channel, delay):
        valid, ready, values = channel
        for _ in range(delay):
            await RisingEdge(dut.clk)
        for signal, value in values.items():
            signal.value = value
        valid.value = 1
        await RisingEdge(dut.clk)
        while not ready.value:
            await RisingEdge(dut.clk)
        valid.value = 0

    delays = ((aw, gap if first == "w" else 0), (w, gap if first == "aw" else 0))
    tasks = [cocotb.start_soon(send(*delay)) for delay in delays]
    while not dut.bus__bvalid.value:
        await RisingEdge(dut.clk)
    response = int(dut.bus__bresp.value)
    for task in tasks:
        await task
    while dut.bus__bvalid.value:
        await RisingEdge(dut.clk)
    return response


async def _raw_open(dut):
    for name in ("awvalid", "wvalid", "arvalid", "bready", "rready"):
        getattr(dut, f"bus__{name}").value = 0
    dut.locked.value = 0
    await start_clock(dut)
    await RisingEdge(dut.clk)


@cocotb.test(timeout_time=100, timeout_unit="us")
async def partial_strobes_and_unaligned_addresses_answer_slverr(dut):
    await _raw_open(dut)
    register = RW[0]
    signal = getattr(dut, register.name.lower())
    for strobe in range(16):
        response = await _raw_write(dut, register.offset, 0x100 + strobe, strobe)
        assert response == (OK if strobe == 15 else BAD), strobe
        assert int(signal.value) == (0x10F if strobe == 15 else 0)
    for low in (1, 2, 3):
        assert await _raw_write(dut, register.offset + low, 0, 15) == BAD
        for offset in (register.offset, SNAPSHOT_BASE):
            dut.bus__araddr.value = offset + low
            dut.bus__arvalid.value = dut.bus__rready.value = 1
            await RisingEdge(dut.clk)
            dut.bus__arvalid.value = 0
            while not dut.bus__rvalid.value:
                await RisingEdge(dut.clk)
            assert int(dut.bus__rresp.value) == BAD
            await RisingEdge(dut.clk)
    assert int(signal.value) == 0x10F


@cocotb.test(timeout_time=100, timeout_unit="us")
async def address_and_data_come_in_any_order(dut):
    await _raw_open(dut)
    for i, (first, gap) in enumerate(itertools.product(("both", "aw", "w"), (1, 2, 5))):
        register = RW[i % len(RW)]
        assert await _raw_write(dut, register.offset, 0xAB00 + i, 15, first, gap) == OK
        assert int(getattr(dut, register.name.lower()).value) == 0xAB00 + i


@cocotb.test(timeout_time=100, timeout_unit="us")
async def a_read_passes_a_write_that_waits(dut):
    """A manager that does not take its write response can still read, and loses nothing."""
    await _raw_open(dut)
    register = RW[0]
    for valid in (dut.bus__awvalid, dut.bus__wvalid):
        valid.value = 1
    dut.bus__awaddr.value, dut.bus__wdata.value, dut.bus__wstrb.value = register.offset, 77, 15
    await RisingEdge(dut.clk)
    dut.bus__awvalid.value = dut.bus__wvalid.value = 0
    for _ in range(6):
        await RisingEdge(dut.clk)
    assert dut.bus__bvalid.value
    dut.bus__araddr.value, dut.bus__arvalid.value, dut.bus__rready.value = register.offset, 1, 1
    await RisingEdge(dut.clk)
    dut.bus__arvalid.value = 0
    while not dut.bus__rvalid.value:
        await RisingEdge(dut.clk)
    assert int(dut.bus__rdata.value) == 77 and dut.bus__bvalid.value


@cocotb.test(timeout_time=100, timeout_unit="us")
async def every_write_gets_its_own_response(dut):
    """A second write waits, without effect, for the manager to take the response of the first."""
    await _raw_open(dut)
    writes = [(RW[0].offset, 1, OK), (REGISTERS["ID"].offset, 2, BAD), (RW[0].offset, 3, OK)]

    async def send():
        for offset, value, _ in writes:
            dut.bus__awaddr.value, dut.bus__wdata.value, dut.bus__wstrb.value = offset, value, 15
            dut.bus__awvalid.value = dut.bus__wvalid.value = 1
            await RisingEdge(dut.clk)
            while not (dut.bus__awready.value and dut.bus__wready.value):
                await RisingEdge(dut.clk)
        dut.bus__awvalid.value = dut.bus__wvalid.value = 0

    cocotb.start_soon(send())
    for i, (_, _, expected) in enumerate(writes):
        for _ in range(10):
            await RisingEdge(dut.clk)
        assert dut.bus__bvalid.value and int(dut.bus__bresp.value) == expected, i
        assert int(getattr(dut, RW[0].name.lower()).value) == (3 if i == 2 else 1)
        dut.bus__bready.value = 1
        await RisingEdge(dut.clk)
        dut.bus__bready.value = 0
    for _ in range(10):
        await RisingEdge(dut.clk)
        assert not dut.bus__bvalid.value


@cocotb.test(timeout_time=500, timeout_unit="us")
async def the_snapshot_window_asks_for_slot_and_counter(dut):
    host, _ = await _open(dut)

    async def slots():
        while True:
            await RisingEdge(dut.clk)
            if dut.snapshot_read.value:
                dut.snapshot_data.value = int(dut.snapshot_slot.value) << 8 | int(dut.snapshot_counter.value)

    cocotb.start_soon(slots())
    count = _config().layer_slots
    for slot in {0, 1, count // 2, count - 1}:
        for counter in range(8):
            if slot < count:
                assert await host.read(SNAPSHOT_BASE + 32 * slot + 4 * counter) == (slot << 8 | counter, OK)


@pytest.mark.parametrize("layer_slots", [256, 2])
def test_registers(layer_slots):
    config = PRESETS["tiny"].with_(layer_slots=layer_slots)
    run_cocotb(RegisterFile(config), "register_file", __name__, parameters={"layer_slots": layer_slots})
