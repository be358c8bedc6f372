"""Fixed-point arithmetic against gemmlowp's definitions, written out in Python integers."""

import numpy as np
import pytest
from lepton_sim.golden.numerics import (
    INT32_MAX,
    INT32_MIN,
    multiply_by_quantized_multiplier,
    quantize_multiplier,
    rounding_divide_by_pot,
    saturating_rounding_doubling_high_mul,
    wrap_int32,
)

from tests.sim.golden.gemmlowp import rdbpot, srdhm

EDGES = [INT32_MIN, INT32_MIN + 1, -(1 << 30) - 1, -(1 << 30), -3, -2, -1, 0, 1, 2, 3, (1 << 30) - 1, 1 << 30,
         INT32_MAX - 1, INT32_MAX]








def _operands(seed):
    rng = np.random.default_rng(seed)
    return np.concatenate([EDGES, rng.integers(INT32_MIN, INT32_MAX, 60, endpoint=True),
                           rng.integers(-1000, 1000, 25)])


def test_doubling_high_mul_is_gemmlowps():
    a, b = np.meshgrid(_operands(1), _operands(2))
    got = saturating_rounding_doubling_high_mul(a, b)
    assert got.dtype == np.int32
    assert got.ravel().tolist() == [srdhm(int(x), int(y)) for x, y in zip(a.flat, b.flat, strict=True)]


def test_doubling_high_mul_saturates_only_the_one_product():
    assert saturating_rounding_doubling_high_mul(INT32_MIN, INT32_MIN) == INT32_MAX
    assert saturating_rounding_doubling_high_mul(INT32_MIN, INT32_MAX) == -INT32_MAX


@pytest.mark.parametrize("exponent", [0, 1, 2, 7, 15, 30, 31])
def test_divide_by_pot_rounds_halves_away_from_zero(exponent):
    x = _operands(3)
    got = rounding_divide_by_pot(x, exponent)
    assert got.dtype == np.int32
    assert got.tolist() == [rdbpot(int(v), exponent) for v in x]
    if exponent in (1, 2, 7):
        half = 1 << (exponent - 1)
        assert rounding_divide_by_pot([half, -half], exponent).tolist() == [1, -1]


def test_multiplying_wraps_the_shifted_value():
    # 2**30 << 2 is 0 in int32; (2**30 + 1) << 2 is 4.
    assert multiply_by_quantized_multiplier([1 << 30, (1 << 30) + 1], 1 << 30, 2, 0).tolist() == [0, 2]
    assert multiply_by_quantized_multiplier(1 << 30, 1 << 30, 1, 0) == -(1 << 30)


def test_multiplying_broadcasts_channels():
    x = np.array([[100, -100], [3, -3]], np.int32)
    got = multiply_by_quantized_multiplier(x, np.array([1 << 30, 1 << 30], np.int32), [0, 2], [1, 0])
    assert got.tolist() == [[25, -200], [1, -6]]


def test_wrap():
    assert wrap_int32([1 << 31, -(1 << 31) - 1, (1 << 32) + 5]).tolist() == [INT32_MIN, INT32_MAX, 5]


@pytest.mark.parametrize("scale, expected", [
    (0.0, (0, 0, 0)), (1.0, (1 << 30, 1, 0)), (0.5, (1 << 30, 0, 0)), (0.25, (1 << 30, 0, 1)),
    (3.0, (3 << 29, 2, 0)), (1 - 2.0**-40, (1 << 30, 1, 0)), (2.0**-40, (0, 0, 0)), (2.0**40, (INT32_MAX, 30, 0)),
])
def test_quantize_multiplier(scale, expected):
    assert quantize_multiplier(scale) == expected


@pytest.mark.parametrize("scale", [-0.1, float("inf"), float("nan")])
def test_quantize_multiplier_refuses(scale):
    with pytest.raises(ValueError, match="scale must be finite and not negative"):
        quantize_multiplier(scale)
