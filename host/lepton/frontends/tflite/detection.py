"""The custom operator at the end of SSD networks: boxes, classes, scores, count."""

import numpy as np

from lepton.graph import Dequantize, DetectionPostProcess, GraphError, Slice
from lepton.graph.builder import Value

from .operation import Entry, Operation

_FIELDS = ("max_detections", "max_classes_per_detection", "num_classes", "nms_score_threshold", "nms_iou_threshold",
           "y_scale", "x_scale", "h_scale", "w_scale")


def _reals(op: Operation, position: int) -> Value:
    x = op.x(position, "FLOAT32", "INT8", "UINT8")
    return x if x.dtype == np.float32 else op.int8(position).apply(Dequantize())


def _detection(op: Operation) -> None:
    options = op.raw.options or {}
    missing = [key for key in _FIELDS if not isinstance(options.get(key), int | float)]
    if missing:
        raise GraphError(f"has no option {', '.join(missing)}")
    if op.results != 4:
        raise GraphError(f"must have 4 outputs, not {op.results}")
    made = DetectionPostProcess(
        int(options["max_detections"]), int(options["num_classes"]), int(options["max_classes_per_detection"]),
        (options["y_scale"], options["x_scale"], options["h_scale"], options["w_scale"]),
        options["nms_score_threshold"], options["nms_iou_threshold"], bool(options.get("use_regular_nms", False)),
        int(options.get("detections_per_class", 100)))
    found = op.builder.emit(made, [_reals(op, position) for position in range(3)])
    rows = made.rows

    def part(begin: tuple[int, int], end: tuple[int, int], *shape: int) -> Value:
        return found.apply(Slice(begin, end, (1, 1))).reshape(shape)

    op.result(part((0, 0), (rows, 4), 1, rows, 4), 0)
    op.result(part((0, 4), (rows, 5), 1, rows), 1)
    op.result(part((0, 5), (rows, 6), 1, rows), 2)
    op.result(part((rows, 0), (rows + 1, 1), 1), 3)


CONVERT: dict[str, Entry] = {"CUSTOM 'TFLite_Detection_PostProcess'": ((3,), 0, _detection)}
