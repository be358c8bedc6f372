"""Shapes and ranges that every front end computes the same way as TFLite."""

import numpy as np

from lepton.graph import GraphError
from lepton.graph.numerics.rounding import half_away
from lepton.graph.ops.windows import effective_kernel

INT8_RANGE = (-128, 127)

# Fused activations and the real interval each one clamps to; None is no bound.
ACTIVATION_BOUNDS = {"NONE": (None, None), "RELU": (0.0, None), "RELU_N1_TO_1": (-1.0, 1.0), "RELU6": (0.0, 6.0)}


def same_padding(size: int, kernel: int, stride: int, dilation: int = 1) -> tuple[int, int]:
    """(before, after) of TFLite's SAME along one axis: the odd pixel goes after (ComputePaddingWithOffset)."""
    outputs = -(-size // stride)
    total = max((outputs - 1) * stride + effective_kernel(kernel, dilation) - size, 0)
    return total // 2, total - total // 2


def clamp_range(bounds: tuple[float | None, float | None], scale: float, zero_point: int) -> tuple[int, int]:
    """The int8 values that stand for the real bounds; None is no bound.

    The division is in float32 and rounds half away from zero, as TfLiteRound does. Raises GraphError where the result
    does not fit int32, as TFLite does for fused activations (no_integer_overflow_from_quantization).
    """
    def quantized(bound: float) -> int:
        ratio = float(np.float32(bound) / np.float32(scale))
        if abs(ratio) >= 2**31 - 256:
            raise GraphError(f"the bound {bound:g} of the activation divided by the output's scale {scale:g} does not "
                             "fit int32, and TFLite has no defined result")
        value = zero_point + int(half_away(np.array(ratio)))
        return min(max(value, INT8_RANGE[0]), INT8_RANGE[1])

    low, high = bounds
    return INT8_RANGE[0] if low is None else quantized(low), INT8_RANGE[1] if high is None else quantized(high)


def activation_range(activation: str, scale: float, zero_point: int) -> tuple[int, int]:
    """Clamp range on the quantized int8 output (TFLite's CalculateActivationRangeQuantized).

    Raises GraphError for an activation that is not in ACTIVATION_BOUNDS.
    """
    if activation not in ACTIVATION_BOUNDS:
        raise GraphError(f"fused activation must be one of {', '.join(ACTIVATION_BOUNDS)}, not {activation}")

    return clamp_range(ACTIVATION_BOUNDS[activation], scale, zero_point)


def dense_transposed(weights: np.ndarray, groups: int, dilation: tuple[int, int],
                     zero: int | np.ndarray = 0) -> np.ndarray:
    """Weights (C, O / groups, H, W) of a transposed convolution as those of one in one group, without dilation.

    What no weight stood at is `zero`, one or one for each output (O, 1, 1): (C, O, H', W').
    """
    channels, per_group, *kernel = weights.shape
    spans = [effective_kernel(*axis) for axis in zip(kernel, dilation, strict=True)]
    if groups == 1 and spans == kernel:
        return weights
    dense = np.full((channels, per_group * groups, *spans), zero, weights.dtype)
    for group in range(groups):
        inputs = slice(group * channels // groups, (group + 1) * channels // groups)
        dense[inputs, group * per_group:(group + 1) * per_group, ::dilation[0], ::dilation[1]] = weights[inputs]
    return dense
