"""The bench of the dot-product array: a driver, a model and a checker of every cycle."""

import random
from collections import deque
from dataclasses import dataclass

import numpy as np
from lepton_hdl.tensor.array import STAGES
from numpy.typing import NDArray

from tests.bench.pins import Pins
from tests.bench.signed_outputs import SignedOutputs

Lanes = NDArray[np.int64]
"""int8 values, one a lane."""


@dataclass(frozen=True)
class Cycle:
    """What happens in one cycle."""

    x: Lanes | None = None  # [K], the pixel that is there
    bypass: bool = False
    window: list[Lanes] | None = None  # [taps][N]: its taps count instead of x
    load: tuple[int, Lanes] | None = None  # column [K] of the shadow weights
    swap: bool = False


def word(lanes: Lanes) -> int:
    """The bits of a word with these int8 lanes."""
    return int.from_bytes(lanes.astype(np.int8).tobytes(), "little")


class Driver:
    """Puts a cycle on the ports; inputs that do not count in it are noise."""

    def __init__(self, pins: Pins, lanes: int, taps: int) -> None:
        self.pins = pins
        self.lanes = lanes
        self.taps = taps

    async def start(self) -> None:
        await self.pins.start(enable=0, bypass=0, window=0, load=0, swap=0)

    def drive(self, cycle: Cycle) -> None:
        """The inputs of one cycle."""
        column, data = cycle.load or (random.randrange(self.lanes), self._noise())
        x = self._noise() if cycle.x is None else cycle.x
        taps = cycle.window or [self._noise() for _ in range(self.taps)]
        self.pins.set(enable=cycle.x is not None, bypass=cycle.bypass, window=cycle.window is not None,
                      load=cycle.load is not None, load_column=column, load_data=word(data), swap=cycle.swap,
                      **{f"x__{lane}": value for lane, value in enumerate(x)},
                      **{f"taps__{i}": word(tap) for i, tap in enumerate(taps)})

    def _noise(self) -> Lanes:
        return np.array([random.randrange(-128, 128) for _ in range(self.lanes)])


class Model:
    """Shadow and active weights [N][K], and the registered result [N]; all unknown before they are written."""

    def __init__(self, lanes: int) -> None:
        self.shadow = np.zeros((lanes, lanes), np.int64)
        self.active = self.shadow.copy()
        self.dot: Lanes | None = None

    def step(self, cycle: Cycle) -> Lanes | None:
        """The result, which is there STAGES edges after the cycle began."""
        if cycle.x is not None:
            self.dot = self._result(cycle, cycle.x)
        if cycle.swap:
            self.active = self.shadow.copy()  # what was loaded up to the last edge
        if cycle.load is not None:
            column, data = cycle.load
            self.shadow[column] = data
        return self.dot

    def _result(self, cycle: Cycle, x: Lanes) -> Lanes:
        if cycle.bypass:
            return x.copy()
        if cycle.window is not None:
            taps = np.array(cycle.window).T  # [N][taps]
            return (self.active[:, :taps.shape[1]] * taps).sum(axis=1)
        return self.active @ x


class Bench:
    """Driver, model and checker of one run; `lanes` x `lanes` multipliers."""

    def __init__(self, pins: Pins, lanes: int, taps: int) -> None:
        self.pins = pins
        self.lanes = lanes
        self.taps = taps
        self.driver = Driver(pins, lanes, taps)
        self.model = Model(lanes)
        self.checker = SignedOutputs(pins)
        self._now = 0
        self._expected: deque[Lanes | None] = deque([None] * (STAGES - 1))  # results of the cycles on their way

    async def start(self) -> None:
        """Reset, then weights of 0: the array's weights have no reset."""
        await self.driver.start()
        zeros = np.zeros(self.lanes, np.int64)
        await self.load(np.zeros((self.lanes, self.lanes), np.int64))
        await self.cycle(Cycle(swap=True))
        await self.cycle(Cycle(x=zeros))

    async def cycle(self, cycle: Cycle) -> None:
        """One cycle; results are checked behind every edge, those that must not change included."""
        self.driver.drive(cycle)
        self._expected.append(self.model.step(cycle))
        expected = self._expected.popleft()
        await self.pins.tick()
        if expected is not None:
            self.checker.check({f"dot__{n}": int(value) for n, value in enumerate(expected)}, f"cycle {self._now}")
        self._now += 1

    async def expect(self, results: dict[str, int], where: object = "") -> None:
        """Idle cycles until the last pixel's results are there, which must be these."""
        for _ in range(STAGES - 1):
            await self.cycle(Cycle())
        self.checker.check(results, where)

    async def load(self, weights: Lanes) -> None:
        """All columns of the shadow weights, in order."""
        for column, data in enumerate(weights):
            await self.cycle(Cycle(load=(column, data)))
