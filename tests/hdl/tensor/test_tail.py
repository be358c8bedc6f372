"""The tail: rows of several commands in it at once, each with its own parameters, scalars and residuals."""

import random
from collections import deque
from dataclasses import dataclass

import cocotb
import pytest
from lepton.arch.commands import PARAM_WORDS, TABLE_BYTES, UNIFORM_PARAM_WORDS, Rounding
from lepton_hdl.tensor import residual_add
from lepton_hdl.tensor.parameters import SCALARS_WRITE, TABLE_WRITE, record_write_layout
from lepton_hdl.tensor.table import BEAT_BYTES, BEATS
from lepton_hdl.tensor.tail import SHORT_STAGES, STAGES, Tail
from lepton_hdl.views import View

from tests.bench.checker import InOrder
from tests.bench.disturbed import DamagedPins
from tests.bench.layouts import encode
from tests.bench.pins import Pins
from tests.bench.pipeline import Stages
from tests.bench.stalls import NONE, STALLS, Stall, stall
from tests.cocotb_harness import run_cocotb
from tests.hdl.tensor.bench import INT_MAX, INT_MIN, pick, random_params, requantized, residual_added
from tests.hdl.tensor.commands import SMALL
from tests.hdl.views import InView

CONFIG = SMALL[4]
LANES = CONFIG.lanes
RECORD_WRITE = record_write_layout(CONFIG)


@dataclass
class Command:
    """Rows that share parameters: `lanes` per lane, `scalars` for all."""

    lanes: list[dict]
    scalars: dict
    rows: list[list[int]]
    residuals: list[list[int]]
    table: list[int]  # in use
    loads: bool = False  # it is new
    bank: int = 0

    def record(self):
        """The parameter record as words: word b holds byte b of every lane."""
        bytes_of = [p["bias"].to_bytes(4, "little", signed=True) + p["multiplier"].to_bytes(4, "little", signed=True)
                    + bytes([p["left"], p["right"]]) for p in self.lanes]
        words = UNIFORM_PARAM_WORDS if self.scalars["uniform"] else PARAM_WORDS
        return [int.from_bytes(bytes(lane[b] for lane in bytes_of), "little") for b in range(words)]

    def expected(self, i):
        word = []
        for n in range(LANES):
            y = requantized(self.rows[i][n], self.scalars["rounding"], self.lanes[n] | self.scalars)
            y = self.table[y + 128] if self.scalars["table"] else y
            word.append(residual_added(y, self.residuals[i][n], self.scalars) if self.scalars["add"] else y)
        return pack(word)


def pack(values):
    return int.from_bytes(bytes(v & 255 for v in values), "little")


def command_stream(counts: list[int], likely: float = 0.3) -> list[Command]:
    """Commands with these numbers of rows. A new table comes with each `likely` of them; later ones may use it."""
    table: list[int] | None = None
    bank = 0
    commands: list[Command] = []
    for rows in counts:
        loads = table is None or random.random() < likely
        if loads:
            table = [random.randint(-128, 127) for _ in range(TABLE_BYTES)]
            bank = 1 - bank
        command = random_command(rows)
        command.table = table
        command.loads = loads
        command.bank = bank
        commands.append(command)
    return commands


def random_command(rows: int) -> Command:
    wild = random.random() < 0.3
    scalars = dict(rounding=random.choice(list(Rounding)), out_zero=pick(random, -128, 127), add=random.random() < 0.5,
                   table=random.random() < 0.5,
                   **{f"add_zero_{n}": pick(random, -128, 127) for n in "abo"})
    for low, high in (("out_min", "out_max"), ("add_min", "add_max")):
        scalars |= {low: pick(random, -128, 127), high: pick(random, -128, 127)} if wild else {low: -128, high: 127}
    for n, shifts in (("a", range(6)), ("b", range(6)), ("o", range(14, 24))):
        scalars[f"add_mult_{n}"] = pick(random, INT_MIN, INT_MAX) if wild else random.randint(1 << 30, INT_MAX)
        scalars[f"add_shift_{n}"] = random.randrange(32) if wild else random.choice(shifts)
    scalars["multiply"] = random.random() < 0.4
    if scalars["multiply"] and scalars["add"]:
        scalars |= dict(add_shift_a=0) if wild else dict(add_shift_a=0, add_shift_o=random.randrange(5, 10))
    lanes = [random_params(random) for _ in range(LANES)]
    scalars["uniform"] = not scalars["add"] and random.random() < 0.5
    if scalars["uniform"]:
        for p in lanes:
            p |= {name: lanes[0][name] for name in ("multiplier", "left", "right")}
            p["bias"] = pick(random, -1 << 23, (1 << 23) - 1)
        scalars |= {"add_mult_a": lanes[0]["multiplier"], "add_shift_a": lanes[0]["left"],
                    "add_shift_b": lanes[0]["right"]}
    return Command(lanes, scalars,
                   [[pick(random, INT_MIN, INT_MAX) for _ in range(LANES)] for _ in range(rows)],
                   [[pick(random, -128, 127) for _ in range(LANES)] for _ in range(rows)], [])


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


@cocotb.test(timeout_time=5, timeout_unit="ms")
@cocotb.parametrize(pause=STALLS)
async def random_commands(dut, pause):
    await run(Pins(dut), command_stream([random.choice([1, 2, 14, 40]) for _ in range(60)]), pause)


@cocotb.test(timeout_time=1, timeout_unit="ms")
@cocotb.parametrize((("add", "stages"), [(False, SHORT_STAGES), (True, STAGES)]))
async def commands_follow_without_a_gap(dut, add, stages):
    """A command as long as its way through the tail and a parameter record hides the parameters of the next."""
    commands = command_stream([stages + PARAM_WORDS + 2] * 8, likely=0)
    for command in commands:
        command.scalars |= dict(add=add, uniform=0)
    distance = await run(Pins(dut), commands)
    assert distance[1:] == [1] * 7


@cocotb.test(timeout_time=1, timeout_unit="ms")
async def rows_without_residual_follow_as_close_as_may_be(dut):
    """The first word of a command without residual is there in the cycle behind the last one with a residual."""
    commands = command_stream([STAGES + PARAM_WORDS + 2] * 8, likely=0)
    for number, command in enumerate(commands):
        command.scalars |= dict(add=number % 2 == 0, uniform=0)
    distance = await run(Pins(dut), commands)
    assert distance[1::2] == [residual_add.STAGES + 1] * 4


@cocotb.test(timeout_time=1, timeout_unit="ms")
async def every_command_with_its_own_table(dut):
    """They change without a gap, too, where commands are long enough to hide it; every entry is looked up."""
    commands = command_stream([max(STAGES + PARAM_WORDS + BEATS + 2, TABLE_BYTES)] * 5, likely=1)
    for command in commands:
        command.scalars |= dict(table=1, add=0, uniform=0, rounding=Rounding.DOUBLE, out_zero=0, out_min=-128,
                                out_max=127)
        for lane in command.lanes:
            lane |= dict(bias=0, multiplier=1 << 30, left=1, right=0)
        order = [random.sample(range(-128, 128), TABLE_BYTES) for _ in range(LANES)]
        command.rows = [list(row) for row in zip(*order, strict=True)]
    distance = await run(Pins(dut), commands)
    assert distance[1:] == [1] * 4


@cocotb.test(timeout_time=1, timeout_unit="ms")
@cocotb.parametrize((("port", "value", "message"), [
    ("out", None, "out: item 20 is"),
    ("out_valid", 0, "too early or too late"), ("out_valid", 1, "too early or too late"),
    ("parameters__taken", 0, "taken before they were complete|out: item"),
    ("residual_take", 1, "out: item|residuals were not taken")]))
async def a_wrong_bit_is_reported(dut, port, value, message):
    """The drivers and the checker notice a planted error of an output in a single cycle."""
    pins = DamagedPins(dut, port, value=value)
    commands = command_stream([14] * 10)
    for command in commands:
        command.scalars |= dict(add=1, uniform=0)
    with pins.reported(message):
        await run(pins, commands)


@pytest.mark.parametrize("view", [View.SIMULATION, View.GATES])
def test_tail(view):
    run_cocotb(InView(Tail(CONFIG), view), f"tail_{view.name.lower()}", __name__)
