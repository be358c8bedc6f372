import numpy as np
import pytest
from lepton.frontends.geometry import activation_range, same_padding
from lepton.graph import GraphError
from lepton.graph.ops.windows import output_size


@pytest.mark.parametrize(("size", "kernel", "stride", "dilation", "expected"), [
    (32, 3, 1, 1, (1, 1)), (32, 3, 2, 1, (0, 1)), (33, 3, 2, 1, (1, 1)), (49, 10, 2, 1, (4, 5)), (10, 4, 2, 1, (1, 1)),
    (5, 1, 3, 1, (0, 0)), (9, 3, 1, 2, (2, 2)), (2, 2, 3, 1, (0, 0))])
def test_same_padding_gives_ceil_of_size_over_stride(size, kernel, stride, dilation, expected):
    padding = same_padding(size, kernel, stride, dilation)
    assert padding == expected
    assert output_size(size, kernel, stride, dilation, padding) == -(-size // stride)


def test_activation_range_clamps_to_int8_and_rounds_half_away_from_zero():
    assert activation_range("NONE", 0.1, 3) == (-128, 127)
    assert activation_range("RELU", 0.1, 3) == (3, 127)
    assert activation_range("RELU", 0.1, -128) == (-128, 127)
    assert activation_range("RELU6", 0.05, -5) == (-5, 115)
    assert activation_range("RELU_N1_TO_1", 0.4, 0) == (-3, 3)  # 1 / 0.4 = 2.5
    assert activation_range("RELU6", np.float32(1e-6), 0) == (0, 127)


def test_unknown_activation_is_refused():
    with pytest.raises(GraphError, match=r"must be one of NONE, RELU, RELU_N1_TO_1, RELU6, not TANH"):
        activation_range("TANH", 0.1, 0)
