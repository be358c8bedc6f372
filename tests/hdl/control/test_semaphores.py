"""The semaphores against a Python model, cycle by cycle."""

import random

import cocotb
from cocotb.triggers import ReadOnly, RisingEdge
from lepton.arch import Engine, ErrorCode
from lepton_hdl.control.faults import FAULT
from lepton_hdl.control.semaphores import Semaphores

from tests.bench.clock import start_clock
from tests.cocotb_harness import run_cocotb
from tests.hdl.control.expose import Exposed

PORTS = [engine.name.lower() for engine in Engine]


def _mask(bits):
    return sum(random.random() < bits / 16 and 1 << i for i in range(16))


class Model:
    """Counts, and what one cycle does to them."""

    def __init__(self):
        self.counts = [0] * 16

    def step(self, requests, posts):
        """Returns ([missing], [granted], overflow mask) of the cycle with these requests (mask or None) and posts."""
        missing = [sum(1 << i for i in range(16) if (wait or 0) >> i & 1 and not self.counts[i]) for wait in requests]
        winner = next((e for e in Engine if requests[e] is not None and not missing[e]), None)
        overflow = 0
        for i in range(16):
            taken = winner is not None and requests[winner] >> i & 1
            total = self.counts[i] - taken + sum(post >> i & 1 for post in posts)
            overflow |= (total > 255) << i
            self.counts[i] = min(total, 255)
        return missing, [e == winner for e in Engine], overflow


async def _cycle(dut, model, requests, posts):
    """Drive one cycle and compare every output with the model."""
    for engine, port in zip(Engine, PORTS, strict=True):
        def drive(name, value, port=port):
            getattr(dut, f"{port}__{name}").value = value
        drive("request", requests[engine] is not None)
        drive("wait", requests[engine] or 0)
        drive("post_valid", posts[engine] is not None)
        drive("post", posts[engine] if posts[engine] is not None else 0xFFFF)
        drive("post_index", 100 + engine)
        drive("post_layer", 7 + engine)
    await ReadOnly()
    posts = [post or 0 for post in posts]
    missing, granted, overflow = model.step(requests, posts)
    for engine, port in zip(Engine, PORTS, strict=True):
        assert int(getattr(dut, f"{port}__missing").value) == missing[engine]
        assert bool(getattr(dut, f"{port}__grant").value) == granted[engine]
    assert bool(dut.fault__valid.value) == bool(overflow)
    if overflow:
        fault = FAULT.from_bits(int(dut.fault__payload.value))
        first = next(e for e in Engine if posts[e] & overflow)
        assert (fault.code, fault.engine, fault.index, fault.layer, fault.address) == (
            ErrorCode.SEMAPHORE_OVERFLOW, first, 100 + first, 7 + first, overflow)
    await RisingEdge(dut.clk)
    return granted, overflow


@cocotb.test(timeout_time=200, timeout_unit="us")
async def random_traffic_agrees_with_the_model(dut):
    await start_clock(dut)
    await RisingEdge(dut.clk)
    model, grants = Model(), [0, 0, 0]
    requests = [None] * 3
    for _ in range(8000):
        for engine in Engine:
            if requests[engine] is None and random.random() < 0.5:
                requests[engine] = _mask(random.choice([0, 1, 3]))
        posts = [_mask(1) if random.random() < 0.4 else None for _ in Engine]
        granted, _ = await _cycle(dut, model, requests, posts)
        for engine in Engine:
            if granted[engine]:
                grants[engine] += 1
                requests[engine] = None
    assert min(grants) > 500, grants


@cocotb.test(timeout_time=200, timeout_unit="us")
async def overflow_names_the_first_engine_that_posted(dut):
    await start_clock(dut)
    await RisingEdge(dut.clk)
    model, seen = Model(), 0
    for _ in range(1500):
        posts = [_mask(8) if random.random() < 0.5 else None for _ in Engine]
        _, overflow = await _cycle(dut, model, [_mask(1), None, _mask(1)], posts)
        seen += bool(overflow)
    assert seen > 100


@cocotb.test(timeout_time=200, timeout_unit="us")
async def a_full_semaphore_may_be_taken_and_posted_at_once(dut):
    await start_clock(dut)
    await RisingEdge(dut.clk)
    model = Model()
    for _ in range(255):
        await _cycle(dut, model, [None] * 3, [1, None, None])
    _, overflow = await _cycle(dut, model, [None, 1, None], [None, None, 1])
    assert not overflow
    _, overflow = await _cycle(dut, model, [None] * 3, [None, None, 1])
    assert overflow == 1


def test_semaphores():
    run_cocotb(Exposed(Semaphores()), "semaphores", __name__)
