"""Between reals and integers."""

import numpy as np

from .call import Call


def _along(values: np.ndarray, tensor, ndim: int) -> np.ndarray:
    """Scales or zero points so that they broadcast along the tensor's axis."""
    if values.size == 1:
        return values.reshape(())
    shape = [1] * ndim
    shape[tensor.quantization.axis] = -1
    return values.reshape(shape)


def quantize(call: Call) -> np.ndarray:
    """FIXED: TFLite's AffineQuantize, half away from zero; FLOAT: half to even; TORCH: half to even, the real times
    1 / scale. NaN becomes the lowest value."""
    output, x = call.output, call.x.astype(np.float32)
    info = np.iinfo(output.dtype)
    factor = _along(output.quantization.scale.astype(np.float32), output, x.ndim)
    zero = _along(output.quantization.zero_point.astype(np.float32), output, x.ndim)
    with np.errstate(over="ignore"):
        quotient = x * (1 / factor.astype(np.float64)).astype(np.float32) if call.torch else x / factor
    quotient = _round_away(quotient) if call.fixed else np.rint(quotient)
    return np.clip(np.nan_to_num(quotient, nan=-np.inf, posinf=np.inf, neginf=-np.inf) + zero,
                   info.min, info.max).astype(output.dtype)


def _round_away(x: np.ndarray) -> np.ndarray:
    """std::round: half away from zero, exactly also where x + 0.5 would round up."""
    whole = np.trunc(x)
    return whole + np.where(np.abs(x - whole) >= 0.5, np.copysign(np.float32(1), x), np.float32(0))


def dequantize(call: Call) -> np.ndarray:
    """scale * (q - zero point): FIXED in double, FLOAT in float32; they differ for large int32 only."""
    tensor, x = call.tensors[0], call.x
    factor = _along(tensor.quantization.scale.astype(np.float32), tensor, x.ndim)
    centred = x.astype(np.int64) - _along(tensor.quantization.zero_point.astype(np.int64), tensor, x.ndim)
    if call.fixed:
        return (factor.astype(np.float64) * centred).astype(np.float32)
    return (factor * centred.astype(np.float32)).astype(np.float32)


def recenter(call: Call) -> np.ndarray:
    """uint8 to int8 or back: flip the top bit."""
    return (call.x.view(np.uint8) ^ np.uint8(0x80)).view(call.output.dtype)
