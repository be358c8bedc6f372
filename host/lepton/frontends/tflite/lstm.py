"""UNIDIRECTIONAL_SEQUENCE_LSTM of int8 values with a cell of 16 bits."""

import numpy as np

from lepton.graph import Cast, GraphError, Lstm16
from lepton.graph.builder import Value

from .operation import Entry, Operation

_OUTPUT_STATE = 18  # operands by position, as in `_lstm`
_CELL_STATE = 19
_NORMALIZATIONS = range(20, 24)  # coefficients
_HIDDEN = 4  # the intermediate that says how values before the projection are quantized
_INT8 = range(1, 9)
_INT16 = range(9, 12)
_INT32 = range(12, 16)
_PROJECTION = 16


def _lstm(op: Operation) -> None:
    """Operands: x, 8 weights, 3 weights of the cell, 4 biases, projection, its bias, last output, cell, normalizations.
    """
    x = op.x(0, "INT8", "FLOAT32")
    if x.dtype != np.int8:
        raise GraphError("float LSTMs are not supported: convert the network with full integer quantization")
    if any(op.has(position) for position in _NORMALIZATIONS) or op.option("diagonal"):
        raise GraphError("LSTMs with layer normalization or diagonal weights are not supported")
    if op.option("activation") != "TANH":
        raise GraphError(f"the activation must be TANH, not {op.option('activation')}")
    if x.rank != 3 or not op.has(_OUTPUT_STATE) or not op.has(_CELL_STATE):
        raise GraphError(f"the input must have the axes time, batch and values, not the shape {x.shape}, and the last "
                         "output and the cell must be variables")
    h = op.tensors.state(op.raw.inputs[_OUTPUT_STATE], "INT8")
    cell = op.tensors.state(op.raw.inputs[_CELL_STATE], "INT16")
    if not op.option("time_major"):
        x = x.transpose((1, 0, 2))
    constants = [_constant(op, i, "INT8") for i in _INT8] + [_constant(op, i, "INT16") for i in _INT16] + [
        _constant(op, i, "INT32") for i in _INT32] + [_constant(op, _PROJECTION, "INT8"),
                                                      _constant(op, _PROJECTION + 1, "INT32")]
    time, batch, _ = x.shape
    scale, zero = _hidden(op)
    kind = Lstm16(scale, zero, _limit(op.option("cell_clip"), cell), _limit(op.option("projection_clip"), h))
    made = op.builder.emit(kind, [x, h, cell, *constants])
    outputs = h.shape[1]
    steps = made.slice(1, 0, time * outputs)
    results = op.builder.emit(Cast("int8"), [steps], quantization=h.quantization).reshape((batch, time, outputs))
    op.tensors.assign(op.raw.inputs[_OUTPUT_STATE], results.slice(1, time - 1, time).reshape(h.shape))
    last = made.slice(1, time * outputs, made.shape[1])
    op.tensors.assign(op.raw.inputs[_CELL_STATE], op.builder.emit(
        Cast("int16"), [last], quantization=cell.quantization).reshape(cell.shape))
    op.result(results.transpose((1, 0, 2)) if op.option("time_major") else results)


def _constant(op: Operation, position: int, dtype: str) -> Value | None:
    return op.constant(position, dtype) if op.has(position) else None


def _hidden(op: Operation) -> tuple[float, int]:
    """Scale and zero point of the values before the projection."""
    found = op.raw.intermediates
    q = op.tensors.raw.tensors[found[_HIDDEN]].quantization if len(found) > _HIDDEN else None
    if q is None or q.scale.size != 1 or q.zero_point.size != 1 or not float(q.scale[0]) > 0:
        raise GraphError("the intermediates must say how values before the projection are quantized")
    return float(q.scale[0]), int(q.zero_point[0])


def _limit(real: float, like: Value) -> int:
    """A limit of the real numbers as stored values, cut off as LiteRT does; 0 for none."""
    info = np.iinfo(like.dtype)
    return int(np.clip(np.float32(real) / like.tensor.scale, info.min, info.max)) if real > 0 else 0


CONVERT: dict[str, Entry] = {"UNIDIRECTIONAL_SEQUENCE_LSTM": ((20, 24), 1, _lstm)}
