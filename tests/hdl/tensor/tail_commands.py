"""Random commands for the tail: rows, parameters, tables and residuals."""

import random
from dataclasses import dataclass

from lepton.arch.commands import PARAM_WORDS, TABLE_BYTES, UNIFORM_PARAM_WORDS, Rounding
from lepton_hdl.tensor.parameters import record_write_layout

from tests.cocotb_harness import parameters
from tests.hdl.tensor.bench import INT_MAX, INT_MIN, pick, random_params, requantized, residual_added


@dataclass(frozen=True)
class Width:
    """What the tail knows of the chip's configuration: as many columns as lanes."""

    lanes: int

    @property
    def columns(self) -> int:
        return self.lanes


LANES = parameters().get("lanes", 4)
RECORD_WRITE = record_write_layout(Width(LANES))


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
