"""Checks of operands and attributes that several operators share; all raise `GraphError` without naming the node."""

from collections.abc import Sequence

import numpy as np

from ..core import GraphError, Pair, Shape, Signature, Tensor

EIGHT_BITS = (np.int8, np.uint8)
# The largest stride, dilation, kernel or padding. Real networks stay below 1000; with 16 bits each, sizes computed from
# them stay far inside int64, whatever a file says.
MAX_WINDOW = 65535


def require(holds: bool, text: str) -> None:
    if not holds:
        raise GraphError(text)


def dims(shape: Sequence[int]) -> Shape:
    """The shape in Python's own integers."""
    return tuple(map(int, shape))


def of_type(tensor: Tensor, *allowed: type) -> None:
    names = [np.dtype(d).name for d in allowed]
    hint = "; quantize the network to int8" if names == ["int8"] else ""
    require(np.dtype(tensor.dtype) in map(np.dtype, allowed),
            f"{tensor.name!r} must be {' or '.join(names)}, not {np.dtype(tensor.dtype)}{hint}")


def same_type(*tensors: Tensor) -> np.dtype:
    """The data type, which must be the same for all."""
    first, *others = tensors
    for tensor in others:
        require(np.dtype(tensor.dtype) == np.dtype(first.dtype), f"{tensor.name!r} must be {np.dtype(first.dtype)} "
                f"like {first.name!r}, not {np.dtype(tensor.dtype)}")
    return np.dtype(first.dtype)


def quantized(tensor: Tensor) -> None:
    """One scale and zero point, or one for each place along an axis; scales positive and finite, zero points within
    the tensor's type.

    Files hold float32 scales. float64 is for graphs made by hand from multipliers that no float32 scale gives, such as
    those of CMSIS-NN's vectors.
    """
    q = tensor.quantization
    if q is None:
        raise GraphError(f"{tensor.name!r} must be quantized")
    require(q.scale.ndim == 1 and q.scale.shape == q.zero_point.shape and q.scale.dtype in (np.float32, np.float64)
            and q.zero_point.dtype == np.int32,
            f"{tensor.name!r} must have float32 or float64 scales and as many int32 zero points, not "
            f"{q.scale.dtype} of shape {q.scale.shape} and {q.zero_point.dtype} of shape {q.zero_point.shape}")
    require(q.scale.size == 1 or (q.axis is not None and 0 <= q.axis < len(tensor.shape)
                                  and tensor.shape[q.axis] == q.scale.size),
            f"{tensor.name!r} of shape {dims(tensor.shape)} must have one scale, or one for each place along its axis, "
            f"not {q.scale.size} along axis {q.axis}")
    bad = q.scale[~(np.isfinite(q.scale) & (q.scale > 0))]
    require(not bad.size, f"the scale of {tensor.name!r} must be positive and finite, not {bad[0] if bad.size else ''}")
    if np.dtype(tensor.dtype).kind in "iu":
        info = np.iinfo(tensor.dtype)
        bad = q.zero_point[(q.zero_point < info.min) | (q.zero_point > info.max)]
        require(not bad.size, f"the zero point of {tensor.name!r} must be in {info.min}..{info.max}, "
                              f"not {bad[0] if bad.size else ''}")


def per_tensor(*tensors: Tensor) -> None:
    """One scale and one zero point."""
    for tensor in tensors:
        q = tensor.quantization
        require(q is not None and q.scale.size == 1 and q.zero_point.size == 1,
                f"{tensor.name!r} must have one scale and one zero point")
        quantized(tensor)


def int8(*tensors: Tensor) -> None:
    """int8 with one scale and one zero point."""
    for tensor in tensors:
        of_type(tensor, np.int8)
        per_tensor(tensor)


def same_reals(a: Tensor, b: Tensor) -> bool:
    """Whether the two int8 tensors have the same quantization, or neither has one."""
    p = a.quantization
    q = b.quantization
    if p is None or q is None:
        return p is q
    return np.array_equal(p.scale, q.scale) and np.array_equal(p.zero_point, q.zero_point)


def same_quantization(a: Tensor, b: Tensor) -> None:
    """The same scale and zero point, where both are quantized integers."""
    p = a.quantization
    q = b.quantization
    if p is None or q is None or np.dtype(a.dtype).kind not in "iu":
        return
    require(np.array_equal(p.scale, q.scale) and np.array_equal(p.zero_point, q.zero_point),
            f"{a.name!r} and {b.name!r} must have the same scale and zero point")


def clamp_range(clamp: Pair) -> None:
    low, high = clamp
    require(-128 <= low <= high <= 127, f"the clamp range must lie in -128..127 and not be empty, not {clamp}")


def axis_of(axis: int, rank: int) -> int:
    """`axis` counted from the front."""
    require(-rank <= axis < rank, f"axis {axis} must be one of a tensor of {rank} dimensions")
    return axis % rank


def broadcast(*tensors: Tensor) -> Shape:
    try:
        return np.broadcast_shapes(*(dims(t.shape) for t in tensors))
    except ValueError:
        shapes = " and ".join(str(dims(t.shape)) for t in tensors)
        raise GraphError(f"shapes {shapes} do not broadcast") from None


def check_loaded(positions: Sequence[int], signature: Signature) -> None:
    """The operands that a framework has when it loads the network must be constants."""
    for position in positions:
        tensor = signature.inputs.get(position) if position >= 0 else None
        require(tensor is not None and tensor.data is not None, f"operand {position} must be constant")


def image(tensor: Tensor) -> tuple[int, int, int, int]:
    """(batch, height, width, channels)."""
    shape = dims(tensor.shape)
    require(len(shape) == 4 and min(shape) >= 1, f"{tensor.name!r} must be an image (batch, height, width, channels) "
                                                 f"with dimensions of at least 1, not of shape {shape}")
    batch, height, width, channels = shape
    return batch, height, width, channels


def constant(tensor: Tensor, what: str) -> np.ndarray:
    if tensor.data is None:
        raise GraphError(f"{what} {tensor.name!r} must be constant; computed {what} are not supported")
    return tensor.data
