"""The bench of the issue stage: a driver of its gates and commands, a monitor of its outputs, a checker."""

from collections.abc import Callable
from dataclasses import dataclass

from cocotb.handle import HierarchyObject
from lepton.arch import ChipConfig, Tensor
from lepton_hdl.control.counters import Activity
from lepton_hdl.interfaces import command_layout
from lepton_hdl.tensor.issue import pixel_layout
from lepton_hdl.tensor.residual import WALK

from tests.bench.layouts import decode
from tests.bench.pins import Pins
from tests.cocotb_harness import parameters
from tests.hdl.tensor.commands import SMALL
from tests.hdl.tensor.issue_model import GATES, Command, Expected, Model

COMMAND_BITS = 8 * Tensor.size
assert command_layout(Tensor).size == COMMAND_BITS + 32  # the command's index follows it


def config() -> ChipConfig:
    """The chip of this run, as the pytest function says."""
    small = SMALL[parameters()["lanes"]]
    return small.with_(accumulator_rows=parameters().get("rows", small.accumulator_rows))


class Driver:
    """Sets the gates and offers commands. `offered` is the index that the next command gets."""

    def __init__(self, pins: Pins) -> None:
        self.pins = pins
        self.offered = 0

    async def start(self) -> None:
        await self.pins.start(command__valid=0, halt=0, **dict.fromkeys(GATES, 0))

    def offer(self, command: Command | None) -> None:
        self.pins.set(command__valid=command is not None)
        if command is not None:
            record = int.from_bytes(Tensor.pack(**command), "little")
            self.pins.set(command__payload=record | self.offered << COMMAND_BITS)

    def drive(self, gates: dict[str, int], halt: int, command: Command | None) -> None:
        """The inputs of one cycle."""
        self.pins.set(halt=halt, **gates)
        self.offer(command)


@dataclass(frozen=True)
class Observed:
    """The outputs of one cycle."""

    payload: dict[str, int] | None  # of the word that is issued
    tile_take: int
    params_take: int
    residual_claim: int
    walk: dict[str, int] | None  # that is offered to the residual reader
    ready: int
    activity: Activity
    failed: int


class Monitor:
    """Reads all outputs, once a cycle."""

    def __init__(self, pins: Pins, chip: ChipConfig) -> None:
        self.pins = pins
        self._layout = pixel_layout(chip)

    def sample(self) -> Observed:
        get = self.pins.get
        payload = decode(self._layout, get("pixel__payload")) if get("pixel__valid") else None
        walk = decode(WALK, get("residual__payload")) if get("residual__valid") else None
        return Observed(payload, get("tile_take"), get("params_take"), get("residual_claim"), walk,
                        get("command__ready"), Activity(get("activity")), get("failed"))


def check(expected: Expected, observed: Observed) -> None:
    """Every output is what the model says."""
    word = expected.word
    assert observed.payload is None or word is not None, "issued what must wait"
    assert observed.payload is not None or word is None, f"waits for nothing: {word}"
    takes = (observed.tile_take, observed.params_take, observed.residual_claim)
    due = (word.tile, word.params, word.residual) if word is not None else (0, 0, 0)
    assert takes == due, f"takes {takes} (tile, parameters, residual), not {due}"
    if word is not None and observed.payload is not None:
        got = {name: int(observed.payload[name]) for name in word.payload}
        assert got == word.payload, f"the word is {got}, not {word.payload}"
    assert observed.walk == expected.walk, f"the residual's walk is {observed.walk}, not {expected.walk}"
    assert observed.ready == expected.ready, f"ready for a command is {observed.ready}"
    assert observed.activity in expected.activities, f"{observed.activity}, not one of {set(expected.activities)}"
    assert not observed.failed, "failed"


class Bench:
    """Driver, monitor, model and checker of one run."""

    def __init__(self, dut: HierarchyObject) -> None:
        self.config = config()
        self.pins = Pins(dut)
        self.driver = Driver(self.pins)
        self.monitor = Monitor(self.pins, self.config)
        self._forget()

    def _forget(self) -> None:
        self.model = Model(self.config)
        self.driver.offered = 0
        self.issued = 0
        self.activities: list[Activity] = []

    async def start(self) -> None:
        await self.driver.start()

    async def again(self) -> None:
        """Reset, as before the next job."""
        self.pins.set(rst=1, command__valid=0)
        await self.pins.tick()
        self.pins.set(rst=0)
        self._forget()

    async def cycle(self, offer: Command | None = None, halt: int = 0, **gates: int) -> bool:
        """One cycle with these gates and this command at the port; whether it was accepted."""
        if self.model.residual_due:  # no residual is there before its walk was asked for
            gates["residual_available"] = 0
        self.driver.drive(gates, halt, offer)
        await self.pins.settle()
        expected = self.model.expect(gates, halt)
        observed = self.monitor.sample()
        check(expected, observed)
        self.activities.append(observed.activity)
        self.issued += expected.word is not None
        accepted = self.model.step(gates, expected, offer)
        self.driver.offered += accepted
        await self.pins.tick()
        return accepted

    async def run(self, commands: list[Command], gates: Callable[[], dict[str, int]],
                  offers: Callable[[], bool] = lambda: True, limit: int = 100_000) -> None:
        """Executes the commands with what `gates()` says in each cycle."""
        todo = list(commands)
        for _ in range(limit):
            if not todo and not self.model.words:
                return
            if await self.cycle(todo[0] if todo and offers() else None, **gates()):
                todo.pop(0)
        raise AssertionError(f"{len(todo)} commands and {len(self.model.words)} words left after {limit} cycles")
