"""Moving data: any type, nothing is computed."""

import numpy as np

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
    """Indices below 0 count from the end, as in ONNX; the verifier or numpy refuses those outside."""
    return np.take(call.x, call.values[1], axis=call.op.axis)
