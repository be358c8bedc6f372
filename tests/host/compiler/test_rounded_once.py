"""Fully connected layers round once: the parameters that make the chip's two roundings do the same."""

import numpy as np
import pytest
from compiler_graphs import Builder, golden, litert
from lepton.compiler.quantize import quantize_multiplier, requantize, rounded_once


def once(sums, multiplier, shift):
    return (sums * multiplier + (1 << 30 - shift)) >> 31 - shift


@pytest.mark.parametrize("seed", range(40))
def test_every_sum_comes_out_as_if_rounded_once(seed):
    random = np.random.default_rng(seed)
    multiplier, shift = quantize_multiplier(float(2.0 ** random.uniform(-9, 1)))
    low, high = -int(random.integers(1, 100_000)), int(random.integers(1, 100_000))
    zero = int(random.integers(-128, 128))
    parameters = rounded_once(multiplier, shift, (low, high), (-128 - zero, 127 - zero))
    sums = np.arange(low, high + 1)
    np.testing.assert_array_equal(np.clip(requantize(sums, *parameters) + zero, -128, 127),
                                  np.clip(once(sums, multiplier, shift) + zero, -128, 127))


@pytest.mark.parametrize("shift", [-8, -3, 0, 2])
def test_halves_round_up(shift):
    """A power of two meets exact halves, which the tail's second rounding would move away from zero."""
    sums = np.arange(-5000, 5001)
    parameters = rounded_once(1 << 30, shift, (-5000, 5000), (-128, 127))
    np.testing.assert_array_equal(np.clip(requantize(sums, *parameters), -128, 127),
                                  np.clip(once(sums, 1 << 30, shift), -128, 127))


def test_a_multiplier_of_zero():
    assert rounded_once(0, 0, (-10, 10), (-128, 127))[0] == 0


@pytest.mark.parametrize("per_channel", [False, True])
def test_litert_rounds_once(per_channel):
    """Few inputs and many outputs: rounding twice would show in about one of a thousand values."""
    for seed in range(4):
        b = Builder((1, 1, 1, 16), seed)
        b.dense("image", 1500, per_channel=per_channel)
        graph = b.done()
        inputs = {"image": np.random.default_rng(seed).integers(-128, 128, (1, 1, 1, 16)).astype(np.int8)}
        outputs, _ = golden(graph, "base", inputs)
        expected = litert(graph, inputs)
        for name, wanted in expected.items():
            np.testing.assert_array_equal(outputs[name], wanted)
