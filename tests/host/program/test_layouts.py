"""Layouts there and back, and the bytes they make."""

import numpy as np
import pytest
from lepton.program import Blocked, LayoutError, Rows


def test_blocked_puts_lanes_of_a_pixel_together():
    array = np.arange(2 * 3 * 6, dtype=np.int8).reshape(1, 2, 3, 6)
    layout = Blocked((1, 2, 3, 6), 2, 3, 6, lanes=4, fill=-7)
    data = np.frombuffer(layout.to_device(array), np.int8).reshape(2, 2, 3, 4)
    assert layout.size == data.size
    for y in range(2):
        for x in range(3):
            np.testing.assert_array_equal(data[0, y, x], array[0, y, x, :4])
            np.testing.assert_array_equal(data[1, y, x], [*array[0, y, x, 4:], -7, -7])
    np.testing.assert_array_equal(layout.from_device(data.tobytes()), array)


def test_rows_have_padding_beside_them():
    array = np.arange(2 * 3 * 2, dtype=np.int8).reshape(1, 2, 3, 2)
    layout = Rows((1, 2, 3, 2), 2, 3, 2, left=1, pitch=12, fill=9)
    data = np.frombuffer(layout.to_device(array), np.int8).reshape(2, 12)
    np.testing.assert_array_equal(data[1], [9, 9, 6, 7, 8, 9, 10, 11, 9, 9, 9, 9])
    np.testing.assert_array_equal(layout.from_device(data.tobytes()), array)


def test_what_does_not_fit_is_refused():
    layout = Blocked((1, 2, 3, 6), 2, 3, 6, 4)
    with pytest.raises(LayoutError, match=r"shape \(1, 2, 3, 6\), not \(2, 3, 6\)"):
        layout.to_device(np.zeros((2, 3, 6), np.int8))
    with pytest.raises(LayoutError, match="must be int8, not uint8; quantize it first"):
        layout.to_device(np.zeros((1, 2, 3, 6), np.uint8))
    with pytest.raises(LayoutError, match="must have 48 bytes, not 47"):
        layout.from_device(bytes(47))
