"""Inner loops of the host's kernels, compiled by numba (part of the extras of the front ends, and of `fast`).

They give the bytes of the code in numpy, which is the definition and runs where numba is absent, where operands are
small, where a loop cannot be compiled, and with `LEPTON_COMPILED=0` in the environment. numba keeps what it has
compiled in `__pycache__` or the user's cache folder, if it may write there. Loops use one thread and release the GIL.
"""

import os
import threading
from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np

from . import loops

SWITCH = "LEPTON_COMPILED"  # environment
_LARGE = 1 << 16  # elements for which a loop is loaded: numba's import takes about 0.4 s, a loop 0.2 to 1 s, once
_ROW = 1 << 12  # elements of a long row

Loop = Callable[..., None]

_loaded: dict[str, Loop | None] = {}
_loading = threading.Lock()


def _in_child() -> None:
    """After a fork while another thread loaded: numba's locks are never released, so no further loop is loaded."""
    global _loading
    if _loading.locked():
        _loading = threading.Lock()
        for name in loops.TYPES:
            _loaded.setdefault(name, None)


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_in_child)


def loop(name: str, size: int, often: bool = False) -> Loop | None:
    """The compiled function `name` of the module `loops` for `size` elements; None where numpy is to compute.

    `often`: it is loaded for few elements too. Arrays given to it are copied where they are not contiguous, aligned and
    in the machine's byte order, so the result must be a new array. Other arguments are Python's numbers, which numba
    takes ten times as fast as numpy's.
    """
    if (name not in _loaded and not often and size < _LARGE) or os.environ.get(SWITCH, "1") == "0":
        return None
    if name not in _loaded:
        with _loading:
            if name not in _loaded:
                _loaded[name] = _load(name)
    return _loaded[name]


def together_rows(rows: int, columns: int) -> int:
    """How many short rows of a contiguous array are best taken as one: a divisor of `rows`, for a loop over a row is
    slow to begin."""
    most = max(_ROW // columns, 1)
    return next(count for count in range(min(most, rows), 0, -1) if rows % count == 0)


def _load(name: str) -> Loop | None:
    function = loops.FUNCTIONS[name]
    for cache in (True, False):
        try:
            made = _compiled(function, loops.TYPES[name], cache)
        except Exception:  # numba's, LLVM's and the file system's have no common base; numpy is always there
            continue

        return partial(_called, made)
    return None


def _called(run: Loop, *arguments: Any) -> None:
    try:
        run(*arguments)
    except TypeError:  # an array has another layout, alignment or byte order
        run(*(np.require(a, a.dtype.newbyteorder("="), ["C", "A"]) if isinstance(a, np.ndarray) else a
              for a in arguments))


def _compiled(function: Loop, types: str, cache: bool) -> Loop:
    """`types` are those of the arguments; a name in capitals is an array that is only read."""
    import numba

    from . import vector  # noqa: F401  # registers the intrinsics

    def argument(word: str) -> Any:
        element = word.rstrip("[]:,")
        dimensions = word.count(":")
        if not dimensions:
            return getattr(numba.types, element)
        return numba.types.Array(getattr(numba.types, element.lower()), dimensions, "C", readonly=element.isupper())

    signature = numba.types.void(*(argument(word) for word in types.split()))
    return numba.njit(signature, cache=cache, fastmath=False, nogil=True, error_model="numpy")(function)
