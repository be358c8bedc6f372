"""Products of matrices.

Sources: tensorflow/lite/kernels/internal/reference/integer_ops/fully_connected.h, reference/batch_matmul.h.
"""

from collections.abc import Callable
from dataclasses import dataclass
from math import prod

import numpy as np

from ..core import FULL, Call, GraphError, Op, OperandList, Pair, Shape, Signature, Tensor
from ..numerics import compiled, onnxruntime_kernels
from ..numerics.fixedpoint import quantize_multiplier, split_shift
from ..numerics.requantize import from_sums, requantizer, sum_scales
from .conditions import check_loaded, clamp_range, dims, int8, of_type, require, same_type
from .weights import bias_of, centred, check_layer, finished, finisher, many_products, product, shape_of

__all__ = ["Einsum", "FullyConnected", "MatMul"]

_FEW = 1 << 16  # products, which take about 5 us


@dataclass(frozen=True)
class FullyConnected(Op):
    """inputs: x int8, weights int8 (O,I), bias int32 (O,) or none.

    x (..., I) gives (..., O), or with `keep_dims` off (rows, O). Any other shape of a multiple of I elements is
    taken as rows of I elements in their order: the output is (rows, O).
    """

    operands = (2, 3)

    clamp: Pair = FULL
    keep_dims: bool = True

    def infer(self, inputs: OperandList[Tensor]) -> tuple[Shape, np.dtype]:
        outputs, length = shape_of(inputs, 2)
        shape = dims(inputs[0].shape)
        rows, rest = divmod(prod(shape), length)
        require(rest == 0 and rows > 0, f"weights of shape {(outputs, length)} do not fit the input of shape {shape}")
        kept = self.keep_dims and shape[-1:] == (length,)
        require(kept or rows == 1 or shape[-1] == length,
                f"weights of shape {(outputs, length)} do not fit rows of the input of shape {shape}")
        return ((*shape[:-1], outputs) if kept else (rows, outputs)), np.dtype(np.int8)

    def check(self, signature: Signature) -> None:
        check_layer(signature, 0)
        clamp_range(self.clamp)

    def compute(self, call: Call) -> np.ndarray:
        kernel = call.once("loops", lambda: self._loops(call))
        if kernel is not None:
            return call.through(kernel)
        weights = centred(call.inputs[1])
        total = product((call.x.astype(np.int16) - call.inputs[0].zero_point).reshape(-1, weights.shape[1]), weights.T)
        return finished(call, total, self.clamp, in_double=True, once=True).reshape(call.output.shape)

    def _loops(self, call: Call) -> Callable[[np.ndarray], np.ndarray] | None:
        shape = tuple(call.output.shape)
        weights = np.ascontiguousarray(centred(call.inputs[1]))
        outputs, length = weights.shape
        dots = compiled.loop("dots", self.macs(call), call.often)
        finish = finisher(call, self.clamp, in_double=True, once=True)
        if dots is None or finish is None or many_products(call, self.macs(call)):
            return None
        bias = bias_of(call, outputs)
        zero = np.int16(call.inputs[0].zero_point)
        one_loop = self._one_loop(call, weights, bias)
        if one_loop is not None:
            return one_loop

        def kernel(x: np.ndarray) -> np.ndarray:
            rows = np.subtract(x.reshape(-1, length), zero, dtype=np.int16)
            total = np.empty((len(rows), outputs), np.int32)
            dots(rows, weights, bias, total)
            return finish(total).reshape(shape)
        return kernel

    def _one_loop(self, call: Call, weights: np.ndarray, bias: np.ndarray) -> Callable[[np.ndarray], np.ndarray] | None:
        """Of few products in fixed point, where a second call costs as much as the products."""
        loop = compiled.loop("dense", self.macs(call), call.often) if self.macs(call) <= _FEW else None
        if loop is None or not call.fixed:
            return None
        shape = tuple(call.output.shape)
        outputs, length = weights.shape
        rows = prod(shape) // outputs
        x, factors = call.inputs[:2]
        scales = np.atleast_1d(sum_scales(call.arithmetic, x, factors, call.output, in_double=True))
        zero = call.output.zero_point
        low, high = self.clamp
        limits = zero, low - zero, high - zero
        scales = np.ascontiguousarray(np.broadcast_to(scales, outputs), np.float64)
        # The input's zero point times all weights of an output is part of the bias; int32 wraps as the sums do.
        all_weights = weights.sum(axis=1, dtype=np.int64) * x.zero_point
        addend = (bias.astype(np.int64) - all_weights).astype(np.int32)

        def kernel(x: np.ndarray) -> np.ndarray:
            made = np.empty((rows, outputs), np.int8)
            loop(x.reshape(rows, length), weights, addend, scales, *limits, made)
            return made.reshape(shape)
        return kernel

    def macs(self, signature: Signature) -> int:
        return prod(signature.output.shape) * prod(signature.inputs[1].shape[1:])


@dataclass(frozen=True)
class MatMul(Op):
    """inputs: a (..., M, K), b (..., K, N) of one type, both computed; batch axes broadcast as in numpy.

    float32 operands may be vectors, a row on the left and a column on the right, whose axis the output does not have:
    ONNX Runtime adds in another order with them than with matrices of one row or column.

    int8 is TFLite BATCH_MATMUL and ONNX QLinearMatMul, other types are multiplied as numpy does it. `loaded`: see
    `float_layers`.
    """

    operands = (2, 2)

    clamp: Pair = FULL
    loaded: tuple[int, ...] = ()

    def infer(self, inputs: OperandList[Tensor]) -> tuple[Shape, np.dtype]:
        a, b = (dims(t.shape) for t in inputs)
        if min(len(a), len(b)) == 1 and same_type(*inputs) == np.float32:
            return self._of_vectors(a, b), np.dtype(np.float32)
        require(len(a) >= 2 and len(b) >= 2 and a[-1] == b[-2], f"shapes {a} and {b} do not multiply")
        try:
            batch = np.broadcast_shapes(a[:-2], b[:-2])
        except ValueError:
            raise GraphError(f"batch axes of {a} and {b} do not broadcast") from None
        return (*batch, a[-2], b[-1]), same_type(*inputs)

    @staticmethod
    def _of_vectors(a: Shape, b: Shape) -> Shape:
        require(a[-1] == (b[0] if len(b) == 1 else b[-2]), f"shapes {a} and {b} do not multiply")
        return a[:-1] if len(b) == 1 else (*b[:-2], b[-1])

    def check(self, signature: Signature) -> None:
        if same_type(*signature.inputs) == np.int8:
            int8(*signature.inputs, signature.output)
        clamp_range(self.clamp)
        check_loaded(self.loaded, signature)

    def compute(self, call: Call) -> np.ndarray:
        a, b = call.values
        if not call.quantized:
            own = onnxruntime_kernels.run(call, "MatMul", loaded=self.loaded) if a.dtype == np.float32 else None
            return a @ b if own is None else own
        left, right = call.inputs
        kernel = call.once("loops", lambda: self._loops(call))
        if kernel is not None:
            return call.through_all(kernel)
        total = product(a.astype(np.int16) - left.zero_point, b.astype(np.int16) - right.zero_point)
        scales = sum_scales(call.arithmetic, left, right, call.output, in_double=False)
        return from_sums(call.arithmetic, total, scales, call.output.zero_point, self.clamp)

    def _loops(self, call: Call) -> Callable[[np.ndarray, np.ndarray], np.ndarray] | None:
        """Of int8, each matrix with one."""
        left, right = call.inputs
        shape = tuple(call.output.shape)
        loop = compiled.loop("products", prod(shape), call.often)
        scales = sum_scales(call.arithmetic, left, right, call.output, in_double=False)
        finish = requantizer(call.arithmetic, scales, call.output.zero_point, self.clamp, prod(shape), call.often)
        if loop is None or finish is None or left.shape[:-2] != right.shape[:-2]:
            return None
        fixed = compiled.loop("products_fixed", prod(shape), call.often) if call.fixed else None
        batch = prod(shape[:-2])
        zeros = left.zero_point, right.zero_point
        first, second, made = ((batch, *map(int, s[-2:])) for s in (left.shape, right.shape, shape))
        rows = batch * shape[-2], shape[-1]
        if fixed is not None:
            multiplier, shift = quantize_multiplier(float(scales[0]))
            up, down = split_shift(shift)
            arguments = *zeros, multiplier, up, down, call.output.zero_point, *self.clamp

            def in_one_loop(a: np.ndarray, b: np.ndarray) -> np.ndarray:
                result = np.empty(shape, np.int8)
                fixed(a.reshape(first), b.reshape(second), *arguments, result.reshape(made))
                return result
            return in_one_loop

        def kernel(a: np.ndarray, b: np.ndarray) -> np.ndarray:
            total = np.empty(made, np.int32)
            loop(a.reshape(first), b.reshape(second), *zeros, total)
            return finish(total.reshape(rows)).reshape(shape)
        return kernel

    def macs(self, signature: Signature) -> int:
        return prod(signature.output.shape) * int(signature.inputs[0].shape[-1])


@dataclass(frozen=True)
class Einsum(Op):
    """inputs: float32; sums of products by `equation`, in numpy's and ONNX's notation without an ellipsis."""

    operands = (1, 16)  # numpy's einsum takes more, no network does

    equation: str

    def infer(self, inputs: OperandList[Tensor]) -> tuple[Shape, np.dtype]:
        for tensor in inputs:
            of_type(tensor, np.float32)
        sources, arrow, target = self.equation.replace(" ", "").partition("->")
        terms = sources.split(",")
        require(all(c.isalpha() or c == "," for c in sources + target) and len(terms) == len(inputs)
                and all(len(term) == len(t.shape) for term, t in zip(terms, inputs, strict=True)),
                f"the equation {self.equation!r} does not fit {len(inputs)} inputs of shapes "
                f"{', '.join(str(dims(t.shape)) for t in inputs)}")
        extents: dict[str, int] = {}
        for term, tensor in zip(terms, inputs, strict=True):
            for letter, extent in zip(term, dims(tensor.shape), strict=True):
                require(extents.setdefault(letter, extent) == extent,
                        f"{letter!r} of the equation {self.equation!r} is {extents[letter]} and {extent}")
        if not arrow:
            target = "".join(sorted(c for c in set(sources) if c.isalpha() and sources.count(c) == 1))
        require(set(target) <= set(extents) and len(set(target)) == len(target),
                f"the result {target!r} of the equation {self.equation!r} must have letters of its inputs, each once")
        return tuple(extents[c] for c in target), np.dtype(np.float32)

    def compute(self, call: Call) -> np.ndarray:
        own = onnxruntime_kernels.run(call, "Einsum", (("equation", self.equation),))
        return np.einsum(self.equation.replace(" ", ""), *call.values) if own is None else own
