"""Which scale and zero point each int8 value has: ONNX states them at operators, not at values."""

import numpy as np
import onnx
from onnx import numpy_helper

from lepton.graph import GraphError, Quantization

_ONE_TO_ONE = ("QLinearAveragePool", "QLinearGlobalAveragePool", "QLinearSigmoid", "QLinearLeakyRelu",
               "QLinearSoftmax")
# So that products and quotients of three scales stay normal float32: 2**(3 * 40) < 2**127, 2**(-3 * 40) > 2**-126.
LARGEST_SCALE = 2.0**40
SMALLEST_SCALE = 2.0**-40
# Where operators state quantization: position of a value -> positions of its scale and zero point. Those of ONNX are in
# its operator specification, those of com.microsoft in onnxruntime/docs/ContribOperators.md.
_READS = {
    "DequantizeLinear": {0: (1, 2)}, "QLinearConv": {0: (1, 2)}, "QLinearMatMul": {0: (1, 2), 3: (4, 5)},
    "QGemm": {0: (1, 2)}, "QLinearAdd": {0: (1, 2), 3: (4, 5)}, "QLinearMul": {0: (1, 2), 3: (4, 5)},
    "MatMulIntegerToFloat": {0: (2, 4)}, **{name: {0: (1, 2)} for name in _ONE_TO_ONE},
}
_WRITES = {
    "QuantizeLinear": (1, 2), "QLinearConv": (6, 7), "QLinearMatMul": (6, 7), "QGemm": (7, 8), "QLinearAdd": (6, 7),
    "QLinearMul": (6, 7), "QLinearConcat": (0, 1), **dict.fromkeys(_ONE_TO_ONE, (3, 4)),
}
# Those whose scale the network may compute (`dynamic`).
_COMPUTED = {"DequantizeLinear", "MatMulIntegerToFloat"}
# Operators whose results are values of their inputs.
MOVES = {"MaxPool", "Reshape", "Transpose", "Flatten", "Squeeze", "Unsqueeze", "Slice", "Split", "Gather", "Concat",
         "Pad", "Resize", "Upsample", "DepthToSpace", "SpaceToDepth", "ReduceMax", "ReduceMin", "GlobalMaxPool", "Max",
         "Min", "Identity", "Dropout", "Expand", "Tile"}
_ALL_INPUTS = {"Concat", "Max", "Min"}


def quantities(graph: onnx.GraphProto) -> dict[str, Quantization]:
    """Scale and zero point of every value that an operator states, and of those moved to or from it."""
    constants = {tensor.name: tensor for tensor in graph.initializer}
    unsigned = {value.name for value in graph.input
                if value.type.tensor_type.elem_type == onnx.TensorProto.UINT8}
    found: dict[str, Quantization] = {}
    for node in graph.node:
        if node.op_type in _WRITES and _stated(node, _WRITES[node.op_type][0]):
            # A QuantizeLinear without a zero point makes uint8.
            found[node.output[0]] = stated(node, _WRITES[node.op_type], constants, node.op_type == "QuantizeLinear")
            if node.op_type == "QuantizeLinear" and not _stated(node, 2):
                unsigned.add(node.output[0])
    for node in graph.node:
        reads = _READS.get(node.op_type, {})
        if node.op_type == "QLinearConcat":
            reads = {i: (i + 1, i + 2) for i in range(2, len(node.input), 3)}
        for position, places in reads.items():
            if node.op_type in _COMPUTED and any(_stated(node, place) and node.input[place] not in constants
                                                 for place in places):
                continue
            if node.input[position] not in constants and node.input[position] not in found:
                name = node.input[position]
                found[name] = stated(node, places, constants, name in unsigned)
    # Forward, backward, and forward again: a value also gets the scale of its results, and passes it on to all others.
    for nodes, forward in ((graph.node, True), (list(reversed(graph.node)), False), (graph.node, True)):
        for node in nodes:
            if node.op_type in MOVES:
                inputs = list(node.input if node.op_type in _ALL_INPUTS else node.input[:1])
                sources, targets = (inputs, node.output) if forward else (node.output, inputs)
                known = next((found[name] for name in sources if name in found), None)
                if known is not None:
                    for name in targets:
                        found.setdefault(name, known)
    return found


def _stated(node: onnx.NodeProto, position: int) -> bool:
    return len(node.input) > position and bool(node.input[position])


def stated(node: onnx.NodeProto, places: tuple[int, int], constants: dict[str, onnx.TensorProto],
           unsigned: bool = False) -> Quantization:
    """Scale and zero point at the given positions of `node`'s inputs: per tensor, as int8 (uint8 less 128).

    Without a zero point it is 0, of a value that is uint8 if `unsigned`, else int8.
    """
    where = f"{node.op_type} {node.name or node.output[0]!r}"
    arrays = []
    for place, what in zip(places, ("scale", "zero point"), strict=True):
        if not _stated(node, place):
            if what == "scale":
                raise GraphError(f"{where} has no {what} for an int8 value")
            arrays.append(np.zeros(1, np.uint8 if unsigned else np.int8))
            continue
        if node.input[place] not in constants:
            raise GraphError(f"{where}: {what} {node.input[place]!r} must be a constant; of computed scales "
                             "those of DynamicQuantizeLinear are supported")
        arrays.append(numpy_helper.to_array(constants[node.input[place]]).ravel())
    scale, zero = arrays
    return quantization(scale, zero, where)


def quantization(scale: np.ndarray, zero: np.ndarray, where: str, axis: int | None = None, constant: bool = False
                 ) -> Quantization:
    """Checked, with uint8 zero points moved to int8. `scale` and `zero` are 1-D; only an `axis` allows several.

    Of a `constant`, scales of 0 and denormal ones are allowed: pruned channels have them.
    """
    if scale.dtype != np.float32:
        raise GraphError(f"{where}: scales must be float32, not {scale.dtype}")
    positive = scale >= 0 if constant else scale > 0
    if not np.all(np.isfinite(scale) & positive):
        wrong = scale[~(np.isfinite(scale) & positive)][0]
        raise GraphError(f"{where}: scales must be finite and above 0, not {wrong}")
    smallest = SMALLEST_SCALE if axis is None and zero.dtype != np.int32 else np.finfo(np.float32).tiny
    smallest = 0 if constant else smallest
    if np.any((scale < smallest) | (scale > LARGEST_SCALE)):
        wrong = scale[(scale < smallest) | (scale > LARGEST_SCALE)][0]
        raise GraphError(f"{where}: scales must lie in {smallest:.3g}..{LARGEST_SCALE:.3g}, not {wrong:.3g}: products "
                         "and quotients of them would leave float32")
    if zero.dtype not in (np.int8, np.uint8, np.int32):
        raise GraphError(f"{where}: zero points must be int8 or uint8, not {zero.dtype}; only 8-bit networks are "
                         "supported")
    if axis is None and (scale.size != 1 or zero.size != 1):
        raise GraphError(f"{where}: activations must have one scale and one zero point, not {scale.size} and "
                         f"{zero.size}")
    shift = 128 if zero.dtype == np.uint8 else 0
    return Quantization(scale, zero.astype(np.int32) - shift, axis)
