"""The tail between its drivers: rows, parameters and residuals come as the engine gives them."""

import random
from collections import deque
from dataclasses import dataclass

from lepton_hdl.tensor import residual_add
from lepton_hdl.tensor.parameters import SCALARS_WRITE, TABLE_WRITE
from lepton_hdl.tensor.table import BEAT_BYTES, BEATS
from lepton_hdl.tensor.tail import SHORT_STAGES, STAGES

from tests.bench.checker import InOrder
from tests.bench.layouts import encode
from tests.bench.pins import Pins
from tests.bench.pipeline import Stages
from tests.bench.stalls import NONE, Stall, stall
from tests.hdl.tensor.tail_commands import LANES, RECORD_WRITE, Command, pack


@dataclass(frozen=True)
class Row:
    """Row `index` of command number `number`."""

    command: Command
    number: int
    index: int

    @property
    def values(self) -> list[int]:
        return self.command.rows[self.index]


class RowDriver:
    """Sends rows as the issue stage lets them go: a command's first one not before its parameters are complete, and
    none without residual so close behind one with a residual that it would leave before it."""

    def __init__(self, pins: Pins, commands: list[Command], pause: Stall) -> None:
        self.pins = pins
        self.stages = Stages[Row](STAGES + 1)  # a row enters at 0, its values are there at 1
        self.distances: list[int] = []  # cycles between a command's first row and the last row before it
        self._rows = deque(Row(c, n, i) for n, c in enumerate(commands) for i in range(len(c.rows)))
        self._pause = pause
        self._since = 0
        self._since_residual = residual_add.STAGES + 1

    @property
    def leaving(self) -> Row | None:
        """The row whose word is there in this cycle."""
        for stage, has_residual in ((SHORT_STAGES + 1, False), (STAGES + 1, True)):
            row = self.stages.at(stage)
            if row is not None and row.command.scalars["add"] == has_residual:
                return row
        return None

    @property
    def busy(self) -> bool:
        return bool(self._rows) or not self.stages.empty

    def drive(self, loaded: int) -> None:
        """The inputs of one cycle; `loaded`: of how many commands the parameters are complete."""
        entering = None
        self._since_residual += 1
        if self._rows and not self._pause() and (self._rows[0].index or loaded > self._rows[0].number) and (
                self._rows[0].command.scalars["add"] or self._since_residual > residual_add.STAGES):
            entering = self._rows.popleft()
            if entering.command.scalars["add"]:
                self._since_residual = 0
        self._since += 1
        if entering is not None:
            if entering.index == 0:
                self.distances.append(self._since)
            self._since = 0
        self.stages.advance(entering)
        now = self.stages.at(1)
        self.pins.set(enter=entering is not None, enter_fresh=entering is not None and entering.index == 0,
                      **{f"value__{n}": now.values[n] if now is not None else random.getrandbits(32)
                         for n in range(LANES)})


class ParameterDriver:
    """Writes tables, records and scalars as the feeder does: as early as `taken` allows."""

    def __init__(self, pins: Pins, commands: list[Command], pause: Stall) -> None:
        self.pins = pins
        self.loaded = 0  # commands whose parameters are complete
        self._commands = deque(commands)
        self._pause = pause
        self._beat = 0  # next beat of the table
        self._word = 0  # next word of the record
        self._free = True  # the next parameters may be written
        self._fed = False  # in this cycle

    def drive(self) -> None:
        """The inputs of one cycle."""
        command = self._commands[0] if self._commands and self._free and not self._pause() else None
        fills = command is not None and command.loads and self._beat < BEATS
        self._fed = command is not None and not fills
        starts = self._fed and self._word == 0
        table = random.getrandbits(TABLE_WRITE.size)
        record = random.getrandbits(RECORD_WRITE.size)
        scalars = random.getrandbits(SCALARS_WRITE.size)
        if command is not None and fills:
            entries = command.table[BEAT_BYTES * self._beat:BEAT_BYTES * (self._beat + 1)]
            table = encode(TABLE_WRITE, bank=command.bank, index=self._beat, beat=pack(entries))
            self._beat += 1
        elif command is not None:
            record = encode(RECORD_WRITE, index=self._word, word=command.record()[self._word])
        if command is not None and starts:
            scalars = encode(SCALARS_WRITE, scalars=command.scalars, bank=command.bank)
        self.pins.set(parameters__table__valid=fills, parameters__table__payload=table,
                      parameters__record__valid=self._fed, parameters__record__payload=record,
                      parameters__scalars__valid=starts, parameters__scalars__payload=scalars)

    def observe(self) -> None:
        """Look at what the tail takes in this cycle."""
        if self._fed:
            self._word += 1
            if self._word == len(self._commands[0].record()):
                self._commands.popleft()
                self._beat = 0
                self._word = 0
                self.loaded += 1
                self._free = False
        if self.pins.get("parameters__taken"):
            assert not self._free, "taken before they were complete"
            self._free = True


class ResidualDriver:
    """Shows the next residual until it is taken; noise when there is none."""

    def __init__(self, pins: Pins, commands: list[Command]) -> None:
        self.pins = pins
        self.left = deque(r for c in commands if c.scalars["add"] for r in c.residuals)

    def drive(self) -> None:
        self.pins.set(residual=pack(self.left[0]) if self.left else random.getrandbits(8 * LANES))

    def observe(self) -> None:
        if self.pins.get("residual_take"):
            self.left.popleft()


async def run(pins: Pins, commands: list[Command], pause: str = NONE) -> list[int]:
    """All rows come out right, each SHORT_STAGES or STAGES cycles after it went in.

    Returns the cycles between a command's first row and the last row before it.
    """
    await pins.start(enter=0, parameters__record__valid=0, parameters__scalars__valid=0, parameters__table__valid=0)
    rows = RowDriver(pins, commands, stall(pause))
    parameters = ParameterDriver(pins, commands, stall(pause))
    residuals = ResidualDriver(pins, commands)
    checker = InOrder("out", [command.expected(i) for command in commands for i in range(len(command.rows))])
    while rows.busy:
        rows.drive(parameters.loaded)
        parameters.drive()
        residuals.drive()
        await pins.settle()
        assert pins.get("out_valid") == (rows.leaving is not None), "a row comes too early or too late"
        if pins.get("out_valid"):
            checker.receive(pins.get("out"))
        parameters.observe()
        residuals.observe()
        await pins.tick()
    checker.finish()
    assert not residuals.left, f"{len(residuals.left)} residuals were not taken"
    return rows.distances
