"""Moving data: any type, nothing is computed."""

import numpy as np

from ...graph import GraphError
from .call import Call


def reshape(call: Call) -> np.ndarray:
    return call.x.reshape(call.output.shape)


def transpose(call: Call) -> np.ndarray:
    return call.x.transpose(call.op.order)


def concat(call: Call) -> np.ndarray:
    return np.concatenate(call.values, axis=call.op.axis)


def take_slice(call: Call) -> np.ndarray:
    op = call.op
    return call.x[tuple(slice(begin, None if end < 0 else end, step)
                        for begin, end, step in zip(op.begin, op.end, op.step, strict=True))]


def pad(call: Call) -> np.ndarray:
    op = call.op
    if op.mode == "constant":
        return np.pad(call.x, op.widths, constant_values=np.asarray(op.value).astype(call.x.dtype))
    return np.pad(call.x, op.widths, mode=op.mode)


def gather(call: Call) -> np.ndarray:
    """FIXED: indices below 0 are errors, as in LiteRT; FLOAT: they count from the end, as in ONNX.

    Raises GraphError for indices outside of the axis, which may be computed from the network's inputs.
    """
    indices, extent = call.values[1], call.x.shape[call.op.axis]
    lowest = 0 if call.fixed else -extent
    wrong = indices[(indices < lowest) | (indices >= extent)]
    if wrong.size:
        raise GraphError(f"index {int(wrong.flat[0])} of {call.tensors[1].name!r} must lie in {lowest}..{extent - 1}, "
                         f"axis {call.op.axis} of {call.tensors[0].name!r} having {extent} elements")
    return np.take(call.x, indices, axis=call.op.axis)
