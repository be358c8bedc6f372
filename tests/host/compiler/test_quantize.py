"""Multipliers and parameter records."""

import numpy as np
import pytest
from lepton.arch.commands import PARAM_WORDS
from lepton.compiler import quantize
from lepton.graph import GraphError
from lepton.graph.numerics.fixedpoint import quantize_multiplier, scale_twice_rounded
from lepton.graph.numerics.requantize import add_parameters


@pytest.mark.parametrize("real,expected", [
    (1.0, (1 << 30, 1)), (0.5, (1 << 30, 0)), (0.75, (3 << 29, 0)), (0.0, (0, 0)), (2.0**-40, (0, 0)),
    (1 - 2.0**-40, (1 << 30, 1)),  # rounds up to 2**31, which is carried into the shift
])
def test_quantize_multiplier(real, expected):
    assert quantize_multiplier(real) == expected


@pytest.mark.parametrize("count", [1, 2, 3, 4, 6, 9, 12, 25, 49, 64, 100, 125, 255, 1024, 3136])
def test_averages_round_half_away_from_zero(count):
    multiplier, left, right = quantize.average_multiplier(count)
    sums = np.arange(-128 * count, 127 * count + 1)
    assert np.abs(sums << left).max() < 2**31
    exact = np.sign(sums) * ((2 * np.abs(sums) + count) // (2 * count))
    np.testing.assert_array_equal(scale_twice_rounded(sums, multiplier, left, right), exact)


def test_an_average_without_exact_multiplier_is_refused():
    with pytest.raises(GraphError, match="average over 20000000 values has no exact multiplier; use a smaller"):
        quantize.average_multiplier(20_000_000)


def test_parameter_record_holds_a_byte_of_every_channel_in_a_word():
    record = quantize.pack_parameters([0x01020304, -1], [0x11121314, 5], (np.array([3, 0]), np.array([0, 31])), 4)
    words = np.frombuffer(record, np.uint8).reshape(PARAM_WORDS, 4)
    np.testing.assert_array_equal(words[:, 0], [4, 3, 2, 1, 0x14, 0x13, 0x12, 0x11, 3, 0])
    np.testing.assert_array_equal(words[:, 1], [255, 255, 255, 255, 5, 0, 0, 0, 0, 31])
    assert not words[:, 2:].any()


def test_biases_wrap():
    record = np.frombuffer(quantize.pack_parameters([2**31], [0], 0, 4), np.uint8).reshape(PARAM_WORDS, 4)
    np.testing.assert_array_equal(record[:4, 0], [0, 0, 0, 0x80])


def test_an_addition_beyond_its_scales_is_refused():
    with pytest.raises(GraphError, match=r"less than 2\*\*-20 of its inputs'"):
        add_parameters(1.0, 1.0, 2.0**-22)
