"""The memory's arbiter alone: every answer goes to its manager, and no manager waits for long."""

import random
from itertools import pairwise

import cocotb
from lepton_hdl.boards.requests import request_layout
from lepton_hdl.boards.share import READS, RUN, Share

from tests.bench.checker import InOrder
from tests.bench.clock import cycles, start_clock, until
from tests.bench.layouts import decode, encode
from tests.bench.stalls import MOST, NONE, SOME, STALLS, stall
from tests.bench.stream import StreamDriver, StreamMonitor
from tests.cocotb_harness import run_cocotb
from tests.hdl.boards.peers import WordMemory

DATA_BYTES = 4
CLIENTS = 3
REQUESTS = 150
_LAYOUT = request_layout(DATA_BYTES)


def requests(client: int) -> list[dict]:
    """Reads and writes of words that only this client uses."""
    return [{"write": random.random() < 0.5, "address": random.randrange(8) * CLIENTS + client,
             "data": random.getrandbits(32), "strobe": random.getrandbits(DATA_BYTES)} for _ in range(REQUESTS)]


def answers(sequence: list[dict]) -> list[int]:
    """What the reads of one client must give."""
    words: dict[int, int] = {}
    found = []
    for request in sequence:
        before = words.get(request["address"], 0)
        if request["write"]:
            mask = sum(0xFF << 8 * i for i in range(DATA_BYTES) if request["strobe"] >> i & 1)
            words[request["address"]] = before & ~mask | request["data"] & mask
        else:
            found.append(before)
    return found


@cocotb.test(timeout_time=5, timeout_unit="ms")
@cocotb.parametrize(client=STALLS, memory=[NONE, SOME, MOST])
async def answers_each(dut, client, memory):
    WordMemory(dut, "memory", DATA_BYTES, stall(memory))
    sequences = [requests(n) for n in range(CLIENTS)]
    checkers = [InOrder(f"client {n}", answers(sequence)) for n, sequence in enumerate(sequences)]
    drivers = [StreamDriver(dut, f"clients__{n}__request", lambda item: encode(_LAYOUT, **item), stall(client))
               for n in range(CLIENTS)]
    for n, checker in enumerate(checkers):
        StreamMonitor(dut, f"clients__{n}__read_data", lambda bits: bits, checker.receive)
    await start_clock(dut)
    for driver, sequence in zip(drivers, sequences, strict=True):
        driver.send(*sequence)
    await until(dut, lambda: all(checker.complete for checker in checkers) and all(d.idle for d in drivers), 100_000)
    for checker in checkers:
        checker.finish()


@cocotb.test(timeout_time=5, timeout_unit="ms")
async def reads_wait_while_as_many_as_it_holds_have_no_answer(dut):
    """Memory takes requests long before it answers, and still every answer goes to its manager."""
    latency = 100
    memory = WordMemory(dut, "memory", DATA_BYTES, stall(NONE), latency)
    drivers = [StreamDriver(dut, f"clients__{n}__request", lambda item: encode(_LAYOUT, **item))
               for n in range(CLIENTS)]
    checkers = [InOrder[int](f"client {n}") for n in range(CLIENTS)]
    for n, checker in enumerate(checkers):
        memory.bytes[n * DATA_BYTES] = n + 1
        StreamMonitor(dut, f"clients__{n}__read_data", lambda bits: bits, checker.receive)
    await start_clock(dut)
    for n, (driver, checker) in enumerate(zip(drivers, checkers, strict=True)):
        count = random.randrange(READS + 1, 3 * READS)
        driver.send(*({"write": 0, "address": n, "data": 0, "strobe": 0} for _ in range(count)))
        checker.expect(*[n + 1] * count)
    await cycles(dut, latency)
    assert len(memory.log) == READS, "as many as the share keeps the managers of"
    await until(dut, lambda: all(checker.complete for checker in checkers))


@cocotb.test(timeout_time=5, timeout_unit="ms")
async def turns_end(dut):
    """While all managers want memory, each gets it for RUN requests in a row."""
    memory = WordMemory(dut, "memory", DATA_BYTES, stall(NONE))
    drivers = [StreamDriver(dut, f"clients__{n}__request", lambda item: encode(_LAYOUT, **item))
               for n in range(CLIENTS)]
    monitor = StreamMonitor(dut, "memory__request", lambda bits: decode(_LAYOUT, bits)["address"] % CLIENTS)
    await start_clock(dut)
    for n, driver in enumerate(drivers):
        driver.send(*({"write": 1, "address": n, "data": 0, "strobe": 0} for _ in range(4 * RUN)))
    await until(dut, lambda: all(driver.idle for driver in drivers), 100_000)
    assert len(memory.log) == 4 * RUN * CLIENTS
    owners = monitor.items
    longest = current = 1
    for before, after in pairwise(owners):
        current = current + 1 if before == after else 1
        longest = max(longest, current)
    assert longest <= RUN + 1  # the first turn begins before the others ask


def test_share():
    run_cocotb(Share(DATA_BYTES, CLIENTS), "share", __name__)
