"""Instructions of the processor that numpy has no name for; `vector` tells numba how to compile them."""

import numpy as np


def fma(a: np.float32, b: np.float32, c: np.float32) -> np.float32:
    """a * b + c. Compiled, it is rounded once. In numpy the product is exact and the sum is rounded twice, to float64
    and to float32."""
    return np.float32(np.float64(a) * np.float64(b) + np.float64(c))
