"""Operators that are one operator of the graph: their attributes, and nothing else."""

from collections.abc import Callable

import numpy as np

from lepton.graph import (
    Compare,
    Dequantize,
    DetectionPostProcess,
    Div,
    FloorDiv,
    FloorMod,
    Gather,
    GatherND,
    GraphError,
    L2Normalize,
    Logic,
    LogSoftmax,
    Mul,
    OneHot,
    Op,
    Power,
    Reshape,
    Select,
    Slice,
    SquaredDifference,
)

from .reader import RawOperator


def _plain(make: Callable[..., Op], operands: int = 1, only: tuple[int, ...] | None = None):
    """The entry of an operator with one result: `make(importer, operator, where)` of the operands at `only`, or all."""
    def convert(imp, operator: RawOperator, where: str) -> None:
        names = [imp.value(operator.inputs[i], where) for i in (range(operands) if only is None else only)]
        imp.apply(make(imp, operator, where), names, operator.outputs[0], where)
    return (operands,), 1, convert


def _constantly(op: Op) -> Callable[..., Op]:
    return lambda imp, operator, where: op


def _legacy(imp, operator: RawOperator) -> bool:
    return imp.is_legacy(imp.raw.tensors[operator.inputs[0]])


def _clamped(kind: type[Op]) -> Callable[..., Op]:
    """A fused activation clamps int8 results; others have none."""
    def make(imp, operator: RawOperator, where: str) -> Op:
        if imp.is_quantized(operator.outputs[0]):
            return kind(clamp=imp.clamp(operator, where))
        if operator.options["activation"] != "NONE":
            raise GraphError(f"{where}: a fused activation ({operator.options['activation']}) is supported for int8 "
                             "only")
        return kind()
    return make


def _one_hot(imp, operator: RawOperator, where: str) -> Op:
    (depth,) = imp.integers(operator.inputs[1], where)[:1] or (0,)
    return OneHot(depth, operator.options["axis"])


def _reverse(imp, operator: RawOperator, where: str) -> Op:
    shape = imp.shape(operator.inputs[0])
    axes = {imp.axis_of(axis, len(shape), where) for axis in imp.integers(operator.inputs[1], where)}
    return Slice(tuple(n - 1 if a in axes else 0 for a, n in enumerate(shape)),
                 tuple(-1 if a in axes else n for a, n in enumerate(shape)),
                 tuple(-1 if a in axes else 1 for a in range(len(shape))))


def _square(imp, operator: RawOperator, where: str) -> None:
    x = imp.value(operator.inputs[0], where, ("FLOAT32", "INT32", "INT64"))
    imp.apply(Mul(), [x, x], operator.outputs[0], where)


def _select(imp, operator: RawOperator, where: str) -> None:
    """SELECT_V2, and SELECT, whose condition of one dimension chooses rows."""
    condition, a, b = (imp.value(i, where) for i in operator.inputs)
    shape, rank = imp.of(condition).shape, len(imp.of(a).shape)
    if operator.name == "SELECT" and len(shape) == 1 and rank > 1:
        rows = (*shape, *(1,) * (rank - 1))
        condition = imp.emit(Reshape(rows), [condition], imp.temporary(condition, "rows", rows), where)
    imp.apply(Select(), [condition, a, b], operator.outputs[0], where)


def _embedding(imp, operator: RawOperator, where: str) -> None:
    indices, table = (imp.value(i, where) for i in operator.inputs)
    imp.apply(Gather(0), [table, indices], operator.outputs[0], where)


_DETECTION_FIELDS = ("max_detections", "max_classes_per_detection", "num_classes", "nms_score_threshold",
                     "nms_iou_threshold", "y_scale", "x_scale", "h_scale", "w_scale")


def _detection(imp, operator: RawOperator, where: str) -> None:
    """The custom operator at the end of SSD networks: boxes, classes, scores, count."""
    options = operator.options or {}
    missing = [key for key in _DETECTION_FIELDS if not isinstance(options.get(key), int | float)]
    if missing:
        raise GraphError(f"{where} has no option {', '.join(missing)}")
    if len(operator.outputs) != 4:
        raise GraphError(f"{where} must have 4 outputs, not {len(operator.outputs)}")
    op = DetectionPostProcess(
        int(options["max_detections"]), int(options["num_classes"]), int(options["max_classes_per_detection"]),
        (options["y_scale"], options["x_scale"], options["h_scale"], options["w_scale"]),
        options["nms_score_threshold"], options["nms_iou_threshold"], bool(options.get("use_regular_nms", False)),
        int(options.get("detections_per_class", 100)))
    names = [_float(imp, index, where) for index in operator.inputs]
    rows = op.rows
    for index, shape in zip(operator.outputs, ((1, rows, 4), (1, rows), (1, rows), (1,)), strict=True):
        imp.expect(index, shape, where)
    outputs = [imp.value(index, where, ("FLOAT32",)) for index in operator.outputs]
    found = imp.emit(op, names, imp.temporary(outputs[0], "found", (rows + 1, 6)), where)
    parts = (((0, 0), (rows, 4)), ((0, 4), (rows, 5)), ((0, 5), (rows, 6)), ((rows, 0), (rows + 1, 1)))
    for output, (begin, end) in zip(outputs, parts, strict=True):
        shape = tuple(e - b for b, e in zip(begin, end, strict=True))
        part = imp.emit(Slice(begin, end, (1, 1)), [found], imp.temporary(output, "part", shape), where)
        imp.emit(Reshape(imp.of(output).shape), [part], output, where)


def _float(imp, index: int, where: str) -> str:
    name = imp.value(index, where, ("FLOAT32", "INT8", "UINT8"))
    if imp.of(name).dtype == np.float32:
        return name
    imp.activation(index, where)
    return imp.emit(Dequantize(), [name], imp.temporary(name, "reals", imp.of(name).shape, np.float32), where)


_COMPARISONS = ("EQUAL", "NOT_EQUAL", "LESS", "LESS_EQUAL", "GREATER", "GREATER_EQUAL")
DETECTION = "CUSTOM 'TFLite_Detection_PostProcess'"

CONVERT = {
    **{name: _plain(_constantly(Compare(name.lower())), 2) for name in _COMPARISONS},
    "LOGICAL_AND": _plain(_constantly(Logic("and")), 2), "LOGICAL_OR": _plain(_constantly(Logic("or")), 2),
    "DIV": _plain(_clamped(Div), 2), "FLOOR_DIV": _plain(_constantly(FloorDiv()), 2),
    "FLOOR_MOD": _plain(_constantly(FloorMod()), 2), "POW": _plain(_constantly(Power()), 2),
    "SQUARED_DIFFERENCE": _plain(_constantly(SquaredDifference()), 2), "SQUARE": ((1,), 1, _square),
    "LOG_SOFTMAX": _plain(_constantly(LogSoftmax())),
    "L2_NORMALIZATION": _plain(lambda imp, operator, where: L2Normalize(_legacy(imp, operator))),
    "GATHER_ND": _plain(_constantly(GatherND()), 2), "ONE_HOT": _plain(_one_hot, 4, (0, 2, 3)),
    "REVERSE_V2": _plain(_reverse, 2, (0,)), "EMBEDDING_LOOKUP": ((2,), 1, _embedding),
    "SELECT": ((3,), 1, _select), "SELECT_V2": ((3,), 1, _select), DETECTION: ((3,), 0, _detection),
}
