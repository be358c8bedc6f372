"""What the cards measure. Each function takes inputs, real outputs and labels, N of each, and gives one number."""

from collections.abc import Callable

import numpy as np

CELL = 8  # pixels of one cell of the detector's output
OVERLAP = 0.5  # of a box and a label, at which they are the same object (PASCAL VOC's)
Box = tuple[int, float, float, float, float, float]  # kind, left, top, right, bottom in pixels, confidence


def accuracy(inputs: np.ndarray, outputs: np.ndarray, labels: np.ndarray) -> float:
    """The share of inputs whose largest output is the label's."""
    return float((outputs.reshape(len(outputs), -1).argmax(1) == labels).mean())


def mean_absolute_error(inputs: np.ndarray, outputs: np.ndarray, labels: np.ndarray) -> float:
    return float(np.abs(outputs.reshape(labels.shape) - labels).mean())


def dice(inputs: np.ndarray, outputs: np.ndarray, labels: np.ndarray) -> float:
    """2 |found and wanted| / (|found| + |wanted|); a logit above 0 is found."""
    found = outputs > 0
    wanted = labels > 0.5
    return float(2 * (found & wanted).sum() / max(1, found.sum() + wanted.sum()))


def reconstruction_error(inputs: np.ndarray, outputs: np.ndarray) -> np.ndarray:
    """float64 (N,): the mean square of what an autoencoder does not reproduce."""
    return ((inputs.astype(np.float64) - outputs.reshape(inputs.shape)) ** 2).reshape(len(inputs), -1).mean(1)


def anomalies(inputs: np.ndarray, outputs: np.ndarray, labels: np.ndarray) -> float:
    """Area under the ROC curve of the reconstruction's error."""
    return area_under_curve(reconstruction_error(inputs, outputs), labels)


def area_under_curve(scores: np.ndarray, labels: np.ndarray) -> float:
    """The share of pairs of an anomaly and a normal input where the anomaly has the higher score; ties count half."""
    bad = np.asarray(scores)[labels == 1]
    good = np.sort(np.asarray(scores)[labels == 0])
    below = np.searchsorted(good, bad, "left") + np.searchsorted(good, bad, "right")
    return float(below.sum() / (2 * len(bad) * len(good)))


def boxes(output: np.ndarray, least: float = 0.5) -> list[Box]:
    """The objects in one output (6, rows, columns) of `road`, the surest first, without weaker ones that overlap."""
    sure = 1 / (1 + np.exp(-output[:2]))
    found: list[Box] = []
    for kind, row, column in np.argwhere(sure >= least):
        x = (column + output[2, row, column]) * CELL
        y = (row + output[3, row, column]) * CELL
        width, height = np.exp(output[4:, row, column]) * CELL
        found.append(
            (
                int(kind),
                float(x - width / 2),
                float(y - height / 2),
                float(x + width / 2),
                float(y + height / 2),
                float(sure[kind, row, column]),
            )
        )
    found.sort(key=lambda box: -box[5])
    kept: list[Box] = []
    for box in found:
        if all(overlap(box, other) < OVERLAP for other in kept):
            kept.append(box)
    return kept


def overlap(one: Box, other: Box) -> float:
    """The area that two boxes share, of that which they cover together."""
    width = min(one[3], other[3]) - max(one[1], other[1])
    height = min(one[4], other[4]) - max(one[2], other[2])
    both = max(0.0, width) * max(0.0, height)
    areas = sum((box[3] - box[1]) * (box[4] - box[2]) for box in (one, other))
    return both / (areas - both) if areas > both else 0.0


def detection(inputs: np.ndarray, outputs: np.ndarray, labels: np.ndarray) -> float:
    """F1 of boxes of the right kind that overlap a label's by half."""
    right = 0
    made = 0
    wanted = 0
    for output, label in zip(outputs, labels, strict=True):
        truth = boxes(np.concatenate([label[:2] * 20 - 10, label[2:]]))
        found = boxes(output)
        made += len(found)
        wanted += len(truth)
        for box in found:
            match = next((t for t in truth if t[0] == box[0] and overlap(t, box) >= OVERLAP), None)
            if match is not None:
                truth.remove(match)
                right += 1
    return 2 * right / max(1, made + wanted)


METRICS: dict[str, Callable[[np.ndarray, np.ndarray, np.ndarray], float]] = {
    "accuracy": accuracy,
    "mean absolute error": mean_absolute_error,
    "Dice coefficient": dice,
    "area under the ROC curve": anomalies,
    "F1 of boxes": detection,
}
LOWER_IS_BETTER = ("mean absolute error",)
