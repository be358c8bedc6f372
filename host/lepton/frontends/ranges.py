"""Which real interval a tensor's int8 values stand for: found from the values that calibration sees."""

import numpy as np
import torch

from lepton.graph import GraphError

METHODS = ("minmax", "percentile", "mse")
BINS = 4096
LEVELS = 255  # steps between -128 and 127


class Observer:
    """Collects the values of one tensor over all batches: their extremes and, if asked for, a histogram.

    The histogram's interval is symmetric and doubles when a value falls outside; pairs of bins then merge, so
    that one pass over the calibration data is enough.
    """

    def __init__(self, name: str, histogram: bool):
        self.name = name
        self.low = self.high = 0.0  # the real value 0 always has an exact int8 value, as TFLite demands
        self.counts = np.zeros(BINS) if histogram else None
        self.bound = 0.0

    def add(self, values: torch.Tensor):
        """Raises GraphError for values that are not finite."""
        low, high = (float(v) for v in torch.aminmax(values))
        if not (np.isfinite(low) and np.isfinite(high)):
            raise GraphError(f"{self.name}: calibration computes values that are not finite")
        self.low, self.high = min(self.low, low), max(self.high, high)
        if self.counts is not None:
            self._widen(max(-low, high))
            counts = torch.histc(values.float().flatten(), BINS, -self.bound, self.bound) if self.bound else None
            self.counts += 0 if counts is None else counts.numpy()

    def _widen(self, magnitude: float):
        if self.bound == 0.0:
            self.bound = magnitude
        while magnitude > self.bound:
            quarter = BINS // 4
            merged = self.counts.reshape(-1, 2).sum(1)
            self.counts = np.concatenate((np.zeros(quarter), merged, np.zeros(quarter)))
            self.bound *= 2

    def range(self, method: str, percentile: float) -> tuple[float, float]:
        """(low, high), with low <= 0 <= high."""
        if method == "minmax" or self.bound == 0.0:
            return self.low, self.high
        edges = np.linspace(-self.bound, self.bound, BINS + 1)
        if method == "percentile":
            share = np.cumsum(self.counts) / self.counts.sum()
            tail = 1 - percentile / 100
            low = edges[np.searchsorted(share, tail, side="right")]
            high = edges[min(np.searchsorted(share, 1 - tail) + 1, BINS)]
            return min(0.0, max(self.low, float(low))), max(0.0, min(self.high, float(high)))
        return self._least_error((edges[:-1] + edges[1:]) / 2)

    def _least_error(self, centers: np.ndarray) -> tuple[float, float]:
        """The range with the least mean squared error of rounding and clipping together: one end, then the other."""
        def error(low: float, high: float) -> float:
            scale, zero_point = affine(low, high)
            q = np.clip(np.round(centers / scale) + zero_point, -128, 127)
            return float(np.dot(self.counts, (centers - scale * (q - zero_point)) ** 2))

        ratios = np.geomspace(1.0, 0.02, 80)
        high = min((self.high * ratios).tolist(), key=lambda bound: error(self.low, bound))
        low = min((self.low * ratios).tolist(), key=lambda bound: error(bound, high))
        return low, high


def affine(low: float, high: float) -> tuple[np.float32, int]:
    """(scale, zero point) of asymmetric int8 for the interval low..high, which includes 0.

    The zero point is the int8 value nearest to where 0 falls. A tensor that is always 0 gets a scale of 1.
    """
    scale = np.float32((high - low) / LEVELS)
    if not scale > np.finfo(np.float32).tiny:
        return np.float32(1.0), 0
    return scale, int(np.clip(np.round(-128 - low / float(scale)), -128, 127))
