"""What a kernel is given: an operator, its operands and where the result goes."""

from dataclasses import dataclass

import numpy as np

from ...graph import Arithmetic, Op, Tensor


def zero_point(tensor: Tensor) -> int:
    """Per-tensor zero point; 0 where there is no quantization."""
    return 0 if tensor.quantization is None else int(tensor.quantization.zero_point.reshape(-1)[0])


def scale(tensor: Tensor) -> np.float32:
    """Per-tensor scale as the frameworks hold it."""
    return np.float32(tensor.quantization.scale.reshape(-1)[0])


def inverse_scale(tensor: Tensor) -> np.float32:
    """1 / scale as PyTorch's quantize_per_tensor multiplies by it: divided in double, then float32."""
    return np.float32(1 / float(scale(tensor)))


@dataclass(frozen=True, eq=False)
class Call:
    """One execution of an operator. `tensors` and `values` go with the operands, None where one is left out."""

    op: Op
    arithmetic: Arithmetic
    tensors: list[Tensor | None]
    values: list[np.ndarray | None]
    output: Tensor

    @property
    def x(self) -> np.ndarray:
        return self.values[0]

    @property
    def quantized(self) -> bool:
        """Does the result have a scale to be brought to, as int8 and uint8 results do?"""
        return np.dtype(self.output.dtype) in (np.int8, np.uint8) and self.output.quantization is not None

    @property
    def fixed(self) -> bool:
        return self.arithmetic is Arithmetic.FIXED

    @property
    def torch(self) -> bool:
        return self.arithmetic is Arithmetic.TORCH

    @property
    def offset(self) -> int:
        """How far the framework's own numbers lie above those here: it rounds `reals + zero point + offset`."""
        return 128 if getattr(self.op, "unsigned", False) else 0

    def limits(self) -> tuple[int, int]:
        """Smallest and largest result of a quantized operator."""
        info = np.iinfo(self.output.dtype)
        low, high = getattr(self.op, "clamp", (info.min, info.max))
        return max(low, info.min), min(high, info.max)
