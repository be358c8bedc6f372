"""Real numbers to whole ones. Half to even is `np.rint`."""

import numpy as np


def half_away(x: np.ndarray) -> np.ndarray:
    """Half away from zero (std::round), exactly also where x + 0.5 would be rounded up to a whole number."""
    x = np.asarray(x)
    whole = np.trunc(x)
    return whole + np.where(np.abs(x - whole) >= 0.5, np.copysign(whole.dtype.type(1), x), whole.dtype.type(0))
