"""The scratchpad with all seven clients at once, against a flat memory and the documented priorities."""

import random
from dataclasses import replace

import cocotb
import pytest
from lepton_hdl.memory.scratchpad import Scratchpad

from tests.bench.pins import Pins
from tests.bench.stalls import BURSTS, MOST, NONE, SOME, stall
from tests.cocotb_harness import parameters, run_cocotb
from tests.hdl.memory.configs import banked
from tests.hdl.memory.scratchpad_bench import BITS, PORTS, ScratchpadBench, Traffic

WORDS = banked(4).scratchpad_words
CYCLES = 2500


async def opened(dut) -> ScratchpadBench:
    """A bench with random words in every address."""
    bench = ScratchpadBench(Pins(dut), banked(parameters()["banks"]))
    await bench.start()
    return bench


def near(top: int = WORDS) -> int:
    """A word address below `top`: half of the time one of a few, so that clients meet in words as well as in banks."""
    return random.randrange(8) if random.random() < 0.5 else random.randrange(top)


@cocotb.test(timeout_time=2, timeout_unit="ms")
@cocotb.parametrize(pause=[NONE, SOME, BURSTS, MOST])
async def random_traffic(dut, pause):
    bench = await opened(dut)
    pauses = [stall(pause) for _ in range(2 + len(PORTS))]
    for _ in range(CYCLES):
        everything = Traffic((near(WORDS - 1), random.randrange(2)), (near(), random.getrandbits(BITS)), near(), near(),
                             (near(), random.getrandbits(BITS)), near(), (near(), random.getrandbits(BITS)))
        silent = [name for name, paused in zip(("tensor", "write", *PORTS), pauses, strict=True) if paused()]
        await bench.cycle(replace(everything, **dict.fromkeys(silent)))
    crowded = bench.config.scratchpad_banks == 2 and pause == NONE  # two reads of the tensor pipeline take both banks
    for client in PORTS:
        least = 10 if crowded and client == "rows" else 100
        assert bench.waits.served[client] > least, f"{client} was served {bench.waits.served[client]} times"
        # Random traffic leaves every bank free now and then.
        longest = bench.waits.longest[client]
        assert crowded or longest < 200, f"{client} waited {longest} cycles"


@cocotb.test(timeout_time=2, timeout_unit="ms")
async def a_word_written_is_read_by_everyone(dut):
    """In the cycle of the write every reader still sees the old word, in the next the new one."""
    bench = await opened(dut)
    for address in (0, 1, bench.config.scratchpad_banks, WORDS - 1):
        for write in (Traffic(write=(address, 0xAAAA_0000 | address)), Traffic(load=(address, 0x5555_0000 | address)),
                      Traffic(rows_write=(address, 0x3333_0000 | address))):
            for reader in ({"residual": address}, {"store": address}, {"rows": address}, {"tensor": (address, 0)}):
                await bench.cycle(replace(write, **reader))
                await bench.cycle(Traffic(**reader))
                await bench.cycle(Traffic())


@cocotb.test(timeout_time=2, timeout_unit="ms", skip=parameters().get("banks", 4) < 4)
@cocotb.parametrize(pair=[0, 1])
async def sequential_streams_fall_into_step(dut, pair):
    """Streams of consecutive words that begin in any banks: each waits once for its turn, then never again.

    An unaligned tensor stream holds two banks a cycle, so with residual and STORE all four are busy.
    """
    bench = await opened(dut)
    banks = bench.config.scratchpad_banks
    cycles = 60
    limits = {"residual": 1 + pair, "store": banks - 1, "load": 1}
    for start in range(banks ** 2):
        first = start % banks
        second = start // banks
        at = {"residual": first, "store": second, "load": first}
        served = dict.fromkeys(PORTS, 0)
        for i in range(cycles):
            accepted = await bench.cycle(Traffic((i, pair), (i + second, i), at["residual"], at["store"],
                                                 (at["load"], ~i & 0xFFFF_FFFF)))
            for client in accepted:
                at[client] += 1
                served[client] += 1
        for client, limit in limits.items():
            lost = cycles - served[client]
            assert lost <= limit, f"{client} lost {lost} of {cycles} cycles, start {start}"
        for _ in range(4):
            await bench.cycle(Traffic())


@pytest.mark.parametrize("banks", [2, 4, 8])
def test_scratchpad(banks):
    run_cocotb(Scratchpad(banked(banks)), f"scratchpad{banks}", __name__, parameters={"banks": banks})
