"""The model of the issue stage: the words of a command, and what holds each of them back.

The walks are written from the definitions in `lepton.arch.commands`.
"""

import random
from collections import deque
from dataclasses import dataclass, field
from itertools import product

from lepton.arch import ChipConfig, ErrorCode, Tensor, TensorOpcode
from lepton.arch.commands import WINDOW_COLUMNS, WINDOW_ROWS
from lepton_hdl.control.counters import Activity
from lepton_hdl.tensor import residual_add

Command = dict[str, int]
Fault = tuple[ErrorCode, int]
"""The code and the address that are reported."""

BASIC = dict(opcode=TensorOpcode.DOT, first=1, last=1, kernel_x=1, kernel_y=1, blocks=1, nx=1, ny=1, nz=1,
             in_w=1, in_h=1, out_min=-128, out_max=127)
GATES = ("tile_ready", "params_ready", "residual_available", "drained", "room", "residual__ready")
"""The inputs that hold the stage back, all but `halt`."""
OPEN = dict.fromkeys(GATES, 1)


def complete(**fields: int) -> Command:
    """All fields of a command, `BASIC` where they are not given."""
    return Tensor.unpack(Tensor.pack(**(BASIC | fields)))


@dataclass(frozen=True)
class Word:
    """One input word of a walk. With `skip` a cycle in which the walk passes over a row of padding, without a word."""

    row: int  # accumulator row: of this word, or of the next output where the word does not count
    payload: dict[str, int] = field(default_factory=dict)  # what the word carries, as far as it is defined
    tile: bool = False  # takes a weight tile
    params: bool = False  # takes parameters
    residual: bool = False  # takes a residual
    counts: bool = True
    skip: bool = False


def walk(config: ChipConfig, c: Command) -> tuple[list[Word], Fault | None]:
    """The words of a command up to the first that cannot be issued, and why it cannot."""
    return (_walk_window(config, c), None) if c["opcode"] == TensorOpcode.WINDOW else _walk_image(config, c)


def _walk_image(config: ChipConfig, c: Command) -> tuple[list[Word], Fault | None]:
    words: list[Word] = []
    passes = list(product(range(c["blocks"]), range(c["kernel_y"]), range(c["kernel_x"])))
    image = list(product(range(c["nz"]), range(c["ny"]), range(c["nx"])))
    dot = c["opcode"] == TensorOpcode.DOT
    for p, (block, ky, kx) in enumerate(passes):
        last_pass = p == len(passes) - 1
        for i, (z, y, x) in enumerate(image):
            ix = c["ix0"] + x * c["stride_x"] + kx * c["dilation_x"]
            iy = c["iy0"] + y * c["stride_y"] + ky * c["dilation_y"]
            inside = 0 <= ix < c["in_w"] and 0 <= iy < c["in_h"]
            address = (c["in_addr"] + block * c["in_block"] + ky * c["in_ky"] + kx * c["in_kx"]
                       + z * c["in_z"] + y * c["in_y"] + x * c["in_x"]) % (1 << 32)
            out = (c["out_addr"] + z * c["out_z"] + y * c["out_y"] + x * c["out_x"]) % (1 << 32)
            emit = bool(c["last"] and last_pass)
            row = c["acc"] + i
            if row >= config.accumulator_rows:
                return words, (ErrorCode.ACCUMULATOR_BOUNDS, row)
            if inside and address + config.lanes > config.scratchpad_bytes:
                return words, (ErrorCode.LOCAL_BOUNDS, address)
            if emit and out + config.lanes > config.scratchpad_bytes:
                return words, (ErrorCode.LOCAL_BOUNDS, out)
            tile = dot and i == 0
            fresh = emit and i == 0
            payload = dict(padding=not inside, pad=c["pad"], swap=tile, bypass=not dot, residual=emit and c["add"],
                           maximum=c["opcode"] == TensorOpcode.MAX, start=c["first"] and p == 0, emit=emit,
                           fresh=fresh, final=last_pass and i == len(image) - 1, row=row, counts=1, window=0)
            payload |= ({"address": address} if inside else {}) | ({"out": out // config.lanes} if emit else {})
            words.append(Word(row, _ints(payload), tile, fresh, emit and bool(c["add"])))
    return words, None


def _walk_window(config: ChipConfig, c: Command) -> list[Word]:
    """Each pass walks the image once, from the first window's top row on. Rows of padding that no window needs are
    skipped. An output is due with the last column of its window, or with the next row's if that is outside."""
    words: list[Word] = []
    outputs = list(product(range(c["ny"]), range(c["nx"])))
    for group in range(c["kernel_y"]):
        last_pass = group == c["kernel_y"] - 1
        top = c["iy0"] + group * c["dilation_y"]
        due: dict[tuple[int, int], int] = {}
        for n, (y, x) in enumerate(outputs):
            right = c["ix0"] + x * c["stride_x"] + c["kernel_x"] - 1
            wraps = right >= c["in_w"]
            due[top + y * c["stride_y"] + c["tap_rows"] - 1 + wraps, right - wraps * c["in_w"]] = n
        row = top
        column = 0
        first = True
        for n, target in enumerate(sorted(due)):
            while True:
                accumulator = c["acc"] + n
                if row < 0 and row < target[0] and column == 0:
                    words.append(Word(accumulator, skip=True))
                    row += 1
                    continue
                counts = (row, column) == target
                emit = bool(counts and last_pass and c["last"])
                fresh = emit and n == 0
                inside = 0 <= row < c["in_h"]
                final = counts and last_pass and n == len(outputs) - 1
                payload = dict(padding=not inside, pad=c["pad"], swap=first, bypass=0, maximum=0,
                               start=c["first"] and group == 0, emit=emit, fresh=fresh, final=final, counts=counts,
                               residual=emit and c["add"], window=1, column=column)
                if inside:
                    offset = group * c["in_ky"] + (row - top) * c["in_y"] + column * c["in_x"]
                    payload["address"] = (c["in_addr"] + offset) % (1 << 32)
                if counts:
                    payload |= {"row": accumulator} | _taps(c, top, *outputs[n])
                if emit:
                    y, x = outputs[n]
                    payload["out"] = (c["out_addr"] + y * c["out_y"] + x * c["out_x"]) // config.lanes
                words.append(Word(accumulator, _ints(payload), first, fresh, emit and bool(c["add"]), counts))
                first = False
                column += 1
                if column == c["in_w"]:
                    row += 1
                    column = 0
                if counts:
                    break
    return words


def _taps(c: Command, top: int, y: int, x: int) -> dict[str, int]:
    """The masks of the taps of output (y, x), counted from its window's last row and column."""
    bottom = top + y * c["stride_y"] + c["tap_rows"] - 1
    right = c["ix0"] + x * c["stride_x"] + c["kernel_x"] - 1
    return dict(tap_rows_used=(1 << c["tap_rows"]) - 1, tap_columns_used=(1 << c["kernel_x"]) - 1,
                tap_rows_inside=sum(1 << a for a in range(WINDOW_ROWS) if 0 <= bottom - a < c["in_h"]),
                tap_columns_inside=sum(1 << k for k in range(WINDOW_COLUMNS) if 0 <= right - k < c["in_w"]))


def _ints(values: dict[str, int]) -> dict[str, int]:
    return {name: int(value) for name, value in values.items()}


@dataclass(frozen=True)
class Expected:
    """What the outputs must be in one cycle."""

    word: Word | None  # that is issued
    walk: dict[str, int] | None  # that is offered to the residual reader
    ready: bool  # for a command
    activities: frozenset[Activity]  # one of these


class Model:
    """The commands that the stage has accepted, word by word and cycle by cycle."""

    def __init__(self, config: ChipConfig) -> None:
        self.config = config
        self.words: deque[Word] = deque()
        self._command = complete()
        self._fence = False
        self._last_row: int | None = None  # fetched in the last cycle, not to be fetched in this one
        self._since_residual = residual_add.STAGES  # cycles between the last word with a residual and this one
        self.residual_due = False  # the walk of the residual has yet to be handed over

    def expect(self, gates: dict[str, int], halt: int) -> Expected:
        """The outputs of a cycle with these inputs."""
        word = self.words[0] if self.words else None
        weights = sync = False
        if word is not None:
            weights = bool(word.tile and not gates["tile_ready"]) or bool(word.params and not gates["params_ready"])
            overtakes = (not word.residual and bool(word.payload.get("emit") or word.payload.get("final"))
                         and self._since_residual < residual_add.STAGES)
            sync = (self._fence or word.skip or word.row == self._last_row or overtakes
                    or bool(word.residual and not gates["residual_available"]))
        issued = None if weights or sync or halt else word
        due = word is not None and self.residual_due and not self._fence
        names = ("res_addr", "nx", "ny", "nz", "res_x", "res_y", "res_z")
        ports = ("address", "nx", "ny", "nz", "step_x", "step_y", "step_z")
        offered = {port: self._command[name] % (1 << 32) for port, name in zip(ports, names, strict=True)}
        left = len(self.words) - (issued is not None)
        if issued is not None:
            activities = {Activity.COMPUTE}
        elif word is None:
            activities = {Activity.IDLE}
        else:
            activities = ({Activity.WEIGHTS} if weights or not sync else set()) | (
                {Activity.SYNC} if sync or not weights else set())
        return Expected(issued, offered if due else None, bool(not left and gates["room"] and not halt),
                        frozenset(activities))

    def step(self, gates: dict[str, int], expected: Expected, offered: Command | None) -> bool:
        """Go over the clock edge that ends a cycle; whether the command that was offered is accepted."""
        if expected.word is not None or (self.words and self.words[0].skip):
            self.words.popleft()
        self._since_residual = 0 if expected.word is not None and expected.word.residual else self._since_residual + 1
        self._last_row = expected.word.row if expected.word is not None and expected.word.counts else None
        if expected.walk is not None and gates["residual__ready"]:
            self.residual_due = False
        if gates["drained"]:
            self._fence = False
        if offered is None or not expected.ready:
            return False
        words, fault = walk(self.config, offered)
        assert fault is None, fault
        self.words.extend(words)
        self._command = offered
        self._fence = bool(offered["fence"])
        self.residual_due = bool(offered["add"] and offered["last"])
        return True


def random_command(config: ChipConfig, rng: random.Random) -> Command:
    """A legal command; steps need not fit together, because every one is checked on its own."""
    while True:
        lanes = config.lanes
        small = rng.random() < 0.4
        wide = rng.random() < 0.3  # strides and dilations that leave the image at once, or walk a huge one
        stride = range(256) if wide else range(4)
        command = complete(
            opcode=rng.choice([TensorOpcode.DOT, TensorOpcode.SUM, TensorOpcode.MAX]),
            first=rng.randrange(2), last=rng.random() < 0.7,
            fence=rng.random() < 0.3, add=rng.random() < 0.4, pad=rng.randrange(-128, 128),
            layer=rng.getrandbits(16), kernel_x=rng.randint(1, 3), kernel_y=rng.randint(1, 3),
            blocks=rng.randint(1, 3), nx=1 if small else rng.randint(1, 5), ny=1 if small else rng.randint(1, 4),
            nz=1 if small else rng.randint(1, 3), acc=rng.randrange(config.accumulator_rows),
            in_addr=rng.randrange(-64, config.scratchpad_bytes), in_x=rng.randrange(-20, 21),
            in_y=rng.randrange(-200, 201), in_z=rng.randrange(-300, 301), in_kx=rng.randrange(-20, 21),
            in_ky=rng.randrange(-200, 201), in_block=rng.randrange(-500, 501),
            ix0=rng.choice([-32768, 32767, -1, 0]) if wide else rng.randrange(-3, 3), iy0=rng.randrange(-3, 3),
            in_w=rng.choice([0, 1, 700, 65535]) if wide else rng.randrange(12), in_h=rng.choice([1, 5, 65535]),
            stride_x=rng.choice(stride), stride_y=rng.choice(stride), dilation_x=rng.choice(stride),
            dilation_y=rng.choice(stride), weights=rng.getrandbits(16), params=rng.getrandbits(16),
            out_addr=lanes * rng.randrange(config.scratchpad_words), out_x=lanes * rng.randrange(-2, 3),
            out_y=lanes * rng.randrange(-9, 9), out_z=lanes * rng.randrange(-9, 9),
            res_addr=lanes * rng.randrange(1000), **{f"res_{a}": lanes * rng.randrange(-99, 99) for a in "xyz"})
        if walk(config, command)[1] is None:
            return command


def random_window(config: ChipConfig, rng: random.Random) -> Command:
    """A legal WINDOW command, whose outputs are inside the image."""
    lanes = config.lanes
    while True:
        rows = rng.randint(1, WINDOW_ROWS)
        width = rng.randint(1, WINDOW_COLUMNS)
        if WINDOW_COLUMNS * (rows - 1) + width > lanes:
            continue
        w = rng.randint(max(2, width), 9)
        stride_x = rng.randint(1, 2)
        left = rng.randrange(width)
        nx = rng.randint(1, max(1, (w + left - width) // stride_x + 1))
        ny = rng.randint(1, 4)
        if (nx - 1) * stride_x - left >= w or nx * ny > config.accumulator_rows:
            continue
        return complete(
            opcode=TensorOpcode.WINDOW, tap_rows=rows, kernel_x=width, kernel_y=rng.randint(1, 2), nx=nx, ny=ny,
            in_w=w, in_h=rng.randint(1, 6), ix0=-left, iy0=-rng.randrange(rows + 1), stride_x=stride_x,
            stride_y=rng.randint(1, 2), dilation_y=rows, in_x=lanes, in_y=lanes * w, in_ky=rows * w * lanes,
            in_addr=1024, out_x=lanes, out_y=lanes * nx, first=rng.randrange(2), last=rng.random() < 0.8,
            acc=rng.randint(0, config.accumulator_rows - nx * ny), pad=rng.randrange(-128, 128),
            add=rng.random() < 0.4, fence=rng.random() < 0.3)
