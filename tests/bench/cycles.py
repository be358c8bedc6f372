"""A bench for blocks whose ports are driven and compared in every cycle."""

from collections.abc import Iterable, Mapping
from typing import Generic, Protocol, TypeVar

from tests.bench.checker import Outputs
from tests.bench.pins import Pins

Inputs = TypeVar("Inputs")
Given = TypeVar("Given", contravariant=True)


class CycleDriver(Protocol[Given]):
    """Puts inputs on the ports."""

    async def start(self) -> None:
        """Start the clock and reset, with inputs that ask for nothing."""

    def drive(self, inputs: Given, /) -> None:
        """Set the inputs of one cycle."""


class CycleModel(Protocol[Given]):
    """What the block must do."""

    def outputs(self, inputs: Given, /) -> Mapping[str, int]:
        """The outputs in a cycle with these inputs, by port."""

    def step(self, inputs: Given, /) -> None:
        """The rising edge at the end of a cycle with these inputs."""


Model = TypeVar("Model", bound=CycleModel)


class CycleBench(Generic[Inputs, Model]):
    """Driver, model and checker of one run. `seen`: the outputs named by `watched`, as they were in the last cycle."""

    def __init__(self, pins: Pins, driver: CycleDriver[Inputs], model: Model, watched: Iterable[str]) -> None:
        self.pins = pins
        self.driver = driver
        self.model = model
        self.checker = Outputs(pins)
        self.seen: dict[str, int] = {}
        self._watched = tuple(watched)

    async def cycle(self, inputs: Inputs) -> None:
        """Drive the inputs, compare the outputs and go over the rising edge."""
        self.driver.drive(inputs)
        await self.pins.settle()
        self.checker.check(self.model.outputs(inputs), inputs)
        self.seen = {name: self.pins.get(name) for name in self._watched}
        self.model.step(inputs)
        await self.pins.tick()

    async def cycles(self, count: int, inputs: Inputs) -> None:
        """The same inputs for `count` cycles."""
        for _ in range(count):
            await self.cycle(inputs)
