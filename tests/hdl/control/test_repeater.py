"""The repeater alone: what a record stands for, one command at a time, whatever the streams do."""

import random

import cocotb
import pytest
from cocotb.clock import Clock
from cocotb.triggers import FallingEdge, ReadOnly
from lepton.arch import Dma, Tensor
from lepton.arch.repeat import COUNT, unroll
from lepton_hdl.control.repeat import Repeater

from tests.cocotb_harness import parameters, run_cocotb

RECORDS = {record.name: record for record in (Dma, Tensor)}
IGNORED = ("repeat", "first_wait", "last_post")  # used up by the repeater


def random_record(record):
    """Random fields; mostly few rounds, sometimes none, which the engine is to report."""
    fields = {f.name: random.randint(f.minimum, f.maximum) for f in record.fields}
    return fields | {"repeat": random.random() < 0.7, COUNT[record.name]: random.choice([0, 1, 1, 2, 3, 9])}


@cocotb.test(timeout_time=1, timeout_unit="ms")
@cocotb.parametrize(reader=[1.0, 0.3], writer=[1.0, 0.2])
async def unrolls(dut, reader, writer):
    record = RECORDS[parameters()["record"]]
    dut.i__valid.value = dut.o__ready.value = 0
    dut.rst.value = 1
    Clock(dut.clk, 10, unit="ns").start()
    await FallingEdge(dut.clk)
    await FallingEdge(dut.clk)
    dut.rst.value = 0
    records = [random_record(record) for _ in range(60)]
    expected = [(single, single is singles[-1]) for fields in records for singles in [unroll(record, fields)]
                for single in singles]
    offered, got, cycles = False, 0, 0
    while got < len(expected):
        if records and not offered and random.random() < writer:
            offered = True
            dut.i__payload.value = int.from_bytes(record.pack(**records[0]), "little")
        dut.i__valid.value, dut.o__ready.value = offered, random.random() < reader
        await ReadOnly()
        if dut.o__valid.value and dut.o__ready.value:
            fields = record.unpack(int(dut.o__payload.value).to_bytes(record.size, "little"))
            single, last = expected[got]
            for name in fields.keys() - set(IGNORED):
                assert fields[name] == single[name], f"command {got}: {name}"
            assert bool(dut.last.value) == last
            got += 1
        if offered and dut.i__ready.value:
            records.pop(0)
            offered = False
        cycles += 1
        await FallingEdge(dut.clk)
    assert not records and not offered
    if reader == writer == 1.0:
        assert cycles == len(expected) + 1, "a command a cycle"


@pytest.mark.parametrize("name", RECORDS)
def test_repeat(name):
    run_cocotb(Repeater(RECORDS[name]), f"repeat_{name}", __name__, parameters={"record": name})
