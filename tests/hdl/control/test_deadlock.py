"""The deadlock detector alone, over random states of the three streams."""

import random

import cocotb
from cocotb.triggers import Timer
from lepton.arch import Engine, ErrorCode
from lepton_hdl.control.deadlock import STREAM_STATE, DeadlockDetector

from tests.cocotb_harness import run_cocotb


@cocotb.test(timeout_time=1, timeout_unit="ms")
async def names_the_first_stuck_engine(dut):
    seen = set()
    for _ in range(4000):
        states = [dict(finished=random.random() < 0.4, outstanding=random.random() < 0.1, busy=random.random() < 0.1,
                       blocked=random.choice([0, 1 << random.randrange(16), random.getrandbits(16)]),
                       index=random.getrandbits(32), layer=random.getrandbits(16)) for _ in Engine]
        for state in states:
            state["blocked"] *= not state["finished"]  # a finished stream has no next command
        dut.streams.value = sum(STREAM_STATE.const(state).as_value().value << i * STREAM_STATE.size
                                for i, state in enumerate(states))
        await Timer(1, unit="ns")
        stuck = [i for i, state in enumerate(states) if state["blocked"]]
        still = not any(state["outstanding"] or state["busy"] for state in states)
        deadlock = still and bool(stuck) and all(state["finished"] or state["blocked"] for state in states)
        assert bool(dut.fault__valid.value) == deadlock, states
        seen.add(deadlock)
        if deadlock:
            first = stuck[0]
            fault = DeadlockDetector().fault.payload.shape().from_bits(int(dut.fault__payload.value))
            assert (fault.code, fault.engine, fault.index, fault.layer, fault.address) == (
                ErrorCode.DEADLOCK, first, states[first]["index"], states[first]["layer"], states[first]["blocked"])
    assert seen == {False, True}


def test_deadlock():
    run_cocotb(DeadlockDetector(), "deadlock", __name__)
