"""Which transpositions are those of matrices, and what the compiled loops make of them."""

import numpy as np
import pytest
from lepton.graph.numerics import compiled
from lepton.graph.numerics.transposing import as_matrices, swapper

EXTENTS = (1, 1, 2, 3, 5, 8, 16, 17)


def test_matrices_have_the_same_elements_in_the_same_order():
    rng = np.random.default_rng()
    found = 0
    for _ in range(500):
        shape = tuple(int(n) for n in rng.choice(EXTENTS, rng.integers(1, 6)))
        order = tuple(int(axis) for axis in rng.permutation(len(shape)))
        matrices = as_matrices(shape, order)
        if matrices is not None:
            found += 1
            x = np.arange(np.prod(shape)).reshape(shape)
            np.testing.assert_array_equal(x.reshape(matrices).swapaxes(1, 2).ravel(), x.transpose(order).ravel(),
                                          str((shape, order)))
    assert found > 50


@pytest.mark.parametrize("shape,order,matrices", (
    ((1, 64, 9, 9), (0, 2, 3, 1), (1, 64, 81)), ((2, 9, 9, 64), (0, 3, 1, 2), (2, 81, 64)), ((5, 7), (1, 0), (1, 5, 7)),
    ((5, 1, 7), (2, 1, 0), (1, 5, 7)), ((4, 5, 6, 7), (1, 0, 2, 3), None), ((4, 5, 6), (2, 1, 0), None),
    ((4, 5), (0, 1), None)))
def test_known_orders(shape, order, matrices):
    assert as_matrices(shape, order) == matrices


@pytest.mark.skipif(compiled.loop("transpose_words", 1 << 20) is None, reason="numba is not installed")
@pytest.mark.parametrize("dtype", (np.float32, np.int32, np.int8, np.uint8, np.bool_))
@pytest.mark.parametrize("shape,order", (
    ((1, 24, 31, 17), (0, 2, 3, 1)), ((3, 16, 9, 40), (0, 2, 3, 1)), ((1, 40, 30, 19), (0, 3, 1, 2)),
    ((3, 3, 70, 71), (0, 2, 3, 1)), ((127, 129), (1, 0))))
def test_loops_move_every_element(shape, order, dtype):
    x = np.random.default_rng().integers(0, 2 if dtype == np.bool_ else 127, shape).astype(dtype)
    swap = swapper(shape, order, x.dtype, often=True)
    made = swap(x)
    assert made.dtype == x.dtype and made.flags.c_contiguous
    np.testing.assert_array_equal(made, x.transpose(order))
    spread = np.stack((x, x), axis=-1)[..., 0]  # not contiguous
    np.testing.assert_array_equal(swap(spread), x.transpose(order))


@pytest.mark.parametrize("shape,dtype", (((4, 4), np.int8), ((900, 4), np.int8), ((900, 90), np.int64)))
def test_numpy_does_what_gains_nothing(shape, dtype):
    assert swapper(shape, (1, 0), np.dtype(dtype), often=True) is None
