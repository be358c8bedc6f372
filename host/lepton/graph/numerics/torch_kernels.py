"""PyTorch's own kernels for operators on floats.

Exponentials, sums and interpolations of float32 are not the same from one implementation to the next: who wants the
last bit of PyTorch's results must compute with its kernels. They are used for networks that come from PyTorch where
the package is installed (extra `torch`); elsewhere the operators' own arithmetic in numpy gives the same to a few
units in the last place. `LEPTON_TORCH=0` in the environment turns them off.
"""

import os
from collections.abc import Callable, Sequence
from functools import cache, partial
from typing import Any

import numpy as np

from ..core import Arithmetic, Call, Tensor

SWITCH = "LEPTON_TORCH"  # environment
# Functions whose last bits depend on who computes them; square roots of many values are those of the MKL.
_ROUNDED = ("exp", "log", "sigmoid", "tanh", "erf", "sqrt")
_SUMMED = ("sum", "mean")  # reductions that round in between


@cache
def _package() -> Any | None:
    try:
        import torch
    except ImportError:
        return None
    return torch


def available() -> bool:
    return os.environ.get(SWITCH, "1") != "0" and _package() is not None


def decides(op: Any, output: Tensor) -> bool:
    """Whether the last bit of the operator's result depends on PyTorch computing it."""
    if np.dtype(output.dtype) != np.float32 or type(op).__name__ not in _KERNELS:
        return False
    kind = getattr(op, "kind", getattr(op, "mode", None))
    return kind is None or kind in (*_ROUNDED, *_SUMMED, "bilinear")


def run(op: Any, call: Call) -> np.ndarray | None:
    """The operator's result for `call`; None where the network is not from PyTorch, the result is not of floats, the
    package is not there, or numpy's result is the same anyway."""
    kind = type(op).__name__
    if (call.arithmetic is not Arithmetic.TORCH or kind not in _KERNELS
            or (call.x.dtype != np.float32 and kind != "Aten") or not available()):
        return None
    torch = _package()
    assert torch is not None
    kernel = op.with_torch(torch) if kind == "Aten" else partial(_KERNELS[kind], torch, op)
    shares = _may_share(torch, kernel, call.values.items)
    made = _computed(torch, kernel, shares, call.values.items)
    if made is not None and made.shape == tuple(call.output.shape) and made.dtype == call.output.dtype:
        call.continue_with(partial(_computed, torch, kernel, shares))
    return made


def _may_share(torch: Any, kernel: Callable[..., Any], values: Sequence[np.ndarray | None]) -> bool:
    """Whether the kernel returns its operand, or a view of one: so it does for all values."""
    tensors = [None if v is None else torch.from_numpy(_taken(v)) for v in values]
    result = kernel(*tensors)
    return result is not None and any(
        t is not None and t.untyped_storage().data_ptr() == result.untyped_storage().data_ptr() for t in tensors)


def _computed(torch: Any, kernel: Callable[..., Any], shares: bool, values: Sequence[np.ndarray | None]) -> Any:
    """A new array; None where numpy's result is the same anyway, which `values` do not decide.

    PyTorch keeps no gradients: tensors of arrays need none.
    """
    from_numpy = torch.from_numpy
    result = kernel(*[None if v is None else from_numpy(v if v.flags.carray and v.dtype.isnative else _taken(v))
                      for v in values])
    if result is None:
        return None
    made: np.ndarray = (result if result.is_contiguous() else result.contiguous()).numpy()
    return made.copy() if shares else made


def _taken(x: np.ndarray) -> np.ndarray:
    """`x` as PyTorch takes arrays: contiguous, writable and in the machine's byte order; no kernel here writes."""
    return x if x.flags.carray and x.dtype.isnative else np.array(x, x.dtype.newbyteorder("="), order="C")


def _reduce(torch: Any, op: Any, x: Any) -> Any:
    if op.kind not in _SUMMED:
        return None
    return getattr(torch, op.kind)(x, list(op.axes), op.keep_dims)


def _unary(torch: Any, op: Any, x: Any) -> Any:
    return getattr(torch, op.kind)(x) if op.kind in _ROUNDED else None


def _mean(torch: Any, op: Any, x: Any) -> Any:
    """Of an image (N, H, W, C), summed as PyTorch sums (N, C, H, W)."""
    image = x.permute(0, 3, 1, 2).contiguous().mean((2, 3), op.keep_dims)
    return image.permute(0, 2, 3, 1) if op.keep_dims else image


def _resize(torch: Any, op: Any, x: Any) -> Any:
    if op.mode != "bilinear" or op.coordinates not in ("half_pixel", "align_corners"):
        return None
    image = x.permute(0, 3, 1, 2).contiguous()
    made = torch.ops.aten.upsample_bilinear2d.default(image, list(op.size), op.coordinates == "align_corners",
                                                      *(op.scales or (None, None)))
    return made.permute(0, 2, 3, 1)


_KERNELS: dict[str, Callable[..., Any]] = {
    "MatMul": lambda torch, op, a, b: torch.matmul(a, b),
    "Softmax": lambda torch, op, x: torch.softmax(x, op.axis) if op.beta == 1 else None,
    "Unary": _unary, "Reduce": _reduce, "Mean": _mean, "Resize": _resize,
    "Aten": lambda torch, op, *operands: op.with_torch(torch)(*operands),
}
