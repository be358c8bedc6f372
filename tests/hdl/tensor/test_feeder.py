"""The feeder: every tile and record complete when it is taken, none disturbed while it is in use."""

import random
from collections import deque

import cocotb
import pytest
from cocotb.triggers import Timer
from lepton.arch.commands import PARAM_WORDS, TABLE_BYTES, UNIFORM_PARAM_WORDS
from lepton_hdl.tensor.feeder import JOB, Feeder
from lepton_hdl.tensor.parameters import SCALARS, SCALARS_WRITE, TABLE_WRITE, record_write_layout
from lepton_hdl.tensor.table import BEATS

from tests.bench.layouts import encode
from tests.bench.pins import Pins
from tests.cocotb_harness import parameters, run_cocotb
from tests.hdl.tensor.commands import SMALL


class Bench:
    """The feeder with a weight memory, an array's shadow weights, a tail's next parameters, and an issue stage.

    The issue stage takes a tile or parameters only when the feeder says they are ready. What the array then sees
    are the columns loaded up to that cycle: the swap comes with the next edge but one, and before loads of that edge.
    """

    def __init__(self, dut, rng):
        self.ports, self.rng, self.config = Pins(dut), rng, SMALL[parameters()["lanes"]]
        self.memory = [rng.getrandbits(8 * self.config.lanes) for _ in range(self.config.weight_words)]
        self.fresh()

    def fresh(self):
        self.answer = 0
        self.shadow, self.record, self.scalars = {}, {}, None
        self.banks, self.bank, self.table = [{}, {}], None, None  # beats in each bank; the bank in use; its address
        self.tiles, self.records = deque(), deque()  # that are due, in order: word addresses; (address, scalars)
        self.in_use = None  # the record that the tail holds, and in how many cycles it lets go
        self.now, self.tile_cycles, self.reads = 0, [], []

    async def start(self):
        await self.ports.start(job__valid=0, tile_take=0, params_take=0, parameters__taken=0)

    async def again(self):
        self.ports.set(rst=1, job__valid=0, tile_take=0, params_take=0, parameters__taken=0)
        await self.ports.tick()
        self.ports.set(rst=0)
        self.fresh()

    def job(self, uniform=False, **fields):
        flag = 1 << SCALARS["uniform"].offset
        return dict(dict(tiles=1, emits=1, load_table=0, table_at=0, kernel_x=1, kernel_y=1, blocks=1,
                         weights=0, params=0, index=7, layer=9,
                         scalars=self.rng.getrandbits(SCALARS.size) & ~flag | flag * uniform), **fields)

    async def cycle(self, job=None, take=1.0, release=lambda: 16):
        """One cycle; True where `job` was accepted. `take`: how likely what is ready is taken."""
        ports, rng, k = self.ports, self.rng, self.config.lanes
        # Ready does not depend on taking, so that the issue stage may decide by it.
        freed = self.in_use is not None and self.in_use[1] == 0
        ports.set(job__valid=job is not None, data=self.answer, parameters__taken=freed, tile_take=0, params_take=0,
                  job__payload=self._encode(job) if job else rng.getrandbits(JOB.size))
        await ports.settle()
        tile_ready, params_ready = ports.get("tile_ready"), ports.get("params_ready")
        accepted = job is not None and bool(ports.get("job__ready"))
        takes_tile = bool(tile_ready) and rng.random() < take
        takes_params = bool(params_ready) and rng.random() < take
        assert not (params_ready and self.in_use), "parameters are ready while the tail holds the ones before"
        await self._half()
        ports.set(tile_take=takes_tile, params_take=takes_params)
        await ports.settle()

        if ports.get("load"):
            self.shadow[ports.get("load_column")] = ports.get("load_data")
        if ports.get("parameters__scalars__valid"):
            assert self.in_use is None, "scalars were overwritten while in use"
            write = SCALARS_WRITE.from_bits(ports.get("parameters__scalars__payload"))
            self.scalars = write.scalars.as_bits()
            self.bank = write.bank
        if ports.get("parameters__table__valid"):
            write = TABLE_WRITE.from_bits(ports.get("parameters__table__payload"))
            assert self.in_use is None or write.bank != self.in_use[2], "a table was overwritten while in use"
            self.banks[write.bank][write.index] = write.beat
        if ports.get("parameters__record__valid"):
            assert self.in_use is None, "parameters were overwritten while in use"
            write = record_write_layout(self.config).from_bits(ports.get("parameters__record__payload"))
            self.record[write.index] = write.word
        if takes_tile:
            address = self.tiles.popleft()
            expected = dict(enumerate(self.memory[address:address + k]))
            assert self.shadow == expected, f"tile at {address}"
            self.tile_cycles.append(self.now)
        if freed:
            self.in_use = None
        elif self.in_use:
            self.in_use[1] -= 1
        if takes_params:
            address, scalars, table_at = self.records.popleft()
            words = UNIFORM_PARAM_WORDS if scalars >> SCALARS["uniform"].offset & 1 else PARAM_WORDS
            assert self.record == dict(enumerate(self.memory[address:address + words])), f"record at {address}"
            self.record.clear()
            assert self.scalars == scalars
            if table_at is not None:
                words = self.memory[table_at:table_at + TABLE_BYTES // k]
                content = b"".join(word.to_bytes(k, "little") for word in words)
                self.table = {i: int.from_bytes(content[4 * i:4 * i + 4], "little") for i in range(BEATS)}
            if self.table is not None:
                assert self.banks[self.bank] == self.table, f"table at {table_at}"
            self.in_use = [address, release(), self.bank]
        if ports.get("read__valid"):
            self.reads.append((self.now, ports.get("read__payload")))
            self.answer = self.memory[self.reads[-1][1]]  # which stays until the next read
        if accepted:
            passes = job["blocks"] * job["kernel_y"] * job["kernel_x"] if job["tiles"] else 0
            self.tiles.extend(job["weights"] + k * p for p in range(passes))
            if job["emits"]:
                table_at = job["table_at"] if job["load_table"] else None
                self.records.append((job["params"], job["scalars"], table_at))
        self.now += 1
        await ports.tick()
        return accepted

    @staticmethod
    def _encode(job):
        bits = encode(JOB, **{name: value for name, value in job.items() if name != "scalars"})
        return bits | job["scalars"] << JOB["scalars"].offset

    async def _half(self):
        """Out of the read-only phase, still before the rising edge."""
        await Timer(1, "ns")

    async def run(self, jobs, take=1.0, offer=1.0, release=lambda: 16, limit=50_000):
        jobs = deque(jobs)
        for _ in range(limit):
            if not jobs and not self.tiles and not self.records and not self.in_use:
                return
            offered = jobs[0] if jobs and self.rng.random() < offer else None
            if await self.cycle(offered, take, release):
                jobs.popleft()
        raise AssertionError(f"{len(jobs)} jobs, {len(self.tiles)} tiles, {len(self.records)} records left")


@cocotb.test(timeout_time=10, timeout_unit="ms")
@cocotb.parametrize(take=[1.0, 0.3, 0.05])
async def random_jobs(dut, take):
    rng = random.Random(random.getrandbits(32))
    bench = Bench(dut, rng)
    await bench.start()
    k, words = bench.config.lanes, bench.config.weight_words
    jobs = []
    for _ in range(60):
        kernel = [rng.randint(1, 3) for _ in range(3)]
        passes = kernel[0] * kernel[1] * kernel[2]
        jobs.append(bench.job(uniform=rng.random() < 0.5, tiles=rng.random() < 0.8, emits=rng.random() < 0.7,
                              kernel_x=kernel[0], kernel_y=kernel[1], blocks=kernel[2],
                              weights=rng.randint(0, words - k * passes),
                              params=rng.randint(0, words - PARAM_WORDS), load_table=rng.random() < 0.3,
                              table_at=rng.randint(0, words - TABLE_BYTES // k)))
    await bench.run(jobs, take, rng.choice([0.3, 1.0]), lambda: rng.randrange(40))


@cocotb.test(timeout_time=1, timeout_unit="ms")
async def the_ends_of_the_memory_fit(dut):
    bench = Bench(dut, random.Random(random.getrandbits(32)))
    await bench.start()
    k, words = bench.config.lanes, bench.config.weight_words
    await bench.run([bench.job(weights=words - 2 * k, blocks=2, params=0),
                     bench.job(weights=0, params=words - PARAM_WORDS),
                     bench.job(load_table=1, table_at=words - TABLE_BYTES // k),
                     bench.job(uniform=True, params=words - UNIFORM_PARAM_WORDS)])


@cocotb.test(timeout_time=1, timeout_unit="ms")
async def a_tile_takes_its_columns_and_no_more(dut):
    """Tiles taken at once come K cycles apart, also across jobs; a record costs its words once."""
    bench = Bench(dut, random.Random(random.getrandbits(32)))
    await bench.start()
    k = bench.config.lanes
    await bench.run([bench.job(blocks=6, emits=0)] * 3)
    gaps = [b - a for a, b in zip(bench.tile_cycles, bench.tile_cycles[1:], strict=False)]
    assert gaps[:5] == [k] * 5 and all(k <= gap <= k + 1 for gap in gaps), gaps
    await bench.again()
    await bench.run([bench.job(blocks=6)])
    gaps = [b - a for a, b in zip(bench.tile_cycles, bench.tile_cycles[1:], strict=False)]
    assert gaps == [k + PARAM_WORDS] + [k] * 4
    read = [address for _, address in bench.reads]
    assert len(read) == 6 * k + PARAM_WORDS and read[:k] == list(range(k)), "the first tile goes first"


@cocotb.test(timeout_time=1, timeout_unit="ms")
async def the_next_job_is_fed_ahead(dut):
    """While nothing is taken one tile is fetched, no more; the next job's first tile follows the last one's last."""
    bench = Bench(dut, random.Random(random.getrandbits(32)))
    await bench.start()
    k = bench.config.lanes
    first, second = bench.job(weights=8, emits=0), bench.job(weights=8 + k, emits=0)
    assert await bench.cycle(first, take=0)
    waited = 0
    while not await bench.cycle(second, take=0):
        waited += 1
        assert waited < 4 * k
    for _ in range(3 * k):
        await bench.cycle(take=0)
    assert [address for _, address in bench.reads] == list(range(8, 8 + k))
    await bench.run([])


@cocotb.test(timeout_time=1, timeout_unit="ms")
async def leaving_the_memory(dut):
    """Tiles before the offending one are served; then the feeder reports its address and reads nothing more."""
    bench = Bench(dut, random.Random(random.getrandbits(32)))
    await bench.start()
    k, words = bench.config.lanes, bench.config.weight_words
    cases = [(dict(weights=words - 2 * k, blocks=3, emits=0), 2, words),
             (dict(weights=words - k + 1, emits=0), 0, None),
             (dict(weights=65535, emits=0), 0, 65535),
             (dict(tiles=0, params=words - PARAM_WORDS + 1), 0, None),
             (dict(tiles=0, params=65535), 0, 65535),
             (dict(tiles=0, load_table=1, table_at=words - TABLE_BYTES // k + 1), 0, words - TABLE_BYTES // k + 1)]
    for fields, served, address in cases:
        await bench.again()
        job = bench.job(index=0xABCD1234, layer=4321, **fields)
        assert await bench.cycle(job)
        for _ in range(4 * k):
            await bench.cycle(bench.job())
        ports = bench.ports
        assert ports.get("out_of_bounds"), fields
        bad = address if address is not None else fields["weights" if "weights" in fields else "params"]
        assert (ports.get("bad_address"), ports.get("bad_index"), ports.get("bad_layer")) == (bad, 0xABCD1234, 4321)
        assert len(bench.tile_cycles) == served and len(bench.reads) == served * k


@pytest.mark.parametrize("lanes", [4, 16])
def test_feeder(lanes):
    run_cocotb(Feeder(SMALL[lanes]), f"feeder{lanes}", __name__, parameters={"lanes": lanes})
