"""Quantize and dequantize nodes, with which convert_pt2e says what is int8.

Every int8 value of the converted module is a pair of them: quantize(float result) and dequantize(int8). Weights and
biases are constants behind a dequantize node. The operators are those of torch.ops.quantized_decomposed, which
torchao 0.18 registers.
"""

from dataclasses import dataclass

import numpy as np
import torch
import torchao.quantization.pt2e.quantize_pt2e  # noqa: F401  registers torch.ops.quantized_decomposed
from torch.fx import GraphModule, Node

from lepton.graph import GraphError, Quantization, Tensor

from .execution import Execution
from .nodes import described, overload_of

_Q = torch.ops.quantized_decomposed
QUANTIZE = (_Q.quantize_per_tensor.default, _Q.quantize_per_tensor.tensor)
DEQUANTIZE = (_Q.dequantize_per_tensor.default, _Q.dequantize_per_tensor.tensor)
DEQUANTIZE_CHANNELS = (_Q.dequantize_per_channel.default,)
QDQ = (*QUANTIZE, *DEQUANTIZE, *DEQUANTIZE_CHANNELS)


@dataclass(frozen=True, eq=False)
class ConstantWeights:
    """Constant int8 weights or int32 biases as PyTorch has them, and their quantization along `axis`."""

    data: np.ndarray
    scale: np.ndarray  # float32 (1,) or (channels,)
    zero_point: np.ndarray  # int32, as `scale`
    axis: int | None


def is_quantized(module: GraphModule) -> bool:
    """Whether convert_pt2e has made this module."""
    return any(node.target in (*QUANTIZE, *DEQUANTIZE) for node in module.graph.nodes)


def grid(execution: Execution, node: Node) -> Quantization:
    """Scale and zero point of a quantize or dequantize node of one scale. Raises GraphError for other than int8."""
    arguments = execution.arguments(node)
    low = arguments.integer("quant_min")
    high = arguments.integer("quant_max")
    dtype = arguments.given("dtype")
    if dtype != torch.int8 or (low, high) != (-128, 127):
        raise GraphError(f"{described(node)}: activations must be int8 in -128..127, not {dtype} in {low}..{high};"
                         " quantize with LeptonQuantizer")
    scale = _array(execution, arguments.given("scale"), np.float32)
    zero_point = _array(execution, arguments.given("zero_point"), np.int32)
    return Quantization(scale, zero_point)


def weights(execution: Execution, node: object) -> ConstantWeights | None:
    """What a dequantize node makes of constant int8 weights or int32 biases; None for other nodes."""
    if not isinstance(node, Node) or node.target not in (*DEQUANTIZE, *DEQUANTIZE_CHANNELS):
        return None
    arguments = execution.arguments(node)
    data = execution.parameter(arguments.operand())
    if data is None or data.dtype not in (torch.int8, torch.int32):
        return None
    per_channel = node.target in DEQUANTIZE_CHANNELS
    scale = _array(execution, arguments.given("scales" if per_channel else "scale"), np.float32)
    zero_point = _array(execution, arguments.given("zero_points" if per_channel else "zero_point"), np.int32)
    return ConstantWeights(data.numpy(), scale, zero_point, arguments.integer("axis") if per_channel else None)


def _array(execution: Execution, argument: object, dtype: type[np.generic]) -> np.ndarray:
    """A scale or zero point, or one for each channel, as an array of one dimension."""
    return np.atleast_1d(torch.as_tensor(execution.resolved(argument)).numpy().astype(dtype))


def requantized(execution: Execution, node: Node, values: torch.Tensor) -> torch.Tensor:
    """What the quantize node makes of other values: int8, by PyTorch's own kernel."""
    quantize = overload_of(node)
    assert quantize is not None, node
    with torch.no_grad():
        return quantize(values, *map(execution.resolved, node.args[1:]))


def on_one_grid(*tensors: Tensor) -> bool:
    """Whether the same int8 values stand for the same reals in all tensors."""
    first = tensors[0].parameters
    return all(same(first, tensor.parameters) for tensor in tensors)


def same(a: Quantization, b: Quantization) -> bool:
    """Whether two quantizations stand for the same reals."""
    return np.array_equal(a.scale, b.scale) and np.array_equal(a.zero_point, b.zero_point)
