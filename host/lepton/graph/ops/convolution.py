"""Convolutions of int8 images (N, H, W, C).

Sources: tensorflow/lite/kernels/internal/reference/integer_ops/{conv,depthwise_conv,transpose_conv}.h; sums are exact
integers in every framework, so that only the requantization (`weights.finished`) differs.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from math import prod

import numpy as np

from ..core import FULL, Call, Op, OperandList, Padding, Pair, Shape, Signature, Tensor
from ..numerics import compiled
from .conditions import clamp_range, image, require
from .weights import bias_of, centred, check_layer, exact_type, finished, finisher, many_products, product, shape_of
from .windows import NONE, added, in_range, window_size, windows

__all__ = ["Conv2D", "DepthwiseConv2D", "TransposeConv2D"]

_PATCH_BYTES = 1 << 26  # the largest im2col matrix: 64 MiB, a small part of a host's memory
_BLOCK = 1 << 15  # sums of a depthwise convolution at a time: 128 KiB of int32 stay in the second-level cache
# Taps of a window whose sum fits in int32 for all values: less its zero point, an int8 is at most 255 in magnitude.
_INT32_TAPS = (2**31 - 1) // (255 * 255)
_INT8 = np.dtype(np.int8)


@dataclass(frozen=True)
class Conv2D(Op):
    """inputs: x int8 (N,H,W,C), weights int8 (O,Kh,Kw,C/groups), bias int32 (O,) or none.

    A zero point of the weights other than 0 is allowed (legacy uint8 networks, moved to int8).
    """

    operands = (2, 3)
    one_image = True

    stride: Pair = (1, 1)
    dilation: Pair = (1, 1)
    padding: Padding = NONE
    groups: int = 1
    clamp: Pair = FULL  # on the quantized output
    unsigned: bool = False

    def infer(self, inputs: OperandList[Tensor]) -> tuple[Shape, np.dtype]:
        x = inputs[0]
        shape = shape_of(inputs, 4)
        batch, _, _, channels = image(x)
        outputs, kernel_y, kernel_x, per_group = shape
        require(self.groups >= 1 and per_group * self.groups == channels and outputs % self.groups == 0,
                f"weights of shape {shape} in {self.groups} groups do not fit {channels} input channels")
        size = window_size(x, (kernel_y, kernel_x), self.stride, self.dilation, self.padding)
        return (batch, *size, outputs), _INT8

    def check(self, signature: Signature) -> None:
        check_layer(signature, 0)
        clamp_range(self.clamp)

    def padded(self, border: Padding) -> "Conv2D | None":
        padding = added(self.padding, border)
        return None if padding is None else replace(self, padding=padding)

    def compute(self, call: Call) -> np.ndarray:
        """By im2col, a few rows at a time."""
        kernel = call.once("loops", lambda: self._loops(call))
        if kernel is not None:
            return call.through(lambda x: kernel(x[0]))
        x = call.x[0].astype(np.int16) - call.inputs[0].zero_point
        weights = centred(call.inputs[1])
        outputs, kernel_y, kernel_x, per_group = weights.shape
        # BLAS multiplies floats many times faster than numpy multiplies integers; `exact_type` keeps the sums exact.
        exact = exact_type(x, weights.reshape(outputs, -1).T)
        view = windows(x.astype(exact), (kernel_y, kernel_x), self.stride, self.dilation, self.padding)
        height, width = view.shape[:2]
        total = np.empty((height, width, outputs), np.int64)
        each = outputs // self.groups
        columns = [weights[g * each:(g + 1) * each].reshape(each, -1).T.astype(exact) for g in range(self.groups)]
        rows = max(1, _PATCH_BYTES // max(8 * width * per_group * kernel_y * kernel_x, 1))
        for start in range(0, height, rows):
            some = view[start:start + rows]
            for g, matrix in enumerate(columns):
                patches = some[:, :, g * per_group:(g + 1) * per_group].transpose(0, 1, 3, 4, 2)
                made = patches.reshape(-1, len(matrix)) @ matrix
                total[start:start + rows, :, g * each:(g + 1) * each] = made.reshape(*some.shape[:2], each)
        return finished(call, total, self.clamp, in_double=not self.unsigned)[None]

    def _loops(self, call: Call) -> Callable[[np.ndarray], np.ndarray] | None:
        """From one image (H,W,C) to (1,H,W,O)."""
        weights = centred(call.inputs[1])
        outputs, kernel_y, kernel_x, per_group = weights.shape
        shape = tuple(call.output.shape)
        pixels = shape[1] * shape[2]
        length = kernel_y * kernel_x * per_group
        size = prod(shape)
        patches = compiled.loop("patches", size, call.often)
        dots = compiled.loop("dots", size, call.often)
        finish = finisher(call, self.clamp, in_double=not self.unsigned)
        if patches is None or dots is None or finish is None or 2 * pixels * length > _PATCH_BYTES:
            return None
        if many_products(call, size * length):
            return None
        each = outputs // self.groups
        rows = np.ascontiguousarray(weights.reshape(self.groups, each, length))
        bias = bias_of(call, outputs).reshape(self.groups, each)
        (top, _), (left, _) = self.padding
        window = kernel_y, kernel_x, *self.stride, *self.dilation, top, left, shape[2], call.inputs[0].zero_point

        def group(x: np.ndarray, g: int) -> np.ndarray:
            matrix = np.empty((pixels, length), np.int16)
            patches(x, g * per_group, per_group, *window, matrix)
            total = np.empty((pixels, each), np.int32)
            dots(matrix, rows[g], bias[g], total)
            return total

        def kernel(x: np.ndarray) -> np.ndarray:
            totals = [group(x, g) for g in range(self.groups)]
            return finish(totals[0] if len(totals) == 1 else np.concatenate(totals, axis=1)).reshape(shape)
        return kernel

    def macs(self, signature: Signature) -> int:
        return prod(signature.output.shape) * prod(signature.inputs[1].shape[1:])


@dataclass(frozen=True)
class DepthwiseConv2D(Op):
    """inputs: x int8 (N,H,W,C), weights int8 (1,Kh,Kw,C*multiplier), bias int32 (C*multiplier,) or none."""

    operands = (2, 3)
    one_image = True

    stride: Pair = (1, 1)
    dilation: Pair = (1, 1)
    padding: Padding = NONE
    multiplier: int = 1
    clamp: Pair = FULL
    unsigned: bool = False

    def infer(self, inputs: OperandList[Tensor]) -> tuple[Shape, np.dtype]:
        x = inputs[0]
        shape = shape_of(inputs, 4)
        batch, _, _, channels = image(x)
        one, kernel_y, kernel_x, outputs = shape
        require(one == 1 and self.multiplier >= 1 and outputs == channels * self.multiplier,
                f"weights of shape {shape} do not fit {channels} input channels with multiplier {self.multiplier}")
        size = window_size(x, (kernel_y, kernel_x), self.stride, self.dilation, self.padding)
        return (batch, *size, outputs), _INT8

    def check(self, signature: Signature) -> None:
        check_layer(signature, 3)
        clamp_range(self.clamp)

    def padded(self, border: Padding) -> "DepthwiseConv2D | None":
        padding = added(self.padding, border)
        return None if padding is None else replace(self, padding=padding)

    def compute(self, call: Call) -> np.ndarray:
        kernel = call.once("loops", lambda: self._loops(call))
        if kernel is not None:
            return call.through(lambda x: kernel(x[0]))
        x = call.x[0].astype(np.int16) - call.inputs[0].zero_point
        weights = centred(call.inputs[1])[0]
        x = np.repeat(x, self.multiplier, axis=2) if self.multiplier > 1 else x
        view = windows(x.astype(np.int32), weights.shape[:2], self.stride, self.dilation, self.padding)
        total = np.zeros(view.shape[:3], np.int64 if weights[..., 0].size > _INT32_TAPS else np.int32)
        factors = weights.astype(np.int32)
        rows = max(1, _BLOCK // max(total[0].size, 1))
        for start in range(0, len(total), rows):
            some = view[start:start + rows]
            made = total[start:start + rows]
            for ky, kx in np.ndindex(*factors.shape[:2]):
                made += some[..., ky, kx] * factors[ky, kx]
        return finished(call, total, self.clamp, in_double=not self.unsigned)[None]

    def _loops(self, call: Call) -> Callable[[np.ndarray], np.ndarray] | None:
        """From one image (H,W,C) to (1,H,W,O)."""
        shape = tuple(call.output.shape)
        loop = compiled.loop("depthwise", prod(shape), call.often)
        finish = finisher(call, self.clamp, in_double=not self.unsigned)
        if loop is None or finish is None:
            return None
        weights = centred(call.inputs[1])[0].astype(np.int32)
        bias = bias_of(call, shape[3])
        (top, _), (left, _) = self.padding
        window = self.multiplier, *self.stride, *self.dilation, top, left, call.inputs[0].zero_point

        def kernel(x: np.ndarray) -> np.ndarray:
            total = np.empty(shape[1:], np.int32)
            loop(x, weights, bias, *window, total)
            return finish(total.reshape(-1, shape[3])).reshape(shape)
        return kernel

    def macs(self, signature: Signature) -> int:
        return prod(signature.output.shape) * prod(signature.inputs[1].shape[1:3])


@dataclass(frozen=True)
class TransposeConv2D(Op):
    """inputs: x int8 (N,H,W,C), weights int8 (O,Kh,Kw,C), bias int32 (O,) or none.

    Every input pixel adds its weighted kernel to the output at `stride` times its position, less the top and left
    padding. The output has `size` (height, width); what falls outside is dropped.
    """

    operands = (2, 3)
    one_image = True

    size: Pair
    stride: Pair = (1, 1)
    padding: Padding = NONE
    clamp: Pair = FULL
    unsigned: bool = False

    def infer(self, inputs: OperandList[Tensor]) -> tuple[Shape, np.dtype]:
        shape = shape_of(inputs, 4)
        batch, _, _, channels = image(inputs[0])
        require(shape[3] == channels, f"weights of shape {shape} do not fit {channels} input channels")
        in_range((shape[1], shape[2]), self.stride, (1, 1), self.padding)
        require(min(self.size) >= 1, f"the size must be at least (1, 1), not {self.size}")
        return (batch, *self.size, shape[0]), _INT8

    def check(self, signature: Signature) -> None:
        check_layer(signature, 0)
        clamp_range(self.clamp)

    def compute(self, call: Call) -> np.ndarray:
        x = call.x[0].astype(np.int16) - call.inputs[0].zero_point
        weights = centred(call.inputs[1])
        height, width, channels = x.shape
        outputs, kernel_y, kernel_x, _ = weights.shape
        (top, _), (left, _) = self.padding
        extent = [max((n - 1) * s + k, edge + target) for n, s, k, edge, target in
                  zip((height, width), self.stride, (kernel_y, kernel_x), (top, left), self.size, strict=True)]
        canvas = np.zeros((*extent, outputs), np.int64)
        pixels = x.reshape(-1, channels)
        for ky, kx in np.ndindex(kernel_y, kernel_x):
            part = product(pixels, weights[:, ky, kx].T).reshape(height, width, outputs)
            canvas[ky:ky + (height - 1) * self.stride[0] + 1:self.stride[0],
                   kx:kx + (width - 1) * self.stride[1] + 1:self.stride[1]] += part
        total = canvas[top:top + self.size[0], left:left + self.size[1]]
        return finished(call, total, self.clamp, in_double=not self.unsigned)[None]

    def macs(self, signature: Signature) -> int:
        return prod(signature.inputs[0].shape[:3]) * prod(signature.inputs[1].shape)
