"""The residual reader: words in order whatever the scratchpad refuses, and never more promised than fetched."""

import random
from collections import deque
from itertools import product

import cocotb
from lepton_hdl.tensor.residual import DEPTH, WALK, ResidualReader

from tests.bench.layouts import encode
from tests.bench.pins import Pins
from tests.cocotb_harness import run_cocotb
from tests.hdl.tensor.commands import SMALL

CONFIG = SMALL[4]
LANES = CONFIG.lanes
# Cycles from the issue of a row to its residual add (tensor/engine.py: issue at 0, residual add at 10).
TAKE_AFTER = 10


def addresses(walk):
    return [(walk["address"] + z * walk["step_z"] + y * walk["step_y"] + x * walk["step_x"]) % (1 << 32)
            for z, y, x in product(range(walk["nz"]), range(walk["ny"]), range(walk["nx"]))]


class Bench:
    """The reader between a scratchpad that may refuse and an issue stage that claims what is available."""

    def __init__(self, dut, rng):
        self.ports, self.rng = Pins(dut), rng
        self.memory = [rng.getrandbits(8 * LANES) for _ in range(CONFIG.scratchpad_words)]
        self.fresh()

    def fresh(self):
        self.due = deque()  # byte addresses of the accepted walks, to be requested in this order
        self.asked, self.arrived, self.claimed, self.taken = [], 0, 0, 0
        self.line = deque([False] * TAKE_AFTER)  # claims on their way to the residual add
        self.answer = None
        self.held = None  # a request that was not accepted, which must stay

    async def start(self):
        await self.ports.start(start__valid=0, read__request__ready=0, claim=0, take=0)

    async def again(self):
        self.ports.set(rst=1, start__valid=0, claim=0, take=0)
        await self.ports.tick()
        self.ports.set(rst=0)
        self.fresh()

    async def cycle(self, walk=None, ready=True, claim=True):
        """One cycle; True where `walk` was accepted."""
        ports, rng = self.ports, self.rng
        available = self.arrived > self.claimed  # that of the last edge: `available` is a register's
        claims, takes = claim and available, self.line[-1]
        self.line.pop()
        self.line.appendleft(claims)
        ports.set(start__valid=walk is not None, claim=claims, take=takes, read__request__ready=ready,
                  start__payload=encode(WALK, **{n: v % (1 << 32) for n, v in walk.items()}) if walk else 0,
                  read__data=self.answer if self.answer is not None else rng.getrandbits(8 * LANES))
        await ports.settle()
        assert ports.get("available") == available, f"{self.arrived} arrived, {self.claimed} claimed"
        if takes:
            expected = self.memory[self.asked[self.taken]]
            assert ports.get("word") == expected, f"residual {self.taken}: {ports.get('word'):x}, not {expected:x}"
            self.taken += 1
        self.claimed += claims
        self.arrived += self.answer is not None
        self.answer = None
        valid, word = ports.get("read__request__valid"), ports.get("read__request__payload")
        assert self.held is None or (valid and word == self.held), "a refused request must stay"
        self.held = word if valid and not ready else None
        if valid:
            assert len(self.asked) - self.taken + takes < DEPTH, "more was asked for than the queue holds"
        if valid and ready:
            assert word * LANES == self.due.popleft()
            self.asked.append(word)
            self.answer = self.memory[word]
        accepted = walk is not None and bool(ports.get("start__ready"))
        if accepted:
            self.due.extend(addresses(walk))
        await ports.tick()
        return accepted

    async def run(self, walks, ready=1.0, claim=lambda: True, limit=50_000):
        walks, cycles = deque(walks), 0
        while walks or self.due or self.taken < len(self.asked):
            if await self.cycle(walks[0] if walks else None, self.rng.random() < ready, claim()):
                walks.popleft()
            cycles += 1
            assert cycles < limit, f"{len(walks)} walks and {len(self.due)} words left"
        return cycles


def random_walk(rng):
    while True:
        walk = dict(address=LANES * rng.randrange(CONFIG.scratchpad_words),
                    **{f"step_{a}": LANES * rng.randrange(-40, 41) for a in "xyz"},
                    **{f"n{a}": rng.randint(1, top) for a, top in (("x", 9), ("y", 4), ("z", 3))})
        if all(a <= CONFIG.scratchpad_bytes - LANES for a in addresses(walk)):
            return walk


@cocotb.test(timeout_time=10, timeout_unit="ms")
@cocotb.parametrize(ready=[1.0, 0.5, 0.1], claims=["always", "seldom", "in bursts"])
async def random_walks(dut, ready, claims):
    rng = random.Random(random.getrandbits(32))
    bench = Bench(dut, rng)
    await bench.start()
    burst = [0]

    def claim():
        if claims == "in bursts":
            burst[0] = (burst[0] + 1) % 120
            return burst[0] > 70
        return claims == "always" or rng.random() < 0.2

    await bench.run([random_walk(rng) for _ in range(25)], ready, claim)


@cocotb.test(timeout_time=1, timeout_unit="ms")
async def a_row_a_cycle(dut):
    """A scratchpad that always answers, and an issue stage that always claims: nothing is lost in between."""
    bench = Bench(dut, random.Random(random.getrandbits(32)))
    await bench.start()
    count = 400
    walk = dict(address=0, step_x=LANES, step_y=LANES * 20, step_z=0, nx=20, ny=20, nz=1)
    assert await bench.run([walk]) <= count + TAKE_AFTER + 6


@cocotb.test(timeout_time=1, timeout_unit="ms")
async def fetches_ahead_until_the_queue_is_full(dut):
    bench = Bench(dut, random.Random(random.getrandbits(32)))
    await bench.start()
    walk = dict(address=0, step_x=LANES, step_y=0, step_z=0, nx=100, ny=1, nz=1)
    assert await bench.cycle(walk, claim=False)
    for _ in range(100):
        await bench.cycle(claim=False)
    assert len(bench.asked) == DEPTH
    await bench.run([])
    assert bench.taken == 100


@cocotb.test(timeout_time=1, timeout_unit="ms")
async def stops_at_the_bounds(dut):
    """Every word before the offending address is read and can be taken; the error stays up."""
    bench = Bench(dut, random.Random(random.getrandbits(32)))
    await bench.start()
    size = CONFIG.scratchpad_bytes
    one = dict(step_x=0, step_y=0, step_z=0, nx=1, ny=1, nz=1)
    for walk, good, bad in (
            (one | dict(address=size), 0, size), (one | dict(address=size - 3 * LANES, step_x=LANES, nx=5), 3, size),
            (one | dict(address=LANES, step_y=-LANES, ny=4), 2, (1 << 32) - LANES),
            (one | dict(address=0, step_z=1 << 31, nz=2), 1, 1 << 31)):
        await bench.again()
        assert await bench.cycle(walk)
        for i in range(40):
            assert not await bench.cycle(one | dict(address=0)), "takes nothing more"
            if i > 10:
                assert bench.ports.get("out_of_bounds") and bench.ports.get("bad_address") == bad
        assert (len(bench.asked), bench.taken) == (good, good)
    await bench.again()
    await bench.run([one | dict(address=size - LANES)])
    assert not bench.ports.get("out_of_bounds")


def test_residual_reader():
    run_cocotb(ResidualReader(CONFIG), "residual_reader", __name__)
