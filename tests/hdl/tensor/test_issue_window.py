"""The issue stage's WINDOW walk, word by word: which words count, and what only those may take."""

import random
from dataclasses import dataclass

import cocotb
import pytest
from lepton.arch import TensorOpcode
from lepton.arch.commands import WINDOW_COLUMNS, WINDOW_ROWS
from lepton_hdl.tensor.issue import Issue

from tests.cocotb_harness import run_cocotb
from tests.hdl.tensor.commands import SMALL
from tests.hdl.tensor.issue_bench import GATES, OPEN, Bench, complete

TAKES = ("tile_take", "params_take", "residual_claim")


@dataclass(frozen=True)
class Word:
    """One word of the walk: where it is in the image, whether an output's window is complete with it, and which."""

    row: int
    column: int
    output: int | None
    first: bool  # of its pass, so that it takes the weight tile
    last_pass: bool


def walk(c: dict[str, int]) -> list[Word]:
    """Each pass walks the image once, from the first window's top row on, rows of padding that no window needs left
    out; an output is due with the last column of its window, or with the next row's if that is outside."""
    words: list[Word] = []
    for group in range(c["kernel_y"]):
        due = {}
        for n in range(c["nx"] * c["ny"]):
            y, x = divmod(n, c["nx"])
            bottom = c["iy0"] + group * c["dilation_y"] + y * c["stride_y"] + c["tap_rows"] - 1
            right = c["ix0"] + x * c["stride_x"] + c["kernel_x"] - 1
            over = right >= c["in_w"]
            due[bottom + over, right - over * c["in_w"]] = n
        row, column, first = c["iy0"] + group * c["dilation_y"], 0, True
        while due:
            target = min(due)
            if row < 0 and row < target[0] and column == 0:
                row += 1
                continue
            words.append(Word(row, column, due.pop((row, column), None), first, group == c["kernel_y"] - 1))
            first, column = False, column + 1
            if column == c["in_w"]:
                row, column = row + 1, 0
    return words


def random_window(config, rng: random.Random) -> dict[str, int]:
    """A legal command, whose outputs are inside the image."""
    lanes = config.lanes
    while True:
        rows, width = rng.randint(1, WINDOW_ROWS), rng.randint(1, WINDOW_COLUMNS)
        if WINDOW_COLUMNS * (rows - 1) + width > lanes:
            continue
        w, h = rng.randint(max(2, width), 9), rng.randint(1, 6)
        stride_x, stride_y, left = rng.randint(1, 2), rng.randint(1, 2), rng.randrange(width)
        nx = rng.randint(1, max(1, (w + left - width) // stride_x + 1))
        ny = rng.randint(1, 4)
        if (nx - 1) * stride_x - left >= w or nx * ny > config.accumulator_rows:
            continue
        return complete(
            opcode=TensorOpcode.WINDOW, tap_rows=rows, kernel_x=width, kernel_y=rng.randint(1, 2), nx=nx, ny=ny,
            in_w=w, in_h=h, ix0=-left, iy0=-rng.randrange(rows + 1), stride_x=stride_x, stride_y=stride_y,
            dilation_y=rows, in_x=lanes, in_y=lanes * w, in_ky=rows * w * lanes, in_addr=1024, out_x=lanes,
            out_y=lanes * nx, first=1, last=rng.random() < 0.8, add=rng.random() < 0.4, fence=rng.random() < 0.3)


async def run(bench: Bench, command: dict[str, int], gates, limit: int = 4000) -> None:
    """Issue one command; every word, and everything that is taken, must be the model's. `gates()`: what is ready."""
    ports, words = bench.ports, walk(command)
    lanes, taken = bench.config.lanes, 0
    fence = bool(command["fence"])
    bench.offer(command)
    for _ in range(limit):
        ready = gates()
        ports.set(halt=0, **ready)
        await ports.settle()
        accepted = taken == 0 and ports.get("command__ready")
        got = bench.pixel_layout.from_bits(ports.get("pixel__payload"))
        if ports.get("pixel__valid"):
            word = words.pop(0)
            counts = word.output is not None
            emits = counts and word.last_pass and command["last"]
            fresh = emits and word.output == 0
            assert not fence
            assert (got.counts, got.column, got.window) == (counts, word.column, 1), word
            assert (got.swap, got.emit, got.fresh) == (word.first, emits, fresh), word
            assert got.final == (not words)
            inside = 0 <= word.row < command["in_h"]
            assert got.padding == (not inside)
            if inside:
                assert got.address == 1024 + ((word.row - command["iy0"]) * command["in_w"] + word.column) * lanes
            if counts:
                assert got.row == command["acc"] + word.output
            expected = dict(tile_take=word.first, params_take=fresh, residual_claim=emits and command["add"])
            assert ready["tile_ready"] or not word.first
            assert not fresh or ready["params_ready"], "a row without parameters"
            assert not expected["residual_claim"] or ready["residual_available"], "a row without a residual"
        else:
            expected = dict.fromkeys(TAKES, 0)
        assert {name: ports.get(name) for name in TAKES} == {name: int(v) for name, v in expected.items()}
        fence = fence and not (ready["drained"] and taken)
        await ports.tick()
        if accepted:
            taken = 1
            bench.offer(None)
        if taken and not words:
            return
    raise AssertionError(f"{len(words)} words left after {limit} cycles")


@cocotb.test(timeout_time=10, timeout_unit="ms")
@cocotb.parametrize(share=[1.0, 0.5])
async def random_windows(dut, share):
    bench = Bench(dut)
    await bench.start()
    rng = random.Random(random.getrandbits(32))
    for _ in range(40):
        await bench.again()
        await run(bench, random_window(bench.config, rng), lambda: {name: rng.random() < share for name in GATES})


@cocotb.test(timeout_time=1, timeout_unit="ms")
async def words_that_do_not_count_wait_for_nothing_but_weights(dut):
    """Without parameters and residuals the walk goes on up to the first word that completes a window."""
    bench = Bench(dut)
    await bench.start()
    lanes = bench.config.lanes
    command = complete(opcode=TensorOpcode.WINDOW, tap_rows=1, kernel_x=3, in_w=6, in_h=3, nx=4, ny=3, stride_x=1,
                       stride_y=1, in_x=lanes, in_y=6 * lanes, out_x=lanes, out_y=4 * lanes, add=1)
    for closed, expected in (("params_ready", 2), ("residual_available", 2), ("tile_ready", 0)):
        await bench.again()
        bench.offer(command)
        bench.ports.set(halt=0, **OPEN | {closed: 0})
        await bench.ports.tick()
        bench.offer(None)
        issued = 0
        for _ in range(30):
            await bench.ports.settle()
            issued += bench.ports.get("pixel__valid")
            assert not bench.ports.get("params_take") or closed != "params_ready"
            assert not bench.ports.get("residual_claim")
            await bench.ports.tick()
        assert issued == expected, closed


@pytest.mark.parametrize("lanes", [4, 16])
def test_issue_window(lanes):
    run_cocotb(Issue(SMALL[lanes]), f"issue{lanes}", __name__, parameters={"lanes": lanes})
