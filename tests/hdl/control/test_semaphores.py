"""The semaphores alone, cycle by cycle: counts, grants in order of the engines, and overflows."""

import random
from dataclasses import dataclass

import cocotb
from lepton.arch import Engine, ErrorCode
from lepton_hdl.control.faults import FAULT
from lepton_hdl.control.semaphores import COUNT_BITS, Semaphores

from tests.bench.checker import Outputs
from tests.bench.disturbed import DamagedPins
from tests.bench.layouts import encode
from tests.bench.pins import Pins
from tests.cocotb_harness import run_cocotb
from tests.hdl.control.expose import Exposed

PORTS = [engine.name.lower() for engine in Engine]
SEMAPHORES = 16
NOBODY = (None,) * len(Engine)
FIRST_INDEX = 100  # of the posting commands: LOAD's; that of the next engine is one more, so that they differ
FIRST_LAYER = 7
LIMIT = (1 << COUNT_BITS) - 1

Masks = tuple[int | None, ...]
"""A mask of semaphores for each engine, or None."""


@dataclass(frozen=True)
class Cycle:
    """What the engines want of the semaphores in one cycle, and what they give."""

    requests: Masks = NOBODY
    posts: Masks = NOBODY


class Driver:
    """Puts a cycle on the ports; what is not valid in it is noise."""

    def __init__(self, pins: Pins) -> None:
        self.pins = pins

    async def start(self) -> None:
        await self.pins.start(**{f"{port}__{name}": 0 for port in PORTS for name in ("request", "post_valid", "wait")})

    def drive(self, cycle: Cycle) -> None:
        """The inputs of one cycle."""
        for engine, port in zip(Engine, PORTS, strict=True):
            wait = cycle.requests[engine]
            post = cycle.posts[engine]
            self.pins.set(**{
                f"{port}__request": wait is not None, f"{port}__wait": wait or 0,
                f"{port}__post_valid": post is not None,
                f"{port}__post": random.getrandbits(SEMAPHORES) if post is None else post,
                f"{port}__post_index": FIRST_INDEX + engine, f"{port}__post_layer": FIRST_LAYER + engine})


class Model:
    """The counts, and what one cycle does to them. `granted` and `overflow` are those of the last cycle."""

    def __init__(self) -> None:
        self.counts = [0] * SEMAPHORES
        self.granted: Engine | None = None
        self.overflow = 0  # mask

    def step(self, cycle: Cycle) -> dict[str, int]:
        """All outputs in this cycle."""
        missing = [sum(1 << i for i in range(SEMAPHORES) if (wait or 0) >> i & 1 and not self.counts[i])
                   for wait in cycle.requests]
        self.granted = next((e for e in Engine if cycle.requests[e] is not None and not missing[e]), None)
        taken = (cycle.requests[self.granted] or 0) if self.granted is not None else 0
        posts = [post or 0 for post in cycle.posts]
        self.overflow = 0
        for i in range(SEMAPHORES):
            total = self.counts[i] - (taken >> i & 1) + sum(post >> i & 1 for post in posts)
            self.overflow |= (total > LIMIT) << i
            self.counts[i] = min(total, LIMIT)
        expected = {"fault__valid": int(self.overflow != 0)}
        for engine, port in zip(Engine, PORTS, strict=True):
            expected[f"{port}__missing"] = missing[engine]
            expected[f"{port}__grant"] = int(engine == self.granted)
        if self.overflow:
            first = next(e for e in Engine if posts[e] & self.overflow)
            expected["fault__payload"] = encode(
                FAULT, code=ErrorCode.SEMAPHORE_OVERFLOW, engine=first, index=FIRST_INDEX + first,
                layer=FIRST_LAYER + first, address=self.overflow)
        return expected


class Bench:
    """Driver, model and checker of one run."""

    def __init__(self, pins: Pins) -> None:
        self.pins = pins
        self.driver = Driver(pins)
        self.model = Model()
        self.checker = Outputs(pins)

    async def cycle(self, cycle: Cycle) -> None:
        self.driver.drive(cycle)
        await self.pins.settle()
        self.checker.check(self.model.step(cycle), cycle)
        await self.pins.tick()


async def open_bench(pins: Pins) -> Bench:
    bench = Bench(pins)
    await bench.driver.start()
    return bench


def random_mask(bits: int) -> int:
    """A mask of about that many semaphores."""
    return sum(1 << i for i in range(SEMAPHORES) if random.random() < bits / SEMAPHORES)


def random_posts(bits: int, share: float) -> Masks:
    return tuple(random_mask(bits) if random.random() < share else None for _ in Engine)


async def random_traffic(bench: Bench, cycles: int) -> list[int]:
    """Each engine asks, and waits until it is granted; the number of grants of each."""
    grants = [0] * len(Engine)
    requests: list[int | None] = [None] * len(Engine)
    for _ in range(cycles):
        for engine in Engine:
            if requests[engine] is None and random.random() < 0.5:
                requests[engine] = random_mask(random.choice([0, 1, 3]))
        await bench.cycle(Cycle(tuple(requests), random_posts(1, 0.4)))
        if (granted := bench.model.granted) is not None:
            grants[granted] += 1
            requests[granted] = None
    return grants


@cocotb.test(timeout_time=200, timeout_unit="us")
async def random_traffic_agrees_with_the_model(dut):
    grants = await random_traffic(await open_bench(Pins(dut)), 8000)
    assert min(grants) > 100, grants  # the last in order gets what the others leave


@cocotb.test(timeout_time=200, timeout_unit="us")
async def overflow_names_the_first_engine_that_posted(dut):
    bench = await open_bench(Pins(dut))
    seen = 0
    for _ in range(1500):
        await bench.cycle(Cycle((random_mask(1), None, random_mask(1), None), random_posts(8, 0.5)))
        seen += bench.model.overflow != 0
    assert seen > 100


@cocotb.test(timeout_time=200, timeout_unit="us")
async def a_full_semaphore_may_be_taken_and_posted_at_once(dut):
    bench = await open_bench(Pins(dut))
    for _ in range(LIMIT):
        await bench.cycle(Cycle(posts=(1, None, None, None)))
    await bench.cycle(Cycle((None, 1, None, None), (None, None, 1, None)))
    assert bench.model.overflow == 0
    await bench.cycle(Cycle((None, None, None, 1), (None, None, None, 1)))
    assert bench.model.overflow == 0
    await bench.cycle(Cycle(posts=(None, None, 1, None)))
    assert bench.model.overflow == 1


@cocotb.test(timeout_time=200, timeout_unit="us")
async def all_engines_post_to_all_semaphores_at_once(dut):
    """With and without one of them being taken: the largest change of a count."""
    bench = await open_bench(Pins(dut))
    everything = (1 << SEMAPHORES) - 1
    for i in range(140):
        await bench.cycle(Cycle((everything if i % 2 else None, *NOBODY[1:]), (everything,) * len(Engine)))
    assert bench.model.overflow == everything


@cocotb.test(timeout_time=200, timeout_unit="us")
@cocotb.parametrize(port=["load__missing", "tensor__grant", "rows__grant", "fault__valid", "fault__payload"])
async def a_wrong_bit_is_reported(dut, port):
    """The checker notices a planted error of an output in a single cycle."""
    pins = DamagedPins(dut, port)
    bench = await open_bench(pins)
    with pins.reported(f"{port} is"):
        for _ in range(1500):
            await bench.cycle(Cycle((random_mask(1), random_mask(1), None, random_mask(1)), random_posts(8, 0.5)))


def test_semaphores():
    run_cocotb(Exposed(Semaphores()), "semaphores", __name__)
