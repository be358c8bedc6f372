"""The grids of values: ranges from calibration, biases, and attention's scores and masks."""

import math
from collections.abc import Sequence

import torch
from torch.fx import GraphModule, Node
from torchao.quantization.pt2e import FakeQuantize, MinMaxObserver, ObserverBase
from torchao.quantization.pt2e.quantizer import DerivedQuantizationSpec, QuantizationSpec

from .masks import adds, constant_of, only_scored
from .nodes import Arguments
from .operators import MATRIX_PRODUCTS, WITH_WEIGHTS, kind

_EPS = 2.0**-16  # the smallest scale, that of values that are always 0; torchao's observers have 2**-23


def spec(observer: type[ObserverBase], low: int, high: int, scheme: torch.qscheme,
          axis: int | None = None) -> QuantizationSpec:
    # A FakeQuantize is an observer too: training sees the rounding, calibration turns it off.
    options = {} if axis is None else {"ch_axis": axis}
    return QuantizationSpec(torch.int8, FakeQuantize.with_args(observer=observer, eps=_EPS, **options), low, high,
                            scheme, axis)


def bias_spec(node: Node, per_channel: bool) -> DerivedQuantizationSpec:
    """int32 in steps of input scale times weight scale, what the chip adds: PyTorch's own result has it too then."""
    def derive(observers: Sequence[ObserverBase]) -> tuple[torch.Tensor, torch.Tensor]:
        x, _ = observers[0].calculate_qparams()
        weights, _ = observers[1].calculate_qparams()
        scale = (x * weights).to(torch.float32)
        return scale, torch.zeros_like(scale, dtype=torch.int32)

    scheme = torch.per_channel_symmetric if per_channel else torch.per_tensor_symmetric
    arguments = Arguments(node)
    return DerivedQuantizationSpec([(arguments.operand(0), node), (arguments.operand(1), node)], derive, torch.int32,
                                   -(2**31), 2**31 - 1, scheme, 0 if per_channel else None)


def depth_of_zero(length: int) -> float:
    """The distance below the largest of `length` scores from which scores do not change an int8 softmax: the
    exponentials of all of them add up to at most half a step of 1/256."""
    return math.log(512 * length)


class ScoresObserver(MinMaxObserver):
    """The range of what a softmax along the last axis reads: from the least of the rows' largest values, less
    `depth_of_zero`, or from the smallest value where that is above, to the largest value."""

    def forward(self, x_orig: torch.Tensor) -> torch.Tensor:
        largest = x_orig.detach().amax(-1)
        shown = largest[torch.isfinite(largest)]
        if shown.numel():
            floor = shown.min() - depth_of_zero(x_orig.shape[-1])
            super().forward(x_orig.clamp(min=floor))
        return x_orig


class ProbabilityObserver(MinMaxObserver):
    """254 steps from 0 to the largest value: the zero point is -127. That of -128 would cost a product one more pass,
    since its amount, 128, is no int8 value."""

    def calculate_qparams(self) -> tuple[torch.Tensor, torch.Tensor]:
        largest = max(float(self.max_val), 0.0) if torch.isfinite(self.max_val) else 0.0
        return torch.tensor([max(largest / 254, _EPS)]), torch.tensor([-127], dtype=torch.int32)


def mask_spec(node: Node, scores: Node, mask: Node, module: GraphModule | None) -> DerivedQuantizationSpec:
    """The grid of a mask that `node` adds to scores: its smallest value is low enough to hide any of them."""
    constant = constant_of(module, mask)
    reach = depth_of_zero(node.meta["val"].shape[-1])

    def derive(observers: Sequence[ObserverBase]) -> tuple[torch.Tensor, torch.Tensor]:
        scale, _ = observers[0].calculate_qparams()
        low = -255 * float(scale) - reach
        high = -low
        if constant is not None:
            low = min(max(low, float(constant.min())), 0.0)
            high = max(min(high, float(constant.max())), 0.0)
        step = max((high - low) / 255, torch.finfo(torch.float32).eps)
        return (torch.tensor([step], dtype=torch.float32),
                torch.tensor([min(max(-128 - round(low / step), -128), 127)], dtype=torch.int64))

    return DerivedQuantizationSpec([(scores, node)], derive, torch.int8, -128, 127, torch.per_tensor_affine)


def masked_scores(node: Node) -> tuple[Node, Node] | None:
    """The scores and the mask of a sum that only a softmax reads; None where both operands are scores, or none.

    A mask is a constant of several elements, or what the caller gives as an input, moved or not.
    """
    operands = [operand for operand in node.args[:2] if isinstance(operand, Node)]
    if len(operands) != 2 or not adds(node) or not only_scored(node):
        return None
    masks = [operand for operand in operands if _is_given(operand)]
    scores = [operand for operand in operands if operand not in masks]
    return (scores[0], masks[0]) if len(masks) == len(scores) == 1 else None


def _is_given(node: Node) -> bool:
    """Whether the value comes from the module's own values and its inputs without a layer in between."""
    if node.op in ("get_attr", "placeholder"):
        return True
    return (node.op == "call_function" and node.target not in MATRIX_PRODUCTS and kind(node) not in WITH_WEIGHTS
            and all(map(_is_given, node.all_input_nodes)))
