"""The end of single-shot detectors: boxes from their encodings, and the best of those that overlap.

The C++ names in this module are those of tensorflow/lite/kernels/detection_postprocess.cc.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from ..core import Call, Op, OperandList, Shape, Signature, Tensor
from ..numerics import compiled
from .conditions import dims, of_type, require

__all__ = ["DetectionPostProcess"]

Found = tuple[int, int, float]  # index of a box, class, score


@dataclass(frozen=True)
class DetectionPostProcess(Op):
    """inputs: encodings float32 (1, N, 4) as (y, x, height, width), scores float32 (1, N, classes + background),
    anchors float32 (N, 4) as (y, x, height, width); TFLite's custom operator TFLite_Detection_PostProcess.

    The output (`rows` + 1, 6) holds (ymin, xmin, ymax, xmax, class, score) in each row but the last, whose first
    value is the number of boxes.
    """

    operands = (3, 3)

    detections: int  # largest number of boxes
    classes: int  # without the background, which comes first
    classes_each: int  # classes of a box that are reported
    scales: tuple[float, float, float, float]  # divisors of the encodings: y, x, height, width
    least_score: float
    most_overlap: float  # intersection over union of two boxes that are both kept
    regular: bool = False  # suppress within each class, keeping `detections_each` of each
    detections_each: int = 100

    @property
    def rows(self) -> int:
        """Rows of the result: one for each reported class of a box."""
        return self.detections * self.classes_each

    def infer(self, inputs: OperandList[Tensor]) -> tuple[Shape, np.dtype]:
        boxes, scores, anchors = (dims(t.shape) for t in inputs)
        count = anchors[0] if anchors else 0
        require(boxes == (1, count, 4) and anchors == (count, 4) and len(scores) == 3 and scores[:2] == (1, count)
                and scores[2] - self.classes in (0, 1),
                f"boxes {boxes}, scores {scores} of {self.classes} classes and anchors {anchors} do not fit each other")
        return (self.rows + 1, 6), np.dtype(np.float32)

    def check(self, signature: Signature) -> None:
        for tensor in signature.inputs:
            of_type(tensor, np.float32)
        require(min(self.detections, self.classes, self.classes_each, self.detections_each) >= 1,
                "detections, classes, classes_each and detections_each must be at least 1")
        require(all(s > 0 for s in self.scales) and 0 < self.most_overlap <= 1, "scales must be above 0 and "
                f"most_overlap in 0..1, not {self.scales} and {self.most_overlap}")

    def compute(self, call: Call) -> np.ndarray:
        kernel = call.once("loop", lambda: self._loop(call))
        if kernel is not None:
            return call.through_all(kernel)
        encodings, scores, anchors = call.values
        return self._in_numpy(encodings, scores, anchors, call.often)

    def _in_numpy(self, encodings: np.ndarray, scores: np.ndarray, anchors: np.ndarray, often: bool) -> np.ndarray:
        boxes = self._boxes(encodings[0], anchors)
        scores = scores[0][:, scores.shape[2] - self.classes:]
        loop = compiled.loop("suppress", scores.size, often) if np.isfinite(boxes).all() else None
        found, count = (self._regular if self.regular else self._fast)(boxes, scores, loop)
        result = np.zeros((self.rows + 1, 6), np.float32)
        for row, (box, label, score) in enumerate(found):
            result[row] = (*boxes[box], label, score)
        result[-1, 0] = count
        return result

    def _loop(self, call: Call) -> Callable[[np.ndarray, np.ndarray, np.ndarray], np.ndarray] | None:
        """One compiled loop, of the best class for each box; None where there is none."""
        _, scores, anchors = call.values
        loop = compiled.loop("detect", scores.size, call.often)
        if loop is None or self.regular or self.classes_each > 1 or not len(anchors):
            return None
        scale_y, scale_x, *others = self.scales
        size_scales = np.array(others, np.float32)
        count = len(anchors)
        shape = self.rows + 1, 6
        most = min(self.detections, count)
        settings = scores.shape[2] - self.classes, scale_y, scale_x, self.least_score, self.most_overlap
        often = call.often

        def kernel(encodings: np.ndarray, scores: np.ndarray, anchors: np.ndarray) -> np.ndarray:
            with np.errstate(all="ignore"):
                sizes = encodings[0, :, 2:] / size_scales
                np.exp(sizes, out=sizes)
            reals = np.empty((count, 5), np.float32)
            places = np.empty((3, count), np.int64)
            made = np.empty(shape, np.float32)
            loop(encodings[0], sizes, anchors, scores[0], *settings, reals, places, most, made)
            if not made[-1, 1]:  # NaN or infinity
                return self._in_numpy(encodings, scores, anchors, often)
            made[-1, 1] = 0
            return made
        return kernel

    def _boxes(self, encodings: np.ndarray, anchors: np.ndarray) -> np.ndarray:
        """DecodeCenterSizeBoxes, each step in float32: (N, 4) corners."""
        y, x, height, width = (encodings[:, i] / np.float32(scale) for i, scale in enumerate(self.scales))
        center_y = y * anchors[:, 2] + anchors[:, 0]
        center_x = x * anchors[:, 3] + anchors[:, 1]
        half_height = np.float32(0.5) * np.exp(height) * anchors[:, 2]
        half_width = np.float32(0.5) * np.exp(width) * anchors[:, 3]
        return np.stack([center_y - half_height, center_x - half_width, center_y + half_height, center_x + half_width],
                        axis=1).astype(np.float32)

    def _suppress(self, boxes: np.ndarray, scores: np.ndarray, most: int, loop: compiled.Loop | None) -> list[int]:
        """NonMaxSuppressionSingleClass: places of the boxes that are kept, best first."""
        if loop is not None:
            some = np.empty(min(most, len(scores)), np.int64)
            loop(boxes, np.ascontiguousarray(scores), self.least_score, self.most_overlap,
                 np.empty(len(scores), np.int64), some)
            return [place for place in some.tolist() if place >= 0]
        places = np.flatnonzero(scores >= np.float32(self.least_score))
        places = places[np.argsort(-scores[places], kind="stable")]
        kept: list[int] = []
        while places.size and len(kept) < min(most, len(scores)):
            kept.append(int(places[0]))
            rest = places[1:]
            places = rest[~(_overlap(boxes[kept[-1]], boxes[rest]) > np.float32(self.most_overlap))]
        return kept

    def _fast(self, boxes: np.ndarray, scores: np.ndarray, loop: compiled.Loop | None) -> tuple[list[Found], int]:
        """NonMaxSuppressionMultiClassFastHelper: by the best class of each box, with the next best ones of the same."""
        best = scores.max(axis=1)
        if self.classes_each == 1 and not np.isnan(best).any():
            order = scores.argmax(axis=1)[:, None]
        else:
            # Stable: of equal scores the lower class comes first.
            order = np.argsort(-scores, axis=1, kind="stable")[:, :min(self.classes_each, self.classes)]
            best = np.take_along_axis(scores, order[:, :1], axis=1)[:, 0]
        kept = self._suppress(boxes, best, self.detections, loop)
        return [(box, int(label), float(scores[box, label])) for box in kept for label in order[box]], len(kept)

    def _regular(self, boxes: np.ndarray, scores: np.ndarray, loop: compiled.Loop | None) -> tuple[list[Found], int]:
        """NonMaxSuppressionMultiClassRegularHelper: the best of what each class keeps."""
        found: list[Found] = []
        for label in range(self.classes):
            kept = self._suppress(boxes, scores[:, label], self.detections_each, loop)
            found += [(box, label, float(scores[box, label])) for box in kept]
            found = sorted(found, key=lambda item: -item[2])[:self.detections]
        return found, len(found)


def _overlap(box: np.ndarray, others: np.ndarray) -> np.ndarray:
    """Intersection over union (ComputeIntersectionOverUnion), 0 for boxes without area."""
    area = (box[2] - box[0]) * (box[3] - box[1])
    areas = (others[:, 2] - others[:, 0]) * (others[:, 3] - others[:, 1])
    height = np.maximum(np.minimum(box[2], others[:, 2]) - np.maximum(box[0], others[:, 0]), np.float32(0))
    width = np.maximum(np.minimum(box[3], others[:, 3]) - np.maximum(box[1], others[:, 1]), np.float32(0))
    common = height * width
    with np.errstate(all="ignore"):
        return np.where((area <= 0) | (areas <= 0), np.float32(0), common / (area + areas - common))
