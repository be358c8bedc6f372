"""Trains `digits-features`: a backbone that turns a picture of a digit into three maps of features.

    python -m lepton.toolkit.zoo.train_digits_features

The data are the 8 x 8 digits of scikit-learn (UCI "Optical Recognition of Handwritten Digits"): the first 900 train
it, together with a classifier that is dropped; 897 are left for those who train with it.
"""

import hashlib
import json
from typing import Any

import numpy as np
import torch
from torch import nn

from . import FOLDER, build

NAME = "digits-features"
TRAINED = 900  # pictures; the script's own accuracy is that on the others
EPOCHS = 30
LAYERS: list[dict[str, Any]] = [
    {"kind": "conv", "in_channels": 1, "out_channels": 16, "kernel_size": 3, "padding": 1}, {"kind": "relu"},
    {"kind": "conv", "in_channels": 16, "out_channels": 3, "kernel_size": 3, "padding": 1}, {"kind": "relu"},
]


def pictures() -> tuple[np.ndarray, np.ndarray]:
    """float32 (1797, 1, 8, 8) from 0 to 1, and the digits."""
    from sklearn.datasets import load_digits

    x, y = load_digits(return_X_y=True)
    return (x / 16).astype(np.float32).reshape(-1, 1, 8, 8), y.astype(np.int64)


def train() -> tuple[nn.Sequential, float]:
    """The backbone, and the accuracy of its classifier on the pictures that did not train it."""
    torch.set_num_threads(1)  # sums in one order: the same weights on every machine of one kind
    torch.manual_seed(0)
    x, y = (torch.from_numpy(a) for a in pictures())
    backbone = build(LAYERS)
    network = nn.Sequential(backbone, nn.Flatten(), nn.Linear(192, 10))
    optimizer = torch.optim.Adam(network.parameters(), 0.005)
    for epoch in range(EPOCHS):
        for batch in torch.randperm(TRAINED, generator=torch.Generator().manual_seed(epoch)).split(30):
            optimizer.zero_grad()
            nn.functional.cross_entropy(network(x[batch]), y[batch]).backward()
            optimizer.step()
    with torch.no_grad():
        accuracy = float((network(x[TRAINED:]).argmax(1) == y[TRAINED:]).float().mean())
    return backbone, accuracy


def main() -> None:
    backbone, accuracy = train()
    path = FOLDER / f"{NAME}.npz"
    np.savez(path, **{key: value.numpy() for key, value in backbone.state_dict().items()})
    card = {
        "name": NAME, "task": "features of handwritten digits, for layers that are added",
        "data": "scikit-learn's digits (UCI Optical Recognition of Handwritten Digits), the first 900 of 1797",
        "licence": "data CC BY 4.0 (UCI), weights Apache-2.0", "input_shape": [1, 8, 8], "output_shape": [3, 8, 8],
        "layers": LAYERS, "figures": {"accuracy_of_a_linear_classifier": round(accuracy, 4)},
        "sha256": hashlib.sha256(path.read_bytes()).hexdigest(),
    }
    (FOLDER / f"{NAME}.json").write_text(json.dumps(card, indent=1) + "\n", encoding="utf-8")
    print(f"{NAME}: accuracy {accuracy:.4f}, {path.stat().st_size} bytes")


if __name__ == "__main__":
    main()
