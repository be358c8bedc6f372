"""The tail: rows of several commands in it at once, each with its own parameters, scalars and residuals."""

import random
from collections import deque
from dataclasses import dataclass

import cocotb
from lepton.arch.commands import PARAM_WORDS, TABLE_BYTES, UNIFORM_PARAM_WORDS, Rounding
from lepton_hdl.tensor.parameters import SCALARS_WRITE, TABLE_WRITE, record_write_layout
from lepton_hdl.tensor.table import BEAT_BYTES, BEATS
from lepton_hdl.tensor.tail import STAGES, Tail

from tests.bench.layouts import encode
from tests.bench.pins import Pins
from tests.cocotb_harness import run_cocotb
from tests.hdl.tensor.bench import INT_MAX, INT_MIN, pick, random_params, requantized, residual_added
from tests.hdl.tensor.commands import SMALL

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


def command_stream(rng, counts, likely=0.3):
    """Commands of so many rows; every now and then one brings a table, which those after it use, too, or leave."""
    table, bank, commands = None, 0, []
    for rows in counts:
        loads = table is None or rng.random() < likely
        if loads:
            table, bank = [rng.randint(-128, 127) for _ in range(TABLE_BYTES)], 1 - bank
        command = random_command(rng, rows)
        command.table, command.loads, command.bank = table, loads, bank
        commands.append(command)
    return commands


def random_command(rng, rows):
    wild = rng.random() < 0.3
    scalars = dict(rounding=rng.choice(list(Rounding)), out_zero=pick(rng, -128, 127), add=rng.random() < 0.5,
                   table=rng.random() < 0.5,
                   **{f"add_zero_{n}": pick(rng, -128, 127) for n in "abo"})
    for low, high in (("out_min", "out_max"), ("add_min", "add_max")):
        scalars |= {low: pick(rng, -128, 127), high: pick(rng, -128, 127)} if wild else {low: -128, high: 127}
    for n, shifts in (("a", range(6)), ("b", range(6)), ("o", range(14, 24))):
        scalars[f"add_mult_{n}"] = pick(rng, INT_MIN, INT_MAX) if wild else rng.randint(1 << 30, INT_MAX)
        scalars[f"add_shift_{n}"] = rng.randrange(32) if wild else rng.choice(shifts)
    lanes = [random_params(rng) for _ in range(LANES)]
    scalars["uniform"] = not scalars["add"] and rng.random() < 0.5
    if scalars["uniform"]:
        for p in lanes:
            p |= {name: lanes[0][name] for name in ("multiplier", "left", "right")}
            p["bias"] = pick(rng, -1 << 23, (1 << 23) - 1)
        scalars |= {"add_mult_a": lanes[0]["multiplier"], "add_shift_a": lanes[0]["left"],
                    "add_shift_b": lanes[0]["right"]}
    return Command(lanes, scalars,
                   [[pick(rng, INT_MIN, INT_MAX) for _ in range(LANES)] for _ in range(rows)],
                   [[pick(rng, -128, 127) for _ in range(LANES)] for _ in range(rows)], [])


async def run(dut, commands, rng, gaps=0.0):
    """Rows as the accumulators send them, parameters as the feeder does: as early as `taken` allows.

    Returns the cycles between a command's first row and the last row before it.
    """
    ports = Pins(dut)
    await ports.start(enter=0, parameters__record__valid=0, parameters__scalars__valid=0,
                      parameters__table__valid=0)
    todo = deque((c, i) for c in commands for i in range(len(c.rows)))
    residuals = deque(r for c in commands if c.scalars["add"] for r in c.residuals)
    line = deque([None] * (STAGES + 2))  # line[0] enters, line[1] is at `value`, line[-1] leaves
    feeding = deque(commands)
    beat, word, loaded = 0, 0, 0  # next beat of the table; next word of the record; commands loaded
    free = True  # the next parameters may be written
    distance, since = [], 0
    first_of = {id(c): i for i, c in enumerate(commands)}
    while todo or any(line):
        entering = None
        if todo and rng.random() >= gaps:
            owner, i = todo[0]
            if i or loaded > first_of[id(owner)]:
                entering = todo.popleft()
        since += 1
        if entering:
            if entering[1] == 0:
                distance.append(since)
            since = 0
        line.appendleft(entering)
        line.pop()

        fill = bool(feeding) and free and feeding[0].loads and beat < BEATS and rng.random() >= gaps
        feed = bool(feeding) and free and (beat == BEATS or not feeding[0].loads) and rng.random() >= gaps
        entries = feeding[0].table[BEAT_BYTES * beat:BEAT_BYTES * (beat + 1)] if fill else None
        first = feed and word == 0
        ports.set(
            parameters__table__valid=fill,
            parameters__table__payload=encode(TABLE_WRITE, bank=feeding[0].bank, index=beat, beat=pack(entries))
            if fill else rng.getrandbits(TABLE_WRITE.size),
            parameters__record__valid=feed,
            parameters__record__payload=encode(RECORD_WRITE, index=word, word=feeding[0].record()[word])
            if feed else rng.getrandbits(RECORD_WRITE.size),
            parameters__scalars__valid=first,
            parameters__scalars__payload=encode(
                SCALARS_WRITE, scalars=feeding[0].scalars, bank=feeding[0].bank)
            if first else rng.getrandbits(SCALARS_WRITE.size))
        beat += fill
        ports.set(
            enter=entering is not None, enter_fresh=entering is not None and entering[1] == 0,
            residual=pack(residuals[0]) if residuals else rng.getrandbits(8 * LANES),
            **{f"value__{n}": line[1][0].rows[line[1][1]][n] if line[1] else rng.getrandbits(32)
               for n in range(LANES)})
        await ports.settle()
        assert ports.get("out_valid") == (line[-1] is not None)
        if line[-1]:
            owner, i = line[-1]
            assert ports.get("out") == owner.expected(i), f"row {i} of command {first_of[id(owner)]}: {owner}"
        if ports.get("residual_take"):
            residuals.popleft()
        if feed:
            word += 1
            if word == len(feeding[0].record()):
                feeding.popleft()
                beat, word, loaded, free = 0, 0, loaded + 1, False
        if ports.get("parameters__taken"):
            assert not free, "taken before they were complete"
            free = True
        await ports.tick()
    assert not residuals, f"{len(residuals)} residuals were not taken"
    return distance


@cocotb.test(timeout_time=5, timeout_unit="ms")
@cocotb.parametrize(gaps=[0.0, 0.3])
async def random_commands(dut, gaps):
    rng = random.Random(40 + int(10 * gaps))
    await run(dut, command_stream(rng, [rng.choice([1, 2, 14, 40]) for _ in range(120)]), rng, gaps)


@cocotb.test(timeout_time=1, timeout_unit="ms")
async def commands_follow_without_a_gap(dut):
    """A command as long as the tail and a parameter record hides the parameters of the next."""
    rng = random.Random(42)
    distance = await run(dut, command_stream(rng, [STAGES + PARAM_WORDS + 2] * 8, likely=0), rng)
    assert distance[1:] == [1] * 7


@cocotb.test(timeout_time=1, timeout_unit="ms")
async def every_command_with_its_own_table(dut):
    """They change without a gap, too, where commands are long enough to hide it; every entry is looked up."""
    rng = random.Random(43)
    commands = command_stream(rng, [max(STAGES + PARAM_WORDS + BEATS + 2, TABLE_BYTES)] * 5, likely=1)
    for command in commands:
        command.scalars |= dict(table=1, add=0, uniform=0, rounding=Rounding.DOUBLE, out_zero=0, out_min=-128,
                                out_max=127)
        for lane in command.lanes:
            lane |= dict(bias=0, multiplier=1 << 30, left=1, right=0)
        order = [rng.sample(range(-128, 128), TABLE_BYTES) for _ in range(LANES)]
        command.rows = [list(row) for row in zip(*order, strict=True)]
    distance = await run(dut, commands, rng)
    assert distance[1:] == [1] * 4


def test_tail():
    run_cocotb(Tail(CONFIG), "tail", __name__)
