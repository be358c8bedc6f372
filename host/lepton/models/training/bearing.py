"""`bearing`: detects a failing bearing by its vibration, trained on healthy ones only."""

import numpy as np
from torch import nn

from .recipe import Recipe

RATE = 12000  # samples a second
SAMPLES = 4096  # 0.34 s: ten turns of the shaft
BANDS = 64
SHAFT = 29.95  # Hz
# An SKF 6205: 9 balls of 7.94 mm on a circle of 39.04 mm. The frequency with which balls pass a point of the outer
# ring is balls / 2 * shaft * (1 - ball / circle) (Randall and Antoni, "Rolling element bearing diagnostics", 2011).
BALLS = 9
BALL_PASS = BALLS / 2 * SHAFT * (1 - 7.94 / 39.04)
RESONANCE = 3200.0  # Hz, of the housing that each impact sets ringing
DAMPING = 900.0  # 1/s


def vibration(severity: float, random: np.random.Generator) -> np.ndarray:
    """float64 (SAMPLES,): acceleration of the housing in g; severity: height of the impacts, 0 if healthy."""
    t = np.arange(SAMPLES) / RATE
    speed = random.uniform(0.97, 1.03)  # the load changes
    shaft = sum(
        a * np.sin(2 * np.pi * k * SHAFT * speed * t + random.uniform(0, 6.28))
        for k, a in ((1, 0.10), (2, 0.05), (3, 0.02))
    )
    mesh = 0.03 * np.sin(2 * np.pi * 17 * SHAFT * speed * t + random.uniform(0, 6.28))  # a gear of 17 teeth
    noise = random.normal(0, 0.05 * random.uniform(0.8, 1.2), SAMPLES)
    made = shaft + mesh + noise
    if severity > 0:
        period = RATE / (BALL_PASS * speed)
        at = random.uniform(0, period)
        ring = np.exp(-DAMPING * t) * np.sin(2 * np.pi * RESONANCE * t)
        while at < SAMPLES:
            start = int(at)
            height = severity * random.uniform(0.7, 1.3)
            made[start:] += height * ring[: SAMPLES - start]
            at += period * random.normal(1, 0.01)  # balls slip: 1 % (Randall and Antoni)
    return made


def features(signal: np.ndarray) -> np.ndarray:
    """float32 (BANDS,): logarithm of the energy in bands of equal width up to 6 kHz, about -2 to 2."""
    power = np.abs(np.fft.rfft(signal * np.hanning(SAMPLES)))[1 : SAMPLES // 2 + 1] ** 2
    return ((np.log10(power.reshape(BANDS, -1).mean(1) + 1e-6) - 0.5) / 1.5).astype(np.float32)


def heard(severities: np.ndarray, seed: int) -> np.ndarray:
    random = np.random.default_rng(seed)
    return np.stack([features(vibration(float(s), random)) for s in severities])


def recipe() -> Recipe:
    train = heard(np.zeros(1500), 1)
    validation = heard(np.zeros(300), 2)
    severities = np.concatenate([np.zeros(300), np.random.default_rng(3).uniform(0.02, 0.3, 300)])
    x = heard(severities, 4)
    labels = (severities > 0).astype(np.int64)
    days = np.concatenate([np.zeros(30), np.linspace(0, 0.3, 30)])  # a bearing that begins to fail on day 30
    energy = x.mean(1)
    module = nn.Sequential(
        nn.Linear(BANDS, 32), nn.ReLU(), nn.Linear(32, 8), nn.ReLU(), nn.Linear(8, 32), nn.ReLU(), nn.Linear(32, BANDS)
    )
    from ..metrics import area_under_curve

    return Recipe(
        name="bearing",
        title="a bearing that fails",
        field="industry",
        task="anomaly detection: an autoencoder trained on a healthy machine's vibration; its error is the alarm",
        data="vibration computed from a bearing's geometry (SKF 6205), impacts on its outer ring, and the "
        "housing's resonance",
        licence="data made by the script, weights Apache-2.0",
        synthetic="all signals are computed; no machine was measured",
        input="64 bands of log energy to 6 kHz of 0.34 s of vibration",
        output="the same, as a healthy machine would have them",
        metric="area under the ROC curve",
        module=module,
        train=(train, train),
        validation=(validation, validation),
        test=(x, labels),
        loss=nn.functional.mse_loss,
        epochs=25,
        baselines={"loudness alone": area_under_curve(energy, labels)},
        samples={"inputs": heard(days, 5), "labels": (days > 0).astype(np.int64), "severity": days.astype(np.float32)},
        sample_count=60,
    )
