"""Networks that ship with Lepton, with samples of their inputs, and the outputs that these must give.

    model = lepton.models.load("mnist")
    graph = model.graph()

`card` has the facts about each, `metrics` the functions that measure them, `training` and the scripts `train_*` the
training.
Loading needs numpy only; `graph()` needs the extra `tflite`, or `torch` for networks stored as .pt2.
"""

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from lepton.graph import Graph

from .card import FOLDER, Card, ModelFilesError, cards, markdown
from .metrics import METRICS

NAMES = tuple(cards())

__all__ = [
    "FOLDER",
    "METRICS",
    "NAMES",
    "Card",
    "LeptonModel",
    "ModelFilesError",
    "cards",
    "load",
    "markdown",
    "to_int8",
]


@dataclass(frozen=True, eq=False)
class LeptonModel:
    """A shipped network and its samples (N of them)."""

    facts: Card
    path: Path  # the network's file
    images: np.ndarray  # uint8 (N, height, width), grey values, where the inputs are made of them; else the inputs
    labels: np.ndarray  # int64 (N,) classes, or what else the metric takes; of length 0 without labels
    inputs: np.ndarray  # (N, ...), the network's inputs in the type that it takes
    outputs: np.ndarray  # (N, ...), of the card's reference for `inputs`
    classes: tuple[str, ...]
    extra: dict[str, np.ndarray]  # what else the samples' file has, like a picture or dates

    @property
    def name(self) -> str:
        return self.facts.name

    @property
    def card(self) -> str:
        """What there is to know of it, in Markdown: task, figures, how it was made, data and their licence."""
        return (self.facts.folder / "README.md").read_text(encoding="utf-8")

    def graph(self) -> Graph:
        """The network; needs the extra `tflite` or `torch` (ModuleNotFoundError says how to get it)."""
        from lepton.frontends import load as load_network

        return load_network(self.path)

    def score(self, outputs: np.ndarray) -> float | None:
        """The card's metric of `outputs` for the samples; None where they have no labels."""
        if outputs.shape != self.outputs.shape:
            raise ValueError(f"outputs must have the shape {self.outputs.shape}, not {outputs.shape}")
        return METRICS[self.facts.metric](self.inputs, outputs, self.labels) if len(self.labels) else None

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
    """A shipped model by its name. Raises ValueError for an unknown name, `ModelFilesError` for files that differ."""
    if name not in NAMES:
        raise ValueError(
            f"model must be one of {', '.join(NAMES)}, not {name!r}; read your own file with lepton.frontends.load"
        )
    card = cards()[name]
    card.check()
    with np.load(card.folder / f"{name}_samples.npz", allow_pickle=False) as file:
        samples = {key: file[key] for key in file.files}
    outputs = samples.pop("outputs")
    labels = samples.pop("labels", np.empty(0))
    if labels.dtype.kind in "iu":
        labels = labels.astype(np.int64)
    if "images" in samples:
        images = samples.pop("images")
        inputs = to_int8(images)
    else:
        inputs = samples.pop("inputs")
        if inputs.dtype == np.uint8:  # pictures, stored in a byte for each value
            inputs = inputs.astype(np.float32) / 255
        images = inputs
    return LeptonModel(card, card.path, images, labels, inputs, outputs, card.classes, samples)
