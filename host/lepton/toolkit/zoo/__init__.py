"""Networks with weights. Each has a folder entry: NAME.npz with the weights, NAME.json with its card, train_NAME.py.

    python -m lepton.toolkit.zoo.train_digits_features      # writes both files again
"""

import hashlib
import json
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from torch import nn

FOLDER = Path(__file__).parent


@dataclass(frozen=True)
class ZooCard:
    """What there is to know of a network. `layers` are the arguments of its layers, in order."""

    name: str
    task: str
    data: str
    licence: str
    input_shape: tuple[int, ...]
    output_shape: tuple[int, ...]
    layers: list[dict[str, Any]]
    figures: dict[str, float]  # measured by the script
    sha256: str  # of the file of weights

    @property
    def weights(self) -> Path:
        return FOLDER / f"{self.name}.npz"


def cards() -> dict[str, ZooCard]:
    """All networks by name."""
    return {card.name: card for card in map(read_card, sorted(FOLDER.glob("*.json")))}


def read_card(path: Path) -> ZooCard:
    """The card in a file."""
    values: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    values["input_shape"] = tuple(values["input_shape"])
    values["output_shape"] = tuple(values["output_shape"])
    return ZooCard(**values)


def card(name: str) -> ZooCard:
    """Raises ValueError for an unknown name."""
    found = cards()
    if name not in found:
        raise ValueError(f"model must be one of {', '.join(found)}, not {name!r}")
    return found[name]


def build(layers: list[dict[str, Any]]) -> "nn.Sequential":
    """Untrained layers of a card."""
    from torch import nn

    kinds: dict[str, Any] = {"conv": nn.Conv2d, "relu": nn.ReLU, "pool": nn.MaxPool2d, "flatten": nn.Flatten,
                             "dense": nn.Linear}
    return nn.Sequential(*(kinds[layer["kind"]](**{k: v for k, v in layer.items() if k != "kind"})
                           for layer in layers))


def module(entry: ZooCard) -> "nn.Sequential":
    """The network of a card with its weights. Raises ValueError where the file is not the one of the card."""
    import numpy as np
    import torch

    data = entry.weights.read_bytes()
    if hashlib.sha256(data).hexdigest() != entry.sha256:
        raise ValueError(f"{entry.weights}: is not the file that the card {entry.name!r} describes; install Lepton "
                         "again, or train it again with its script")
    made = build(entry.layers)
    with np.load(entry.weights, allow_pickle=False) as arrays:
        made.load_state_dict({key: torch.from_numpy(arrays[key]) for key in arrays.files})
    return made.eval()
