"""Networks that ship with Lepton, with labelled inputs and the outputs of LiteRT's reference kernels.

    model = lepton.models.load("mnist")
    graph = model.graph()

Loading needs numpy only; `graph()` needs the extra `tflite`.
"""

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from lepton.graph import Graph

FOLDER = Path(__file__).parent
NAMES = ("digits", "mnist")


@dataclass(frozen=True, eq=False)
class LeptonModel:
    """A shipped network and its samples (N of them)."""

    name: str
    path: Path  # the TFLite file
    images: np.ndarray  # uint8 (N, height, width), grey values
    labels: np.ndarray  # int64 (N,)
    inputs: np.ndarray  # int8 (N, height, width, 1), the network's inputs
    outputs: np.ndarray  # int8 (N, classes), of LiteRT's BUILTIN_REF kernels for `inputs`
    classes: tuple[str, ...]

    @property
    def card(self) -> str:
        """What there is to know of it, in Markdown: task, figures, how it was made, data and their licence."""
        return (FOLDER / self.name / "README.md").read_text(encoding="utf-8")

    def graph(self) -> Graph:
        """The network; needs the extra `tflite` (ModuleNotFoundError says how to get it)."""
        from lepton.frontends.tflite import import_tflite

        return import_tflite(self.path)

    def accuracy(self, outputs: np.ndarray) -> float:
        """Share of the samples whose largest output, of (N, classes), is the label's."""
        if outputs.shape != self.outputs.shape:
            raise ValueError(f"outputs must have the shape {self.outputs.shape}, not {outputs.shape}")
        return float((outputs.argmax(1) == self.labels).mean())


def to_int8(images: np.ndarray) -> np.ndarray:
    """uint8 grey images (N, height, width) to int8 (N, height, width, 1): pixel - 128, exactly."""
    if images.dtype != np.uint8 or images.ndim != 3:
        raise ValueError(f"images must be uint8 (N, height, width), not {images.dtype} {images.shape}")
    return (images.astype(np.int16) - 128).astype(np.int8)[..., None]


def load(name: str = "mnist") -> LeptonModel:
    """A shipped model by its name. Raises ValueError for an unknown name."""
    if name not in NAMES:
        raise ValueError(f"model must be one of {', '.join(NAMES)}, not {name!r}; read your own file with "
                         "lepton.frontends.import_tflite")
    folder = FOLDER / name
    with np.load(folder / f"{name}_samples.npz", allow_pickle=False) as samples:
        images = samples["images"]
        labels = samples["labels"].astype(np.int64)
        outputs = samples["outputs"]
    return LeptonModel(name, folder / f"{name}.tflite", images, labels, to_int8(images), outputs,
                       tuple(str(digit) for digit in range(10)))
