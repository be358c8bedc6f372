"""Operators of the graph that compute PyTorch's operators on floats: each is made of the node's arguments.

What has no operator here is `Aten`, see `floats`.
"""

from collections.abc import Callable
from dataclasses import dataclass

from lepton.graph import Cast, Op, Reduce, Resize, Softmax

from .nodes import Arguments
from .windows import stated_scales


@dataclass(frozen=True)
class HostOperator:
    """`operator` makes the graph's operator, for the first `operands` arguments of the node."""

    operator: Callable[[Arguments], Op]
    operands: int = 1
    least_rank: int = 0  # of the operands
    converts: bool = False  # operand and result may be of other types than float32
    images: bool = False  # (N, C, H, W) for PyTorch, (N, H, W, C) in the graph


def always(op: Op, operands: int = 1, least_rank: int = 0) -> HostOperator:
    """An operator whose attributes do not depend on the arguments."""
    return HostOperator(lambda arguments: op, operands, least_rank)


def reduced(kind: str) -> HostOperator:
    def operator(arguments: Arguments) -> Op:
        rank = arguments.tensor_of(arguments.operand()).ndim
        axes = arguments.integers("dim") if arguments.has("dim") else ()
        keep_dims = arguments.flag("keepdim") if arguments.has("keepdim") else False
        return Reduce(kind, tuple(sorted(axis % rank for axis in axes or range(rank))), keep_dims)

    return HostOperator(operator)


def _softmax(arguments: Arguments) -> Op:
    return Softmax(axis=arguments.integer("dim"))


def _cast(arguments: Arguments) -> Op:
    return Cast(str(arguments.result.dtype).removeprefix("torch."))


def _bilinear(arguments: Arguments) -> Op:
    """The scales are used only where corners are not aligned (area_pixel_compute_scale in PyTorch 2.13's
    aten/src/ATen/native/UpSample.h)."""
    height, width = arguments.shape[2:]
    if arguments.flag("align_corners"):
        return Resize((height, width), "bilinear", "align_corners")
    return Resize((height, width), "bilinear", "half_pixel", scales=stated_scales(arguments))


SOFTMAX = HostOperator(_softmax)
CAST = HostOperator(_cast, converts=True)
BILINEAR = HostOperator(_bilinear, images=True)
