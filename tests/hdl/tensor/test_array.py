"""The dot-product array against numpy's matrix product, with weights that change under way."""

import random
from types import SimpleNamespace

import cocotb
import numpy as np
import pytest
from amaranth.back import rtlil
from lepton_hdl.multipliers import columns_of_tables
from lepton_hdl.tensor.array import DotArray
from lepton_hdl.views import View

from tests.bench.disturbed import DamagedPins
from tests.bench.pins import Pins
from tests.cocotb_harness import parameters, run_cocotb
from tests.hdl.tensor.array_bench import Bench, Cycle, Lanes
from tests.hdl.tensor.commands import SMALL
from tests.hdl.views import InView

CYCLES = 1500
FEW = 96  # multipliers, with which two of four columns are tables


async def open_bench(pins: Pins) -> Bench:
    bench = Bench(pins, parameters()["lanes"], parameters()["taps"])
    await bench.start()
    return bench


@cocotb.test(timeout_time=1, timeout_unit="ms")
async def extremes(dut):
    """Full scale in every lane: K * 2**14 is the largest sum, K * -128 * 127 the smallest."""
    bench = await open_bench(Pins(dut))
    k = bench.lanes
    for weight in (-128, 127):
        await bench.load(np.full((k, k), weight))
        await bench.cycle(Cycle(swap=True))
        for x in (-128, 127, 0, -1, 1):
            await bench.cycle(Cycle(x=np.full(k, x)))
        assert bench.model.dot is not None and bench.model.dot[0] == k * weight
    alternating = np.where(np.arange(k) % 2, 127, -128)
    await bench.load(np.array([np.roll(alternating, n) for n in range(k)]))
    await bench.cycle(Cycle(swap=True))
    await bench.cycle(Cycle(x=alternating))
    await bench.cycle(Cycle(x=-alternating.clip(-127)))


@cocotb.test(timeout_time=1, timeout_unit="ms")
async def every_weight_has_its_place(dut):
    """One weight and one lane at a time: nothing is transposed or shared."""
    bench = await open_bench(Pins(dut))
    k = bench.lanes
    for n in range(k):
        weights = np.zeros((k, k), np.int64)
        weights[n, (3 * n + 1) % k] = 100
        await bench.load(weights)
        await bench.cycle(Cycle(swap=True))
        for lane in range(k):
            await bench.cycle(Cycle(x=np.eye(k, dtype=np.int64)[lane] * -7))
            await bench.expect({f"dot__{n}": -700 if lane == (3 * n + 1) % k else 0}, f"weight {n}, lane {lane}")


@cocotb.test(timeout_time=1, timeout_unit="ms")
async def a_swap_sees_the_shadow_before_a_load_of_the_same_edge(dut):
    bench = await open_bench(Pins(dut))
    k = bench.lanes
    first = np.full((k, k), 3)
    second = np.full((k, k), -5)
    ones = np.ones(k, np.int64)

    async def all_are(value: int) -> None:
        await bench.expect({f"dot__{n}": value for n in range(k)})

    await bench.load(first)
    await bench.cycle(Cycle(swap=True, load=(0, second[0]), x=ones))
    await all_are(0)  # this pixel still meets the old weights
    await bench.cycle(Cycle(x=ones))
    await all_are(3 * k)
    for column in range(1, k):  # the rest of the next tile while pixels go by
        await bench.cycle(Cycle(x=ones, load=(column, second[column])))
    await bench.cycle(Cycle(swap=True))
    await bench.cycle(Cycle(x=ones))
    await all_are(-5 * k)


@cocotb.test(timeout_time=1, timeout_unit="ms")
async def holds_without_enable(dut):
    bench = await open_bench(Pins(dut))
    k = bench.lanes
    await bench.cycle(Cycle(x=np.arange(k) - 2, bypass=True))
    await bench.load(np.full((k, k), 9))
    for _ in range(5):
        await bench.cycle(Cycle(swap=True, bypass=random.random() < 0.5))
        await bench.expect({f"dot__{n}": n - 2 for n in range(k)})


def random_lanes(rng: np.random.Generator, count: int) -> Lanes:
    """A fifth of them at an end of int8."""
    return np.where(rng.random(count) < 0.2, rng.choice([-128, 127], count), rng.integers(-128, 128, count))


async def random_cycles(bench: Bench, count: int) -> None:
    """Pixels, windows, bypassed pixels, loads and swaps in any combination."""
    rng = np.random.default_rng(random.getrandbits(32))
    k = bench.lanes
    for _ in range(count):
        await bench.cycle(Cycle(
            x=random_lanes(rng, k) if rng.random() < 0.8 else None, bypass=rng.random() < 0.2,
            window=[random_lanes(rng, k) for _ in range(bench.taps)] if rng.random() < 0.4 else None,
            load=(int(rng.integers(k)), random_lanes(rng, k)) if rng.random() < 0.6 else None,
            swap=rng.random() < 0.15))


@cocotb.test(timeout_time=5, timeout_unit="ms")
async def random_traffic(dut):
    await random_cycles(await open_bench(Pins(dut)), CYCLES)


@cocotb.test(timeout_time=1, timeout_unit="ms")
@cocotb.parametrize(bit=[0, 5, 17])
async def a_wrong_bit_of_a_result_is_reported(dut, bit):
    """The checker notices a planted error in a single cycle and lane."""
    pins = DamagedPins(dut, f"dot__{parameters()['lanes'] - 1}", read=200, bit=bit)
    bench = await open_bench(pins)
    with pins.reported(r"dot__\d+ is -?\d+, not -?\d+; cycle \d+"):
        await random_cycles(bench, CYCLES)


@pytest.mark.parametrize("lanes, view, multipliers", [
    (4, View.SIMULATION, None), (16, View.SIMULATION, None), (16, View.MULTIPLIERS, None), (4, View.GATES, None),
    (4, View.MULTIPLIERS, FEW)])
def test_array(lanes, view, multipliers):
    array = DotArray(SMALL[lanes])
    run_cocotb(InView(array, view, multipliers), f"array{lanes}_{view.name.lower()}{multipliers or ''}", __name__,
               parameters={"lanes": lanes, "taps": array.taps_count})


def test_products_are_tables_where_multipliers_are_few():
    """4 columns with 4 products and 12 blocks of the tail each, and 40 blocks of ROWS: 104."""
    counts = (104, 103, 100, 99, FEW, 0)
    assert [columns_of_tables(SMALL[4], SimpleNamespace(multipliers=count)) for count in counts] == [0, 1, 1, 2, 2, 4]
    array = DotArray(SMALL[4])
    written = rtlil.convert(InView(array, View.MULTIPLIERS, FEW),
                            ports=[value for _, _, value in array.signature.flatten(array)])
    assert written.count("cell $mul ") == 2 * 4


def test_there_is_one_multiplier_for_each_weight():
    """Pixels and windows share them: a device's multipliers are counted as they are written."""
    array = DotArray(SMALL[4])
    written = rtlil.convert(array, ports=[value for _, _, value in array.signature.flatten(array)])
    assert written.count("cell $mul ") == 4 * 4
