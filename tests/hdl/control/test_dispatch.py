"""One dispatcher alone: what it shows to its engine, and when not."""

import cocotb
from cocotb.triggers import RisingEdge
from lepton.arch import PRESETS, Engine, ErrorCode
from lepton.arch.commands import Dma
from lepton_hdl.control.dispatch import Dispatcher
from lepton_hdl.control.faults import FAULT

from tests.bench.clock import cycles, start_clock
from tests.cocotb_harness import run_cocotb
from tests.hdl.control.expose import Exposed


async def _open(dut, **fields):
    """Offers one command for ever; no semaphore is missing and none is granted yet."""
    for name in ("halt", "command__ready", "done__valid", "done__payload", "semaphores__grant", "semaphores__missing"):
        getattr(dut, name).value = 0
    dut.count.value = 3
    dut.last.value = 1
    dut.i__payload.value = int.from_bytes(Dma.pack(**{"opcode": 0x10, "wait": 6, "layer": 11} | fields), "little")
    dut.i__valid.value = 0
    await start_clock(dut)
    await cycles(dut, 2)
    dut.i__valid.value = 1
    await cycles(dut, 2)


async def _grant(dut):
    dut.semaphores__grant.value = 1
    await RisingEdge(dut.clk)
    dut.semaphores__grant.value = 0
    await cycles(dut, 2)


@cocotb.test(timeout_time=10, timeout_unit="us")
async def a_command_is_shown_when_its_semaphores_are_granted(dut):
    await _open(dut)
    assert dut.semaphores__request.value and int(dut.semaphores__wait.value) == 6
    assert not dut.command__valid.value and not dut.i__ready.value
    await _grant(dut)
    assert dut.command__valid.value and not dut.semaphores__request.value and int(dut.issued.value) == 0
    await cycles(dut, 10)
    assert dut.command__valid.value and not dut.outstanding.value
    dut.command__ready.value = 1
    await RisingEdge(dut.clk)
    dut.command__ready.value = 0
    await cycles(dut, 2)
    assert not dut.command__valid.value and int(dut.issued.value) == 1
    assert dut.outstanding.value and dut.semaphores__request.value


@cocotb.test(timeout_time=10, timeout_unit="us")
async def halt_keeps_back_what_is_not_shown_yet(dut):
    await _open(dut)
    dut.halt.value = 1
    for _ in range(10):
        await RisingEdge(dut.clk)
    assert not dut.semaphores__request.value and not dut.command__valid.value and not dut.fault__valid.value


@cocotb.test(timeout_time=10, timeout_unit="us")
async def halt_does_not_withdraw_what_is_shown(dut):
    await _open(dut)
    await _grant(dut)
    dut.halt.value = 1
    for _ in range(10):
        await RisingEdge(dut.clk)
        assert dut.command__valid.value


@cocotb.test(timeout_time=10, timeout_unit="us")
async def halt_hides_an_illegal_command(dut):
    await _open(dut)
    dut.halt.value = 1
    dut.i__payload.value = int.from_bytes(Dma.pack(opcode=0x55), "little")
    for _ in range(5):
        await RisingEdge(dut.clk)
    assert not dut.fault__valid.value


@cocotb.test(timeout_time=10, timeout_unit="us")
async def an_illegal_command_is_reported_once_and_never_shown(dut):
    await _open(dut)
    dut.i__payload.value = int.from_bytes(Dma.pack(opcode=0x55, layer=4), "little")
    seen = []
    for _ in range(10):
        await RisingEdge(dut.clk)
        if dut.fault__valid.value:
            seen.append(FAULT.from_bits(int(dut.fault__payload.value)))
            assert not dut.semaphores__request.value
    assert [(f.code, f.engine, f.layer, f.address) for f in seen] == [(ErrorCode.ILLEGAL_OPCODE, Engine.LOAD, 4, 0x55)]
    assert not dut.semaphores__request.value and int(dut.blocked.value) == 0


@cocotb.test(timeout_time=10, timeout_unit="us")
async def it_has_finished_when_all_have_and_says_what_it_waits_for(dut):
    """The last of three records is a repeated one; its index and its end are those of the record."""
    await _open(dut)
    dut.command__ready.value = 1
    for i, last in enumerate((1, 1, 0, 0, 1)):
        assert int(dut.issued.value) == min(i, 2)
        dut.last.value = last
        await _grant(dut)
    dut.semaphores__missing.value = 4
    await cycles(dut, 2)
    assert int(dut.blocked.value) == 4 and int(dut.layer.value) == 11
    for i in (0, 1, 2, 2, 2):
        assert not dut.finished.value
        assert int(dut.semaphores__post_index.value) == i
        dut.done__valid.value = 1
        await RisingEdge(dut.clk)
        dut.done__valid.value = 0
        await cycles(dut, 2)
    assert dut.finished.value and not dut.outstanding.value


def test_dispatch():
    run_cocotb(Exposed(Dispatcher(Engine.LOAD, PRESETS["tiny"])), "dispatch", __name__)
