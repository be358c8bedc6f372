"""The job controller: which cause counts when several come together."""

import itertools
import random

import cocotb
from cocotb.triggers import RisingEdge
from lepton.arch import ErrorCode
from lepton.arch.registers import Interrupt, State
from lepton_hdl.control.control import SOURCES
from lepton_hdl.control.faults import FAULT
from lepton_hdl.control.job import JobController

from tests.bench.clock import cycles, start_clock
from tests.cocotb_harness import run_cocotb
from tests.hdl.control.expose import Exposed


async def _open(dut):
    for name in ("start", "abort", "reset", "finished", "busy", "dead", "irq_clear"):
        getattr(dut, name).value = 0
    for source in SOURCES:
        getattr(dut, f"fault_{source}__valid").value = 0
    await start_clock(dut)
    await cycles(dut, 2)


async def _pulse(dut, **values):
    for name, value in values.items():
        getattr(dut, name).value = value
    await RisingEdge(dut.clk)
    for name in values:
        if not name.endswith("payload"):
            getattr(dut, name).value = 0
    await RisingEdge(dut.clk)


def _fault():
    return {"code": random.randrange(1, 13), "engine": random.randrange(3), "index": random.getrandbits(32),
            "layer": random.getrandbits(16), "address": random.getrandbits(64)}


def _as_values(source, fault):
    return {f"fault_{source}__valid": 1, f"fault_{source}__payload": FAULT.const(fault).as_value().value}


async def _begin(dut):
    await _pulse(dut, start=1)
    await RisingEdge(dut.clk)
    assert dut.active.value and int(dut.status.value) == State.RUNNING


async def _ends_in_error(dut):
    for _ in range(10):
        await RisingEdge(dut.clk)
        if int(dut.status.value) == State.ERROR:
            return FAULT.from_bits(int(dut.error.value))
    raise AssertionError("the job did not stop")


def _same(error, fault):
    return all(getattr(error, name) == value for name, value in fault.items())


@cocotb.test(timeout_time=100, timeout_unit="us")
async def of_two_faults_in_one_cycle_the_first_source_counts(dut):
    await _open(dut)
    for first, second in itertools.combinations(SOURCES, 2):
        faults = _fault(), _fault()
        await _begin(dut)
        await _pulse(dut, **_as_values(first, faults[0]), **_as_values(second, faults[1]), abort=1)
        assert _same(await _ends_in_error(dut), faults[0]), (first, second)


@cocotb.test(timeout_time=100, timeout_unit="us")
async def of_two_faults_one_after_the_other_the_earlier_counts(dut):
    await _open(dut)
    for early, late in itertools.permutations(SOURCES, 2):
        fault = _fault()
        await _begin(dut)
        dut.busy.value = 0b1000
        await _pulse(dut, **_as_values(early, fault))
        await _pulse(dut, **_as_values(late, _fault()), abort=1)
        await cycles(dut, 5)
        assert int(dut.status.value) == State.RUNNING and dut.halt.value, "it must wait until nothing is busy"
        dut.busy.value = 0
        assert _same(await _ends_in_error(dut), fault), (early, late)


@cocotb.test(timeout_time=100, timeout_unit="us")
async def an_abort_during_the_start_is_not_lost(dut):
    await _open(dut)
    dut.start.value = 1
    await RisingEdge(dut.clk)
    dut.start.value, dut.abort.value = 0, 1
    await RisingEdge(dut.clk)
    dut.abort.value = 0
    assert (await _ends_in_error(dut)).code == ErrorCode.ABORTED


@cocotb.test(timeout_time=100, timeout_unit="us")
async def a_late_busy_is_waited_for(dut):
    """An engine may raise `busy` up to two cycles after it has taken a command."""
    await _open(dut)
    await _begin(dut)
    await _pulse(dut, **_as_values("fetch", _fault()))
    await RisingEdge(dut.clk)
    dut.busy.value = 1
    await cycles(dut, 20)
    assert int(dut.status.value) == State.RUNNING
    dut.busy.value = 0
    await _ends_in_error(dut)


@cocotb.test(timeout_time=100, timeout_unit="us")
async def a_dead_memory_is_not_waited_for(dut):
    await _open(dut)
    dut.busy.value = 0b1111
    await _begin(dut)
    dut.dead.value = 1
    await _pulse(dut, **_as_values("read_port", _fault()))
    await _ends_in_error(dut)


@cocotb.test(timeout_time=100, timeout_unit="us")
async def a_new_interrupt_survives_a_clear_of_the_same_cycle(dut):
    await _open(dut)
    await _begin(dut)
    await _pulse(dut, finished=1, irq_clear=3)
    assert int(dut.irq_status.value) == Interrupt.DONE and int(dut.status.value) == State.DONE
    await _pulse(dut, irq_clear=2)
    assert int(dut.irq_status.value) == Interrupt.DONE
    await _pulse(dut, irq_clear=1)
    assert int(dut.irq_status.value) == 0


@cocotb.test(timeout_time=100, timeout_unit="us")
async def faults_without_a_job_are_ignored(dut):
    await _open(dut)
    await _pulse(dut, **_as_values("fetch", _fault()), abort=1)
    assert int(dut.status.value) == State.IDLE
    await _begin(dut)
    await cycles(dut, 5)
    assert int(dut.status.value) == State.RUNNING
    await _pulse(dut, reset=1)
    assert int(dut.status.value) == State.IDLE and not dut.halt.value


def test_job():
    run_cocotb(Exposed(JobController(SOURCES)), "job", __name__)
