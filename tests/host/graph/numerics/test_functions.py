"""Fixed-point functions against real ones; the last bit is compared with LiteRT through its operators, in
tests/host/frontends/tflite/test_tflite_scales.py."""

import math

import numpy as np
import pytest
from lepton.graph.numerics.fixedpoint import quantize_multiplier
from lepton.graph.numerics.functions import bit_length, inverse_square_root, logarithm, quotient

RNG = np.random.default_rng(8)


def test_bits_that_integers_need():
    x = np.concatenate([np.arange(300), 2 ** np.arange(50), 2 ** np.arange(50) - 1, RNG.integers(0, 2**50, 1000)])
    assert bit_length(x).tolist() == [int(v).bit_length() for v in x]


def test_logarithm_of_one_and_more():
    """Of sums of up to 4096 exponentials, as LOG_SOFTMAX takes them: 12 integer bits, the result with 5."""
    reals = np.concatenate([np.linspace(1, 4, 400), np.geomspace(1, 4095, 2000)])
    x = np.floor(reals * 2**19).astype(np.int64)
    found = logarithm(x, 12, 5) / 2**26
    np.testing.assert_allclose(found, np.log(x / 2**19), atol=2e-6)
    assert np.all(np.diff(found[400:]) >= 0)


@pytest.mark.parametrize("x", [2, 3, 4, 5, 255, 65025, 10**6, 2**29 - 1, 2**29, 2**31 - 1])
def test_inverse_square_root(x):
    multiplier, shift = inverse_square_root(x)
    assert 0 < multiplier < 2**31
    assert multiplier / 2**31 * 2.0**shift == pytest.approx(1 / math.sqrt(x), rel=2e-6)


def test_inverse_square_root_of_nothing_is_that_of_one():
    assert inverse_square_root(0) == inverse_square_root(1) == (2**31 - 1, 0)


@pytest.mark.parametrize("factor", [0.7, 3.0, 20.0, 130.0])
def test_quotient_of_small_integers(factor):
    """Where the shifts are those that C++ defines: quotients of at least the last bit of 31."""
    b = np.concatenate([np.arange(-255, 0), np.arange(1, 256)])
    a = np.full_like(b, 255)
    found = quotient(a, b, *quantize_multiplier(factor))
    real = a / b * factor
    defined = np.abs(real) >= 1
    assert defined.sum() > 100
    assert np.abs(found - real)[defined].max() <= 0.5 + 1e-4
