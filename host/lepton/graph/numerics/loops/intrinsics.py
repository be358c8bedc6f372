"""Instructions of the processor that numpy has no name for; `vector` tells numba how to compile them."""

import numpy as np


def fma(a: np.float32, b: np.float32, c: np.float32) -> np.float32:
    """a * b + c, rounded once. Of a with at most 29 significant bits fewer than float64 has, exactly; compiled, always.
    """
    return np.float32(np.float64(a) * np.float64(b) + np.float64(c))
