"""Layers with float32 weights, for networks that are quantized in part; on the host, with any number of image axes.

`loaded` are the positions of the operands that ONNX Runtime has when it loads the network. It packs such weights (Conv
in blocks of channels, "NCHWc"; products for its own loops) and adds in another order than with weights that it gets at
run time, as those behind a DequantizeLinear, which it does not fold.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from math import prod

import numpy as np

from ..core import Call, Op, OperandList, Pair, Shape, Signature, Tensor
from ..numerics import onnxruntime_kernels
from .conditions import MAX_WINDOW, check_loaded, dims, of_type, require
from .windows import effective_kernel, output_size

__all__ = ["FloatConv", "FloatConvTranspose", "FloatGemm"]

_FLOAT32 = np.dtype(np.float32)


def _operands(inputs: OperandList[Tensor], groups: int, outputs_of: str) -> tuple[Shape, Shape]:
    """Shapes of x and weights, whose first two axes are (outputs, inputs / groups), or the other way round."""
    shape = dims(inputs[0].shape)
    kernel = dims(inputs[1].shape)
    require(len(shape) >= 3 and len(kernel) == len(shape) and min(*shape, *kernel) >= 1,
            f"x and weights must have the same number of dimensions, 3 or more of at least 1, not shapes {shape} and "
            f"{kernel}")
    channels = kernel[1] * groups if outputs_of == "first" else kernel[0]
    outputs = kernel[0] if outputs_of == "first" else kernel[1] * groups
    require(groups >= 1 and shape[1] == channels and outputs % groups == 0 and channels % groups == 0,
            f"weights of shape {kernel} in {groups} groups do not fit {shape[1]} input channels")
    return shape, kernel


def _of_float32(inputs: OperandList[Tensor]) -> None:
    for tensor in inputs.given:
        of_type(tensor, np.float32)


def _check_bias(bias: Tensor, outputs: int) -> None:
    require(dims(bias.shape) == (outputs,), f"the bias must have shape ({outputs},), not {dims(bias.shape)}")


def _in_range(axes: int, **settings: Sequence[int]) -> None:
    for what, values in settings.items():
        least = 0 if "padding" in what else 1
        require(len(values) == axes and all(least <= v <= MAX_WINDOW for v in values),
                f"{what} must be {axes} numbers in {least}..{MAX_WINDOW}, not {tuple(values)}")


@dataclass(frozen=True)
class ConvolutionOp(Op):
    """x (N,C,...) and weights (O,C/groups,...) with any number of image axes; output (N,O,...)."""

    stride: tuple[int, ...]
    dilation: tuple[int, ...]
    padding: tuple[Pair, ...]
    groups: int = 1

    def shape(self, inputs: OperandList[Tensor]) -> Shape:
        """The output's."""
        shape, kernel = _operands(inputs, self.groups, "first")
        axes = len(shape) - 2
        _in_range(axes, stride=self.stride, dilation=self.dilation)
        require(len(self.padding) == axes, f"padding must have {axes} pairs, not {self.padding}")
        _in_range(2 * axes, padding=[n for pair in self.padding for n in pair])
        size = tuple(output_size(*axis) for axis in
                     zip(shape[2:], kernel[2:], self.stride, self.dilation, self.padding, strict=True))
        require(min(size) >= 1, f"the kernel {kernel[2:]} with dilation {self.dilation} does not fit {shape[2:]} with "
                                f"padding {self.padding}")
        return (shape[0], kernel[0], *size)

    def sums(self, x: np.ndarray, weights: np.ndarray, shape: Shape) -> np.ndarray:
        """Of the products, in the operands' type, tap by tap of the kernel: a product of matrices over the channels
        each."""
        batch, outputs, *size = shape
        groups = self.groups
        padded = np.pad(x, ((0, 0), (0, 0), *self.padding))
        total = np.zeros((batch, groups, outputs // groups, prod(size)), x.dtype)
        taps = weights.reshape(groups, outputs // groups, *weights.shape[1:])
        for tap in np.ndindex(*weights.shape[2:]):
            where = tuple(slice(t * d, t * d + (n - 1) * s + 1, s) for t, d, n, s in
                          zip(tap, self.dilation, size, self.stride, strict=True))
            pixels = padded[(slice(None), slice(None), *where)].reshape(batch, groups, -1, prod(size))
            total += taps[(slice(None), slice(None), slice(None), *tap)] @ pixels
        return total.reshape(shape)

    def macs(self, signature: Signature) -> int:
        return prod(signature.output.shape) * prod(signature.inputs[1].shape[1:])


@dataclass(frozen=True)
class FloatConv(ConvolutionOp):
    """inputs: x float32 (N,C,...), weights float32 (O,C/groups,...), bias float32 (O,) or none; output (N,O,...).

    Sums are exact to double precision and rounded once; frameworks round in between, in an order of their own. For a
    network from ONNX they are ONNX Runtime's own where that is installed.
    """

    operands = (2, 3)

    loaded: tuple[int, ...] = ()

    def infer(self, inputs: OperandList[Tensor]) -> tuple[Shape, np.dtype]:
        _of_float32(inputs)
        bias = inputs.get(2)
        shape = self.shape(inputs)
        if bias is not None:
            _check_bias(bias, shape[1])
        return shape, _FLOAT32

    def check(self, signature: Signature) -> None:
        check_loaded(self.loaded, signature)

    def compute(self, call: Call) -> np.ndarray:
        own = onnxruntime_kernels.run(call, "Conv", (
            ("strides", self.stride), ("dilations", self.dilation), ("group", self.groups),
            ("pads", tuple(n for side in zip(*self.padding, strict=True) for n in side))), loaded=self.loaded)
        if own is not None:
            return own
        x, weights = call.values[:2]
        # Products of float32 are exact in float64, and its sums lose less than half a unit of float32.
        return _biased(call, self.sums(x.astype(np.float64), weights.astype(np.float64), tuple(call.output.shape)))


@dataclass(frozen=True)
class FloatConvTranspose(Op):
    """inputs: x float32 (N,C,...), weights float32 (C,O/groups,...), bias float32 (O,) or none; output (N,O,*size).

    Every element adds its weighted kernel at `stride` times its position less the first padding of each axis; what
    falls outside of `size` is dropped. Sums as in `FloatConv`.
    """

    operands = (2, 3)

    size: tuple[int, ...]
    stride: tuple[int, ...]
    dilation: tuple[int, ...]
    padding: tuple[int, ...]  # before each axis
    groups: int = 1
    loaded: tuple[int, ...] = ()

    def infer(self, inputs: OperandList[Tensor]) -> tuple[Shape, np.dtype]:
        _of_float32(inputs)
        shape, kernel = _operands(inputs, self.groups, "second")
        bias = inputs.get(2)
        if bias is not None:
            _check_bias(bias, kernel[1] * self.groups)
        _in_range(len(shape) - 2, size=self.size, stride=self.stride, dilation=self.dilation, padding=self.padding)
        return (shape[0], kernel[1] * self.groups, *self.size), _FLOAT32

    def check(self, signature: Signature) -> None:
        check_loaded(self.loaded, signature)

    def compute(self, call: Call) -> np.ndarray:
        x, weights = call.values[:2]
        batch, channels, *extents = x.shape
        after = [(n - 1) * s + effective_kernel(k, d) - before - target for n, s, k, d, before, target in
                 zip(extents, self.stride, weights.shape[2:], self.dilation, self.padding, self.size, strict=True)]
        # ONNX has no attribute for a size; it follows from the padding after each axis, which may be below 0 here.
        own = onnxruntime_kernels.run(call, "ConvTranspose", (
            ("strides", self.stride), ("dilations", self.dilation), ("group", self.groups),
            ("output_padding", tuple(max(-n, 0) for n in after)),
            ("pads", (*self.padding, *(max(n, 0) for n in after)))), loaded=self.loaded)
        if own is not None:
            return own
        groups = self.groups
        kernel = weights.shape[2:]
        whole = [max((n - 1) * s + effective_kernel(k, d), before + target) for n, s, k, d, before, target in
                 zip(extents, self.stride, kernel, self.dilation, self.padding, self.size, strict=True)]
        canvas = np.zeros((batch, groups, weights.shape[1], *whole))
        pixels = x.astype(np.float64).reshape(batch, groups, channels // groups, -1)
        taps = weights.astype(np.float64).reshape(groups, channels // groups, *weights.shape[1:])
        for tap in np.ndindex(*kernel):
            matrix = taps[(slice(None), slice(None), slice(None), *tap)].swapaxes(1, 2)
            where = tuple(slice(t * d, t * d + (n - 1) * s + 1, s) for t, d, n, s in
                          zip(tap, self.dilation, extents, self.stride, strict=True))
            canvas[(slice(None), slice(None), slice(None), *where)] += (matrix @ pixels).reshape(
                batch, groups, -1, *extents)
        kept = tuple(slice(before, before + n) for before, n in zip(self.padding, self.size, strict=True))
        return _biased(call, canvas[(slice(None), slice(None), slice(None), *kept)].reshape(call.output.shape))

    def macs(self, signature: Signature) -> int:
        return prod(signature.inputs[0].shape) * prod(signature.inputs[1].shape[1:])


@dataclass(frozen=True)
class FloatGemm(Op):
    """inputs: a float32 (M,K), b (K,N), c that broadcasts to (M,N) or none; output alpha * a @ b + beta * c.

    With `transposed_a` or `transposed_b` that operand has its axes the other way round. Sums as in `FloatConv`.
    """

    operands = (2, 3)

    alpha: float = 1.0
    beta: float = 1.0
    transposed_a: bool = False
    transposed_b: bool = False
    loaded: tuple[int, ...] = ()

    def infer(self, inputs: OperandList[Tensor]) -> tuple[Shape, np.dtype]:
        for tensor in inputs.given:
            of_type(tensor, np.float32)
        a, b = (dims(t.shape) for t in inputs[:2])
        require(len(a) == len(b) == 2, f"a and b must be matrices, not of shapes {a} and {b}")
        rows, length = a[::-1] if self.transposed_a else a
        also, columns = b[::-1] if self.transposed_b else b
        require(length == also, f"a of shape {a} and b of shape {b} do not multiply")
        c = inputs.get(2)
        require(c is None or (len(c.shape) <= 2 and all(
            n in (1, extent) for n, extent in zip(dims(c.shape)[::-1], (columns, rows), strict=False))),
            f"c must broadcast to {(rows, columns)}")
        return (rows, columns), _FLOAT32

    def check(self, signature: Signature) -> None:
        check_loaded(self.loaded, signature)

    def compute(self, call: Call) -> np.ndarray:
        own = onnxruntime_kernels.run(call, "Gemm", (
            ("alpha", float(self.alpha)), ("beta", float(self.beta)), ("transA", int(self.transposed_a)),
            ("transB", int(self.transposed_b))), loaded=self.loaded)
        if own is not None:
            return own
        a, b = call.values[:2]
        c = call.values.get(2)
        with np.errstate(all="ignore"):  # infinities are results here, as in the framework
            made: np.ndarray = (a.T if self.transposed_a else a) @ (b.T if self.transposed_b else b)
            made = made if self.alpha == 1 else made * np.float32(self.alpha)
            return made if c is None else made + (c if self.beta == 1 else c * np.float32(self.beta))

    def macs(self, signature: Signature) -> int:
        return prod(signature.inputs[0].shape) * int(signature.output.shape[1])


def _biased(call: Call, total: np.ndarray) -> np.ndarray:
    bias = call.values.get(2)
    if bias is not None:
        total = total + bias.reshape(-1, *[1] * (total.ndim - 2))
    with np.errstate(over="ignore"):  # infinities are results here, as in the framework
        return total.astype(np.float32)
