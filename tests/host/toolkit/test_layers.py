"""Layers follow from what precedes them, and say with numbers where they do not fit."""

import pytest
from lepton.toolkit.layers import LayerError, convolution, dense, pooling

IMAGE = (3, 8, 6)


def test_shapes():
    assert convolution(IMAGE, 3, 32, 3, 1, "same").shape == (32, 8, 6)
    assert convolution(IMAGE, None, 5, 3, 2, "valid").shape == (5, 3, 2)
    assert convolution(IMAGE, None, 5, 5, 1, 1).shape == (5, 6, 4)
    assert convolution(IMAGE, None, 5, 3, 1, "same").inputs == 3
    assert pooling(IMAGE, 2, 2) == (2, (3, 4, 3)) and pooling(IMAGE, 3, None) == (3, (3, 2, 2))
    assert dense(IMAGE, 144) == dense(IMAGE, None) == (144, False)
    assert dense(IMAGE, 3) == (3, True) and dense((7,), 7) == (7, False)


@pytest.mark.parametrize(("call", "text"), [
    (lambda: convolution(IMAGE, 16, 32, 3, 1, "same"),
     r"add_conv_layer: the layer takes 16 channels, but what precedes it has 3 \(3x8x6\); give 3, or None"),
    (lambda: convolution((10,), None, 32, 3, 1, "same"), "it needs an image, but what precedes it has 10 values"),
    (lambda: convolution(IMAGE, None, 32, 9, 1, "valid"),
     "a kernel of 9 does not fit what precedes it, which is 8x6; use one of at most 6"),
    (lambda: convolution(IMAGE, None, 0, 3, 1, "same"), "output_channels must be a whole number of at least 1, not 0"),
    (lambda: convolution(IMAGE, None, 4, 3, 1, "full"),
     "padding must be 'same', 'valid' or a number from 0 to 2, not 'full'"),
    (lambda: pooling(IMAGE, 7, None), "a kernel of 7 does not fit what precedes it, which is 8x6"),
    (lambda: dense(IMAGE, 100),
     "the layer takes 100 inputs, but what precedes it has 3 channels of 8x6: 3 averaged over "
     "the image, or 144 values; give one of these numbers, or None"),
    (lambda: dense((5,), 6), "the layer takes 6 inputs, but what precedes it has 5 values"),
])
def test_what_does_not_fit(call, text):
    with pytest.raises(LayerError, match=text):
        call()
