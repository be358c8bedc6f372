"""The custom operator at the end of SSD detectors, on the golden device, against LiteRT's kernel."""

import numpy as np
import pytest

pytest.importorskip("ai_edge_litert")

from flatbuffers import flexbuffers
from lepton.frontends import import_tflite
from lepton.graph import GraphError

from tests.host.frontends.tflite.golden_runs import of, run
from tests.litert_models import Tensor, build, edited, references, schema

RNG = np.random.default_rng(78)


def detector(boxes: int, classes: int, background: int, dtype=np.float32, **options) -> tuple[bytes, list[np.ndarray]]:
    most = options["max_detections"]
    each = options["max_classes_per_detection"]
    legacy = dtype == np.uint8
    encodings = Tensor(0.05, 120, shape=(1, boxes, 4), dtype=dtype) if legacy else of(dtype, 1, boxes, 4)
    scores = Tensor(1 / 256, 0, shape=(1, boxes, classes + background), dtype=dtype) if legacy else of(
        dtype, 1, boxes, classes + background)
    centers = RNG.uniform(0.1, 0.9, (boxes, 2))
    anchors = np.concatenate([centers, RNG.uniform(0.1, 0.4, (boxes, 2))], 1)
    anchors = Tensor(0.004, 3, data=np.rint(anchors / 0.004 + 3).astype(np.uint8)) if legacy else Tensor(
        data=anchors.astype(np.float32))
    rows = most * each
    outputs = [of(np.float32, *shape) for shape in ((1, rows, 4), (1, rows), (1, rows), (1,))]

    def change(tree):
        code = tree.operatorCodes[0]
        code.builtinCode = code.deprecatedBuiltinCode = schema.BuiltinOperator.CUSTOM
        code.customCode = "TFLite_Detection_PostProcess"
        fields = {"num_classes": classes, "y_scale": 10.0, "x_scale": 10.0, "h_scale": 5.0, "w_scale": 5.0,
                  "nms_score_threshold": 0.3, "nms_iou_threshold": 0.5} | options
        tree.subgraphs[0].operators[0].customOptions = np.frombuffer(bytes(flexbuffers.Dumps(fields)), np.uint8)

    model = edited(build("RELU", [encodings, scores, anchors], outputs, 1), change)
    if legacy:
        return model, [RNG.integers(0, 256, t.shape).astype(np.uint8) for t in (encodings, scores)]
    return model, [RNG.normal(0, 1, encodings.shape).astype(np.float32),
                   RNG.permutation(encodings.shape[1] * (classes + background)).reshape(scores.shape).astype(np.float32)
                   / (encodings.shape[1] * (classes + background))]


def same_detections(model: bytes, inputs: list[np.ndarray], each: int) -> None:
    """In the rows that are found; LiteRT leaves the others as its memory was."""
    got = run(model, *inputs)
    wanted = references(model, *inputs)
    assert got[3] == wanted[3] > 0
    rows = int(got[3][0]) * each
    for ours, theirs in zip(got[:3], wanted[:3], strict=True):
        assert ours.shape == theirs.shape and not ours[:, rows:].any()
        np.testing.assert_allclose(ours[:, :rows], theirs[:, :rows], rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("regular", [False, True])
@pytest.mark.parametrize(("boxes", "classes", "background", "most", "each"), [
    (40, 5, 1, 10, 1), (40, 5, 0, 10, 3), (7, 2, 1, 10, 1), (100, 20, 1, 20, 2)])
def test_detections(boxes, classes, background, most, each, regular):
    model, inputs = detector(boxes, classes, background, max_detections=most, max_classes_per_detection=each,
                             use_regular_nms=regular, detections_per_class=15)
    same_detections(model, inputs, 1 if regular else each)


def test_detections_of_uint8_encodings_and_options_that_are_missing():
    model, inputs = detector(30, 4, 1, np.uint8, max_detections=10, max_classes_per_detection=1)
    same_detections(model, inputs, 1)

    def without(tree):
        fields = flexbuffers.Dumps({"max_detections": 10})
        tree.subgraphs[0].operators[0].customOptions = np.frombuffer(bytes(fields), np.uint8)

    with pytest.raises(GraphError, match="has no option max_classes_per_detection, num_classes"):
        import_tflite(edited(model, without))

    def damaged(tree):
        tree.subgraphs[0].operators[0].customOptions = np.array([255, 7, 99, 200], np.uint8)

    with pytest.raises(GraphError, match="has options that are no flexbuffers map"):
        import_tflite(edited(model, damaged))
