"""How numba compiles the functions of `loops.intrinsics`. Importing this module imports numba."""

from typing import Any

from numba import types
from numba.extending import intrinsic, overload, register_jitable

from .loops import boxes, fixed, intrinsics

for _helper in (*fixed.HELPERS, *boxes.HELPERS):
    register_jitable(_helper)


@intrinsic
def _fma(typing_context: Any, a: Any, b: Any, c: Any) -> Any:
    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        return builder.fma(*arguments)
    return types.float32(types.float32, types.float32, types.float32), generate


@overload(intrinsics.fma)
def _overloaded_fma(a: Any, b: Any, c: Any) -> Any:
    def implementation(a: Any, b: Any, c: Any) -> Any:
        return _fma(a, b, c)  # type: ignore[call-arg]  # numba passes the first one
    return implementation
