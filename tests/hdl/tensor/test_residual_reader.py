"""The residual reader: words in order whatever the scratchpad refuses, and never more promised than fetched."""

import random
from collections import deque
from itertools import product

import cocotb
from lepton_hdl.tensor.residual import DEPTH, WALK, ResidualReader

from tests.bench.checker import Outputs
from tests.bench.disturbed import DamagedPins
from tests.bench.layouts import encode
from tests.bench.pins import Pins
from tests.bench.stalls import BURSTS, MOST, NONE, STALLS, stall
from tests.cocotb_harness import run_cocotb
from tests.hdl.tensor.commands import SMALL

CONFIG = SMALL[4]
LANES = CONFIG.lanes
# Cycles from the issue of a row to its residual add (tensor/engine.py: issue at 0, residual add at 10).
TAKE_AFTER = 10


Walk = dict[str, int]
"""Address, steps in bytes and counts, as in `WALK`."""


def addresses(walk: Walk) -> list[int]:
    """The byte addresses of a walk, in order."""
    return [(walk["address"] + z * walk["step_z"] + y * walk["step_y"] + x * walk["step_x"]) % (1 << 32)
            for z, y, x in product(range(walk["nz"]), range(walk["ny"]), range(walk["nx"]))]


class Scratchpad:
    """A peer: takes the requests that `ready` lets through and answers in the next cycle; noise otherwise."""

    def __init__(self, pins: Pins) -> None:
        self.pins = pins
        self.words = [random.getrandbits(8 * LANES) for _ in range(CONFIG.scratchpad_words)]
        self._ready = False
        self._answer: int | None = None

    def drive(self, ready: bool) -> None:
        self._ready = ready
        self.pins.set(read__request__ready=ready, read__data=random.getrandbits(8 * LANES)
                      if self._answer is None else self._answer)

    def observe(self) -> int | None:
        """The word address of the request that is taken in this cycle."""
        self._answer = None
        if not (self._ready and self.pins.get("read__request__valid")):
            return None
        address = self.pins.get("read__request__payload")
        self._answer = self.words[address]
        return address


class RequestMonitor:
    """A request that was refused must stay as it is."""

    def __init__(self, pins: Pins) -> None:
        self.pins = pins
        self._held: int | None = None

    def observe(self, ready: bool) -> None:
        valid = self.pins.get("read__request__valid")
        word = self.pins.get("read__request__payload")
        assert self._held is None or (valid and word == self._held), "a refused request must stay"
        self._held = word if valid and not ready else None


class Model:
    """What the reader owes: requests in the order of the walks, and residuals in the order of the requests.

    A residual is `available` from the cycle after its answer until it is claimed, and is taken TAKE_AFTER cycles later.
    """

    def __init__(self) -> None:
        self.due: deque[int] = deque()  # byte addresses of the accepted walks
        self.asked: list[int] = []  # word addresses
        self.claimed = 0
        self.taken = 0
        self._arrived = 0
        self._answered = False  # the last cycle's request comes in this one
        self._claims = deque([False] * TAKE_AFTER)  # on their way to the residual add

    @property
    def available(self) -> bool:
        return self._arrived > self.claimed

    def begin(self, claims: bool) -> bool:
        """Begin a cycle; whether a residual is taken in it."""
        takes = self._claims.pop()
        self._claims.appendleft(claims)
        return takes

    def end(self, claims: bool, takes: bool, asked: int | None) -> None:
        """The clock edge; `asked` is the request that was taken."""
        self.claimed += claims
        self.taken += takes
        self._arrived += self._answered
        self._answered = asked is not None
        if asked is not None:
            wanted = self.due.popleft()
            assert asked * LANES == wanted, f"asks for byte {asked * LANES}, not {wanted}"
            self.asked.append(asked)

    def accept(self, walk: Walk) -> None:
        self.due.extend(addresses(walk))

    @property
    def idle(self) -> bool:
        return not self.due and self.taken == len(self.asked)


class Bench:
    """The reader between a scratchpad that may refuse and an issue stage that claims what is available."""

    def __init__(self, pins: Pins) -> None:
        self.pins = pins
        self.scratchpad = Scratchpad(self.pins)
        self.checker = Outputs(self.pins)
        self._forget()

    def _forget(self) -> None:
        self.model = Model()
        self.requests = RequestMonitor(self.pins)

    async def start(self) -> None:
        await self.pins.start(start__valid=0, read__request__ready=0, claim=0, take=0)

    async def again(self) -> None:
        """Reset, as before the next job."""
        self.pins.set(rst=1, start__valid=0, claim=0, take=0)
        await self.pins.tick()
        self.pins.set(rst=0)
        self._forget()

    async def cycle(self, walk: Walk | None = None, ready: bool = True, claim: bool = True) -> bool:
        """One cycle; whether `walk` was accepted."""
        model = self.model
        claims = claim and model.available
        takes = model.begin(claims)
        payload = encode(WALK, **{n: v % (1 << 32) for n, v in walk.items()}) if walk else 0
        self.pins.set(start__valid=walk is not None, start__payload=payload, claim=claims, take=takes)
        self.scratchpad.drive(ready)
        await self.pins.settle()
        self.checker.check({"available": model.available}, f"{len(model.asked)} asked, {model.claimed} claimed")
        if takes:
            self.checker.check({"word": self.scratchpad.words[model.asked[model.taken]]}, f"residual {model.taken}")
        self.requests.observe(ready)
        if self.pins.get("read__request__valid"):
            assert len(model.asked) - model.taken < DEPTH, "more was asked for than the queue holds"
        model.end(claims, takes, self.scratchpad.observe())
        accepted = walk is not None and bool(self.pins.get("start__ready"))
        if walk is not None and accepted:
            model.accept(walk)
        await self.pins.tick()
        return accepted

    async def run(self, walks: list[Walk], refuse: str = NONE, claim: str = NONE, limit: int = 50_000) -> int:
        """Until every residual is taken; the number of cycles."""
        refuses = stall(refuse)
        waits = stall(claim)
        waiting = deque(walks)
        cycles = 0
        while waiting or not self.model.idle:
            if await self.cycle(waiting[0] if waiting else None, not refuses(), not waits()):
                waiting.popleft()
            cycles += 1
            assert cycles < limit, f"{len(waiting)} walks and {len(self.model.due)} words left"
        return cycles


def random_walk() -> Walk:
    while True:
        walk = dict(address=LANES * random.randrange(CONFIG.scratchpad_words),
                    **{f"step_{a}": LANES * random.randrange(-40, 41) for a in "xyz"},
                    **{f"n{a}": random.randint(1, top) for a, top in (("x", 9), ("y", 4), ("z", 3))})
        if all(a <= CONFIG.scratchpad_bytes - LANES for a in addresses(walk)):
            return walk


@cocotb.test(timeout_time=10, timeout_unit="ms")
@cocotb.parametrize(refuse=STALLS, claim=[NONE, MOST, BURSTS])
async def random_walks(dut, refuse, claim):
    bench = Bench(Pins(dut))
    await bench.start()
    await bench.run([random_walk() for _ in range(15)], refuse, claim)
    assert bench.model.taken > 50


@cocotb.test(timeout_time=1, timeout_unit="ms")
async def a_row_a_cycle(dut):
    """A scratchpad that always answers, and an issue stage that always claims: nothing is lost in between."""
    bench = Bench(Pins(dut))
    await bench.start()
    count = 400
    walk = dict(address=0, step_x=LANES, step_y=LANES * 20, step_z=0, nx=20, ny=20, nz=1)
    assert await bench.run([walk]) <= count + TAKE_AFTER + 6


@cocotb.test(timeout_time=1, timeout_unit="ms")
async def fetches_ahead_until_the_queue_is_full(dut):
    bench = Bench(Pins(dut))
    await bench.start()
    walk = dict(address=0, step_x=LANES, step_y=0, step_z=0, nx=100, ny=1, nz=1)
    assert await bench.cycle(walk, claim=False)
    for _ in range(100):
        await bench.cycle(claim=False)
    assert len(bench.model.asked) == DEPTH
    await bench.run([])
    assert bench.model.taken == 100


@cocotb.test(timeout_time=1, timeout_unit="ms")
async def stops_at_the_bounds(dut):
    """Every word before the offending address is read and can be taken; the error stays up."""
    bench = Bench(Pins(dut))
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
                assert bench.pins.get("out_of_bounds") and bench.pins.get("bad_address") == bad
        assert (len(bench.model.asked), bench.model.taken) == (good, good)
    await bench.again()
    await bench.run([one | dict(address=size - LANES)])
    assert not bench.pins.get("out_of_bounds")


@cocotb.test(timeout_time=1, timeout_unit="ms")
@cocotb.parametrize(port=["available", "word"])
async def a_wrong_bit_is_reported(dut, port):
    """The checker notices a planted error of an output in a single cycle."""
    pins = DamagedPins(dut, port)
    bench = Bench(pins)
    await bench.start()
    with pins.reported(f"{port} is"):
        await bench.run([random_walk() for _ in range(15)])


def test_residual_reader():
    run_cocotb(ResidualReader(CONFIG), "residual_reader", __name__)
