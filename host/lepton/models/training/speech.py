"""Spoken words by `espeak-ng` in many voices, with rooms and noise, as log-mel features.

The speech is synthetic: formant synthesis of espeak-ng (package `espeak-ng` of Debian, GPL-3.0; its output is ours).
No person's voice was recorded.
"""

import io
import shutil
import subprocess
import wave

import numpy as np

WORDS = ("other", "lepton", "lights on", "lights off", "warmer", "stop")
OTHER = ("apple", "window", "hello there", "good morning", "table", "seven", "music", "later on", "lipstick", "warning",
         "shop", "lights", "off we go", "leopard")
VARIANTS = ("m1", "m2", "m3", "m4", "m5", "m6", "m7", "f1", "f2", "f3", "f4", "f5")
ACCENTS = ("en-us", "en-gb", "en-gb-scotland", "en-029")
TEST_VARIANTS = ("m7", "f5", "m4")  # voices that train nothing and choose nothing
VALIDATION_VARIANTS = ("m6", "f4")
RATE = 16000
SECONDS = 1.024
FRAMES = 16  # of 64 ms
BANDS = 16
_WINDOW = 1024  # samples: 64 ms


def say(text: str, accent: str, variant: str, pitch: int, speed: int) -> np.ndarray:
    """float32 (samples,) at 16 kHz within -1..1. Raises RuntimeError without espeak-ng."""
    program = shutil.which("espeak-ng")
    if program is None:
        raise RuntimeError("espeak-ng is missing; install it with: apt-get install espeak-ng")
    made = subprocess.run([program, "-v", f"{accent}+{variant}", "-p", str(pitch), "-s", str(speed), "--stdout", text],
                          check=True, capture_output=True).stdout
    with wave.open(io.BytesIO(made)) as file:
        rate = file.getframerate()
        samples = np.frombuffer(file.readframes(file.getnframes()), np.int16).astype(np.float32) / 32768
    at = np.arange(0, len(samples) - 1, rate / RATE)
    return np.interp(at, np.arange(len(samples)), samples).astype(np.float32)


def in_a_room(sound: np.ndarray, random: np.random.Generator) -> np.ndarray:
    """The word at a random time in `SECONDS`, with a room's decaying echo and noise of 5 to 30 dB below it."""
    whole = np.zeros(round(SECONDS * RATE), np.float32)
    loud = np.flatnonzero(np.abs(sound) > 0.02)
    sound = sound[loud[0]:loud[-1] + 1][:len(whole)] if len(loud) else sound[:0]
    start = random.integers(0, len(whole) - len(sound) + 1)
    whole[start:start + len(sound)] = sound
    decay = random.uniform(0.05, 0.3)  # seconds to 1/e of the echo
    taps = round(decay * RATE)
    echo = random.standard_normal(taps) * np.exp(-np.arange(taps) / (decay * RATE / 3)) * random.uniform(0, 0.05)
    echo[0] = 1
    size = 1 << (len(whole) + taps).bit_length()
    heard = np.fft.irfft(np.fft.rfft(whole, size) * np.fft.rfft(echo, size), size)[:len(whole)]
    level = np.sqrt((heard**2).mean()) + 1e-3
    noise = random.standard_normal(len(whole))
    if random.random() < 0.5:  # brown noise: engines, fans
        noise = np.cumsum(noise)
        noise = (noise - noise.mean()) / noise.std()
    heard = heard + noise * level * 10 ** (-random.uniform(5, 30) / 20)
    return (heard * random.uniform(0.3, 1) / np.abs(heard).max()).astype(np.float32)


def features(sound: np.ndarray) -> np.ndarray:
    """float32 (BANDS, FRAMES): log energy of mel bands from 100 Hz to 7 kHz, with mean 0 and deviation 1."""
    frames = sound[:FRAMES * _WINDOW].reshape(FRAMES, _WINDOW) * np.hanning(_WINDOW)
    power = np.abs(np.fft.rfft(frames, axis=1)) ** 2
    edges = _hertz(np.linspace(_mel(100.0), _mel(7000.0), BANDS + 2))
    hertz = np.fft.rfftfreq(_WINDOW, 1 / RATE)
    up = (hertz - edges[:-2, None]) / (edges[1:-1] - edges[:-2])[:, None]
    down = (edges[2:, None] - hertz) / (edges[2:] - edges[1:-1])[:, None]
    energy = np.log(np.maximum(np.minimum(up, down), 0) @ power.T + 1e-4)
    return ((energy - energy.mean()) / (energy.std() + 1e-3)).astype(np.float32)


def _mel(hertz: float) -> float:
    return 2595 * np.log10(1 + hertz / 700)  # O'Shaughnessy, "Speech Communication", 1987


def _hertz(mel: np.ndarray) -> np.ndarray:
    return 700 * (10 ** (mel / 2595) - 1)


def spoken(variants: tuple[str, ...], copies: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """float32 (N, BANDS, FRAMES) and the classes int64 (N,): every word in every accent, `copies` rooms of each."""
    random = np.random.default_rng(seed)
    x = []
    y = []
    for variant in variants:
        for accent in ACCENTS:
            for text in (*WORDS[1:], *OTHER):
                sound = say(text, accent, variant, int(random.integers(30, 70)), int(random.integers(140, 200)))
                label = WORDS.index(text) if text in WORDS else 0
                for _ in range(copies if label else max(1, copies // 2)):
                    x.append(features(in_a_room(sound, random)))
                    y.append(label)
    for _ in range(len(y) // 20):  # silence
        x.append(features(in_a_room(np.zeros(RATE // 2, np.float32), random)))
        y.append(0)
    return np.stack(x), np.array(y, np.int64)
