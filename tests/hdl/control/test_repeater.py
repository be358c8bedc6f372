"""The repeater alone: what a record stands for, one command at a time, whatever the streams do."""

import random
from itertools import pairwise

import cocotb
import pytest
from lepton.arch import Dma, Tensor
from lepton.arch.record import Record
from lepton.arch.repeat import COUNT, unroll
from lepton_hdl.control.repeat import Repeater

from tests.bench.checker import InOrder
from tests.bench.clock import start_clock, until
from tests.bench.stalls import NONE, STALLS, stall
from tests.bench.stream import ReadyDriver, StreamDriver, StreamMonitor
from tests.cocotb_harness import parameters, run_cocotb

RECORDS = {record.name: record for record in (Dma, Tensor)}
CONSUMED = ("repeat", "first_wait", "last_post")  # fields that the repeater uses up
WORDS = 480  # of all records of a test

Command = tuple[dict[str, int], bool]
"""The fields of a command but for those in `CONSUMED`; whether it is its record's last."""


def random_record(record: Record) -> dict[str, int]:
    """Random fields; mostly few rounds, sometimes none, which the engine is to report."""
    fields = {f.name: random.randint(f.minimum, f.maximum) for f in record.fields}
    return fields | {"repeat": random.random() < 0.7, COUNT[record.name]: random.choice([0, 1, 1, 2, 3, 9])}


def without_consumed(fields: dict[str, int]) -> dict[str, int]:
    return {name: value for name, value in fields.items() if name not in CONSUMED}


def unrolled(record: Record, fields: dict[str, int]) -> list[Command]:
    """The model: the commands that a record stands for."""
    singles = unroll(record, fields)
    return [(without_consumed(single), single is singles[-1]) for single in singles]


@cocotb.test(timeout_time=1, timeout_unit="ms")
@cocotb.parametrize(reader=STALLS, writer=STALLS)
async def unrolls(dut, reader, writer):
    record = RECORDS[parameters()["record"]]
    size = parameters()["word_bytes"]
    records = [random_record(record) for _ in range(max(WORDS * size // record.size, 15))]

    def unpack(bits: int) -> Command:
        fields = record.unpack(bits.to_bytes(record.size, "little"))
        return without_consumed(fields), bool(dut.last.value)

    driver = StreamDriver(dut, "i", lambda word: int.from_bytes(word, "little"), stall(writer))
    ReadyDriver(dut, "o", stall(reader))
    checker = InOrder("o", [command for fields in records for command in unrolled(record, fields)])
    monitor = StreamMonitor(dut, "o", unpack, checker.receive)
    await start_clock(dut)
    for fields in records:
        packed = record.pack(**fields)
        driver.send(*(packed[at:at + size] for at in range(0, record.size, size)))
    await until(dut, lambda: checker.complete, state=lambda: f"{checker.received} commands came")
    checker.finish()
    await until(dut, lambda: driver.idle, 1)
    if reader == writer == NONE:
        words = record.size // size
        gaps = [words if last else 1 for _, last in monitor.items[:-1]]
        assert [later - earlier for earlier, later in pairwise(monitor.times)] == gaps, (
            "rounds take a cycle, and records one for each of their words")


@pytest.mark.parametrize("name", RECORDS)
@pytest.mark.parametrize("word_bytes", [4, 16, 64])
def test_repeat(name, word_bytes):
    run_cocotb(Repeater(RECORDS[name], word_bytes), f"repeat_{name}{word_bytes}", __name__,
               parameters={"record": name, "word_bytes": word_bytes})


@pytest.mark.filterwarnings("ignore::amaranth.hdl.UnusedElaboratable")
def test_repeater_refuses_words_that_do_not_divide_a_command():
    with pytest.raises(ValueError, match="word_bytes must divide the 64 bytes of a Dma command, not 24"):
        Repeater(Dma, 24)
