"""The loops that `compiled` compiles: in the part of Python that numba knows, each the same as code in numpy.

Every array has its own type and is contiguous. Innermost loops are without branches, so that LLVM makes vector
instructions of them. `TYPES` are the types of the arguments, arrays that are only read in capitals.
"""

from collections.abc import Callable
from types import ModuleType

from . import boxes, elementwise, fixed, images, layers, moves, pairs, pools, rows, sums

_MODULES: tuple[ModuleType, ...] = (elementwise, pairs, sums, rows, fixed, images, pools, layers, boxes, moves)

TYPES: dict[str, str] = {name: types for module in _MODULES for name, types in module.TYPES.items()}
FUNCTIONS: dict[str, Callable[..., None]] = {name: getattr(module, name) for module in _MODULES
                                             for name in module.TYPES}
