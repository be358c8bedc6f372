"""Top-1 accuracy and the confusion matrix of a classifier."""

from dataclasses import dataclass

import numpy as np

from ..graph import GraphError


@dataclass(frozen=True, eq=False)
class Accuracy:
    """What one way to compute a network made of the labelled inputs."""

    name: str
    predicted: np.ndarray  # int64 (N,), the class with the largest output
    labels: np.ndarray  # int64 (N,)

    @property
    def correct(self) -> int:
        return int((self.predicted == self.labels).sum())

    @property
    def share(self) -> float:
        """Between 0 and 1."""
        return self.correct / len(self.labels)

    @property
    def confusion(self) -> np.ndarray:
        """int64 (classes, classes): row label, column prediction."""
        classes = 1 + int(max(self.predicted.max(), self.labels.max()))
        return np.bincount(self.labels * classes + self.predicted, minlength=classes**2).reshape(classes, classes)


def checked_labels(labels: np.ndarray, count: int) -> np.ndarray:
    """int64 (N,) for N inputs. Raises `GraphError` for labels that are not classes from 0, one for each input."""
    labels = np.asarray(labels)
    if labels.dtype.kind not in "iu" or labels.ndim != 1 or len(labels) != count or labels.min(initial=0) < 0:
        raise GraphError(f"labels must be {count} whole numbers from 0, one for each input, not {labels.dtype} of "
                         f"shape {labels.shape}")
    return labels.astype(np.int64)


def classes_of(outputs: np.ndarray) -> np.ndarray:
    """The class of each input: the index of the largest of its outputs. Raises `GraphError` for single outputs."""
    rows = outputs.reshape(len(outputs), -1)
    if rows.shape[1] < 2:
        raise GraphError(f"accuracy needs a network whose first output has a value for each class, not shape "
                         f"{outputs.shape}")
    return rows.argmax(1).astype(np.int64)
