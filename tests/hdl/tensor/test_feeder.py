"""The feeder: every tile and record complete when it is taken, none disturbed while it is in use."""

import random
from dataclasses import replace
from itertools import pairwise

import cocotb
import pytest
from lepton.arch.commands import PARAM_WORDS, TABLE_BYTES, UNIFORM_PARAM_WORDS
from lepton_hdl.tensor.feeder import Feeder

from tests.bench.disturbed import DamagedPins
from tests.bench.pins import Pins
from tests.cocotb_harness import parameters, run_cocotb
from tests.hdl.tensor.commands import SMALL
from tests.hdl.tensor.feeder_bench import Bench, Job

CONFIG = SMALL[parameters().get("lanes", 4)]
LANES = CONFIG.lanes
WORDS = CONFIG.weight_words
TABLE_WORDS = TABLE_BYTES // LANES
JOBS = 60
WRONG_BITS = [
    ("load", 1, "the tile is"),
    ("load_column", None, "the tile is"),
    ("load_data", None, "the tile is"),
    ("tile_ready", 0, "the tile is|a tile was ready"),
    ("params_ready", 0, "parameters (are|were) ready|the record is"),
    ("parameters__record__valid", 1, "the record is"),
    ("parameters__record__payload", None, "the record is"),
    ("parameters__scalars__valid", 1, "the scalars are"),
    ("parameters__scalars__payload", None, "the scalars are|the table in bank"),
    ("parameters__table__valid", 1, "the table in bank"),
    ("parameters__table__payload", None, "the table in bank"),
]
"""An output, the value that is wrong in one cycle (None: any), and what must be reported."""


async def open_bench(pins: Pins) -> Bench:
    bench = Bench(pins, CONFIG)
    await bench.start()
    return bench


def random_job() -> Job:
    kernel_x = random.randint(1, 3)
    kernel_y = random.randint(1, 3)
    blocks = random.randint(1, 3)
    job = Job(tiles=random.random() < 0.8, emits=random.random() < 0.7, kernel_x=kernel_x, kernel_y=kernel_y,
              blocks=blocks, weights=random.randint(0, WORDS - LANES * kernel_x * kernel_y * blocks),
              params=random.randint(0, WORDS - PARAM_WORDS), load_table=random.random() < 0.3,
              table_at=random.randint(0, WORDS - TABLE_WORDS))
    return job.with_uniform_scalars() if random.random() < 0.5 else job


@cocotb.test(timeout_time=10, timeout_unit="ms")
@cocotb.parametrize(take=[1.0, 0.3, 0.05])
async def random_jobs(dut, take):
    bench = await open_bench(Pins(dut))
    await bench.run([random_job() for _ in range(JOBS)], take, random.choice([0.3, 1.0]), lambda: random.randrange(40))


@cocotb.test(timeout_time=1, timeout_unit="ms")
async def the_ends_of_the_memory_fit(dut):
    bench = await open_bench(Pins(dut))
    await bench.run([Job(weights=WORDS - 2 * LANES, blocks=2, params=0),
                     Job(weights=0, params=WORDS - PARAM_WORDS),
                     Job(load_table=1, table_at=WORDS - TABLE_WORDS),
                     Job(params=WORDS - UNIFORM_PARAM_WORDS).with_uniform_scalars()])


@cocotb.test(timeout_time=1, timeout_unit="ms")
async def a_tile_takes_its_columns_and_no_more(dut):
    """Tiles taken at once come K cycles apart, also across jobs; a record costs its words once."""
    bench = await open_bench(Pins(dut))
    await bench.run([Job(blocks=6, emits=0)] * 3)
    gaps = [b - a for a, b in pairwise(bench.tile_cycles)]
    assert gaps[:5] == [LANES] * 5 and all(LANES <= gap <= LANES + 1 for gap in gaps), gaps
    await bench.again()
    await bench.run([Job(blocks=6)])
    gaps = [b - a for a, b in pairwise(bench.tile_cycles)]
    assert gaps == [LANES + PARAM_WORDS] + [LANES] * 4
    read = [address for _, address in bench.memory.reads]
    assert len(read) == 6 * LANES + PARAM_WORDS and read[:LANES] == list(range(LANES)), "the first tile goes first"


@cocotb.test(timeout_time=1, timeout_unit="ms")
async def the_next_job_is_fed_ahead(dut):
    """While nothing is taken one tile is fetched, no more; the next job's first tile follows the last one's last."""
    bench = await open_bench(Pins(dut))
    assert await bench.cycle(Job(weights=8, emits=0), take=0)
    second = Job(weights=8 + LANES, emits=0)
    waited = 0
    while not await bench.cycle(second, take=0):
        waited += 1
        assert waited < 4 * LANES
    for _ in range(3 * LANES):
        await bench.cycle(take=0)
    assert [address for _, address in bench.memory.reads] == list(range(8, 8 + LANES))
    await bench.run([])


@cocotb.test(timeout_time=1, timeout_unit="ms")
async def leaving_the_memory(dut):
    """Tiles before the offending one are served; then the feeder reports its address and reads nothing more."""
    bench = await open_bench(Pins(dut))
    cases = [(Job(weights=WORDS - 2 * LANES, blocks=3, emits=0), 2, WORDS),
             (Job(weights=WORDS - LANES + 1, emits=0), 0, WORDS - LANES + 1),
             (Job(weights=65535, emits=0), 0, 65535),
             (Job(tiles=0, params=WORDS - PARAM_WORDS + 1), 0, WORDS - PARAM_WORDS + 1),
             (Job(tiles=0, params=65535), 0, 65535),
             (Job(tiles=0, load_table=1, table_at=WORDS - TABLE_WORDS + 1), 0, WORDS - TABLE_WORDS + 1)]
    for fields, served, address in cases:
        await bench.again()
        job = replace(fields, index=0xABCD1234, layer=4321)
        assert await bench.cycle(job)
        for _ in range(4 * LANES):
            await bench.cycle(Job())
        get = bench.pins.get
        assert get("out_of_bounds"), job
        assert (get("bad_address"), get("bad_index"), get("bad_layer")) == (address, 0xABCD1234, 4321)
        assert len(bench.tile_cycles) == served and len(bench.memory.reads) == served * LANES


@cocotb.test(timeout_time=1, timeout_unit="ms")
@cocotb.parametrize((("port", "value", "message"), WRONG_BITS))
async def a_wrong_bit_is_reported(dut, port, value, message):
    """The monitor and the checker notice a planted error of every output in a single cycle."""
    pins = DamagedPins(dut, port, value=value)
    bench = await open_bench(pins)
    with pins.reported(message):
        await bench.run([replace(random_job(), tiles=1, emits=1, load_table=1) for _ in range(JOBS)])


@pytest.mark.parametrize("lanes", [4, 16])
def test_feeder(lanes):
    run_cocotb(Feeder(SMALL[lanes]), f"feeder{lanes}", __name__, parameters={"lanes": lanes})
