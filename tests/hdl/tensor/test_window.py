"""The window unit alone: every tap of every window of random images, with pauses between pixels."""

import random
from dataclasses import dataclass

import cocotb
import pytest
from lepton.arch import ChipConfig
from lepton.arch.commands import WINDOW_COLUMNS, WINDOW_ROWS
from lepton_hdl.tensor.window import WindowUnit, tap_lanes

from tests.bench.checker import Outputs
from tests.bench.disturbed import DamagedPins
from tests.bench.pins import Pins
from tests.bench.stalls import NONE, STALLS, Stall, stall
from tests.cocotb_harness import parameters, run_cocotb
from tests.hdl.tensor.commands import SMALL

INPUTS = ("look", "push", "take", "rows_used", "rows_inside", "columns_used", "columns_inside", "word", "column", "pad",
          "look_column")
ROWS = 7


@dataclass(frozen=True)
class Pixel:
    """A word of the image, and how its window is looked at if `take`."""

    row: int
    column: int
    word: bytes
    take: bool
    rows_used: int  # masks, counted from the window's last row and column
    rows_inside: int
    columns_used: int
    columns_inside: int
    pad: int


def random_image(lanes: int, width: int) -> list[Pixel]:
    """The pixels in the order in which they come. Windows are taken where all of their pixels have come."""
    pixels: list[Pixel] = []
    for row in range(ROWS):
        for column in range(width):
            complete = row >= WINDOW_ROWS - 1 and len(pixels) >= WINDOW_COLUMNS - 1 + 2 * width
            pixels.append(Pixel(row, column, random.randbytes(lanes), complete and random.random() < 0.8,
                                random.getrandbits(WINDOW_ROWS), random.getrandbits(WINDOW_ROWS),
                                random.getrandbits(WINDOW_COLUMNS), random.getrandbits(WINDOW_COLUMNS),
                                random.randrange(256)))
    return pixels


class Driver:
    """Looks a column up, pushes its pixel in the next cycle, and pauses between two pixels."""

    def __init__(self, pins: Pins, pause: Stall) -> None:
        self.pins = pins
        self._pause = pause

    async def push(self, pixel: Pixel) -> None:
        """Over the edge behind which the taps of the pixel's window are seen."""
        while self._pause():
            await self.pins.tick()
        self.pins.set(look=1, look_column=pixel.column)
        await self.pins.tick()
        masks = ("rows_used", "rows_inside", "columns_used", "columns_inside", "pad", "column", "take")
        self.pins.set(look=0, push=1, word=int.from_bytes(pixel.word, "little"),
                      **{name: getattr(pixel, name) for name in masks})
        await self.pins.tick()
        self.pins.set(push=0, take=0)


def taps(config: ChipConfig, pixels: list[Pixel], at: int, width: int) -> dict[str, int]:
    """The model: tap (a, k) is the pixel a rows up and k columns to the left; 0 where unused, `pad` where outside.

    Rows follow one another without a gap, so the column to the left of column 0 is the last of the row before.
    """
    pixel = pixels[at]
    expected: dict[str, int] = {}
    for lane, (a, k) in enumerate(tap_lanes(config)):
        used = pixel.rows_used >> a & pixel.columns_used >> k & 1
        inside = pixel.rows_inside >> a & pixel.columns_inside >> k & 1
        left = pixels[at - k]
        source = pixels[(left.row - a) * width + left.column]
        word = source.word if inside else bytes([pixel.pad]) * config.lanes
        expected[f"taps__{lane}"] = int.from_bytes(word, "little") if used else 0
    return expected


async def run(pins: Pins, width: int, pause: str) -> None:
    """Every window of a random image."""
    config = SMALL[parameters()["lanes"]]
    driver = Driver(pins, stall(pause))
    checker = Outputs(pins)
    await pins.start(**dict.fromkeys(INPUTS, 0))
    pixels = random_image(config.lanes, width)
    for at, pixel in enumerate(pixels):
        await driver.push(pixel)
        if pixel.take:
            checker.check(taps(config, pixels, at, width), f"row {pixel.row}, column {pixel.column}")
    assert checker.compared


@cocotb.test(timeout_time=2, timeout_unit="ms")
@cocotb.parametrize(width=[2, 3, 9], pause=STALLS)
async def windows_of_an_image(dut, width, pause):
    await run(Pins(dut), width, pause)


@cocotb.test(timeout_time=1, timeout_unit="ms")
@cocotb.parametrize(tap=[0, 3])
async def a_wrong_bit_is_reported(dut, tap):
    """The checker notices a planted error of a tap in a single window."""
    pins = DamagedPins(dut, f"taps__{tap}", read=5)
    with pins.reported(f"taps__{tap} is"):
        await run(pins, 9, NONE)


@pytest.mark.parametrize("lanes", [4, 16])
def test_window(lanes):
    run_cocotb(WindowUnit(SMALL[lanes]), f"window{lanes}", __name__, parameters={"lanes": lanes})
