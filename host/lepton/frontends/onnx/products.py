"""Fully connected layers and matrix products: ONNX Runtime's integer kernels."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from lepton.graph import Concat, FullyConnected, MatMul, Quantization
from lepton.graph.builder import Value

from .node import OnnxNode
from .operands import (
    Int8Result,
    Int8Weights,
    as_int8,
    checked_bias,
    constant_bias,
    constant_weights,
    layer_constants,
    with_axes,
    with_shape,
)
from .values import Constant


def rows(x: Value, weights: Int8Weights, result: Int8Result) -> Value:
    """x (..., I) times weights (O, I)."""
    data = weights.data
    if data.ndim != 2 or not x.rank or x.shape[-1] != data.shape[1]:
        raise x.builder.error(f"weights for {data.shape[-1]} inputs do not fit an input of shape {tuple(x.shape)}")
    return x.builder.emit(FullyConnected(result.clamp), [x, *layer_constants(x, weights, data, 0)], result.name,
                          result.q)


def product(a: Value, b: Value, result: Int8Result) -> Value:
    """A product of two computed operands, with the shapes of `matrix_product`."""
    return matrix_product(a, b, lambda left, right: a.builder.emit(MatMul(result.clamp), [left, right], result.name,
                                                                   result.q))


def matrix_product(a: Value, b: Value, multiply: Callable[[Value, Value], Value]) -> Value:
    """`multiply` on matrices: a vector is a row on the left, a column on the right, as in numpy."""
    y = multiply(with_shape(a, (1, *a.shape)) if a.rank == 1 else a, with_shape(b, (*b.shape, 1)) if b.rank == 1 else b)
    shape = list(y.shape)
    if b.rank == 1:
        del shape[-1]
    if a.rank == 1:
        del shape[-1 if b.rank == 1 else -2]
    return with_shape(y, shape)


def constant_product(x: Value, weights: Int8Weights, result: Int8Result) -> Value:
    """x times constant int8 weights (..., I, O), with one scale or one for each of the O columns."""
    data = weights.data
    if data.ndim == 1:  # one column, without an axis of its own
        y = rows(x, Int8Weights(data[None], weights.q), result)
        return with_shape(y, y.shape[:-1])
    if all(n == 1 for n in data.shape[:-2]):
        y = rows(x, Int8Weights(data.reshape(data.shape[-2:]).T, weights.q), result)
        return with_shape(y, (1,) * (data.ndim - (x.rank == 1) - y.rank) + tuple(y.shape))
    if weights.q.scale.size == 1:
        q = Quantization(weights.q.scale, weights.q.zero_point)
        return product(x, x.builder.constant(data, f"{x.builder.label}.weight", q), result)
    raise x.builder.error(f"a matrix for each of {data.shape[:-2]} batches must have one scale, not "
                          f"{weights.q.scale.size}")


def qlinear_matmul(node: OnnxNode) -> None:
    """QLinearMatMul: a, its scale and zero point, b, its scale and zero point, the result's scale and zero point."""
    dtype = node.value().dtype
    result = Int8Result(node.name, node.output_quantization)
    if isinstance(node.value(3), Constant):
        data, q = constant_weights(node, (3, 4, 5), -1)
        y = constant_product(node.codes_as_stated(), Int8Weights(data, q), result)
    else:
        y = product(node.codes_as_stated(), node.codes_as_stated(3), result)
    node.set_codes(y, dtype)


@dataclass(frozen=True)
class GemmOptions:
    """alpha * A' * B' + beta * C, where A' and B' may be transposed."""

    alpha: float
    beta: float
    transposed_a: bool
    transposed_b: bool

    @classmethod
    def of(cls, node: OnnxNode) -> "GemmOptions":
        return cls(float(node.given.get("alpha", 1.0)), float(node.given.get("beta", 1.0)), node.flag("transA"),
                   node.flag("transB"))

    @property
    def integer(self) -> bool:
        """Whether scales can take the factors."""
        return bool(np.isfinite(self.alpha) and self.alpha != 0 and np.isfinite(self.beta))

    def left(self, x: Value) -> Value:
        """The rows of A' from the tensor A."""
        return with_axes(x, (1, 0)) if self.transposed_a and x.rank == 2 else x

    def right(self, weights: np.ndarray) -> np.ndarray:
        """Weights (columns, inputs) from the constant B."""
        return weights if self.transposed_b else weights.T

    def signed(self, node: OnnxNode, weights: np.ndarray, q: Quantization) -> np.ndarray:
        """int8 weights that stand for the negative reals where alpha is negative: scales are above 0."""
        if self.alpha > 0:
            return weights
        along = [1] * weights.ndim
        if q.axis is not None:
            along[q.axis] = -1
        codes = 2 * q.zero_point.reshape(along) - weights
        if np.any((codes < -128) | (codes > 127)):
            raise node.error(f"alpha must be above 0, not {self.alpha}, with weights that cannot be negated in 8 bits")
        return codes.astype(np.int8)

    def scaled(self, q: Quantization, source: np.ndarray) -> Quantization:
        """The quantization of alpha, without its sign, times the weights.

        ONNX Runtime rounds alpha * source * scale from left to right (quant_gemm.cc, `ComputeOutputScale`); of the
        float32 that are near alpha * scale the one is taken whose product with `source`, the scale of A, is the same.
        """
        if self.alpha == 1:
            return q
        alpha = np.float32(abs(self.alpha))
        wanted = alpha * source.astype(np.float32) * q.scale
        near = alpha * q.scale
        best = near
        for candidate in (np.nextafter(near, np.float32(0)), np.nextafter(near, np.float32(np.inf))):
            fits = (source * candidate == wanted) & (source * best != wanted)
            best = np.where(fits, candidate, best).astype(np.float32)
        return Quantization(best, q.zero_point, q.axis)


def qgemm(node: OnnxNode) -> None:
    """com.microsoft QGemm: an int8 result, or a float one where no output scale is given."""
    # Positions: onnxruntime/contrib_ops/cpu/quantization/quant_gemm.cc, InputTensors.
    dtype = node.settled().dtype
    options = GemmOptions.of(node)
    if not options.integer:
        raise node.error(f"alpha must be finite and not 0, not {options.alpha}")
    data, q = constant_weights(node, (3, 4, 5), 0 if options.transposed_b else 1)
    x = options.left(node.codes_as_stated())
    bias = constant_bias(node, 6, 4)
    data = options.right(options.signed(node, data, q))
    if bias is not None and options.alpha < 0:  # the factor, which has lost its sign, is for sum and bias
        bias = -bias
    q = options.scaled(q, x.parameters.scale)
    parts = [(part, Int8Weights(data, q, own)) for part, own in _by_bias(x, bias)]
    if node.name in node.state.quantities:
        name = node.name if len(parts) == 1 else f"{node.name}.row"
        y = [rows(part, weights, Int8Result(name, node.output_quantization)) for part, weights in parts]
        node.set_codes(y[0] if len(y) == 1 else node.emit(Concat(0), *y, q=node.output_quantization), dtype)
    else:
        y = [float_rows(node, part, weights) for part, weights in parts]
        node.set_host(y[0] if len(y) == 1 else node.emit(Concat(0), *y))


def _by_bias(x: Value, bias: np.ndarray | None) -> list[tuple[Value, np.ndarray | None]]:
    """The rows of x (M, I) with their bias: all together, or one by one where each row has another (M, O) or (M, 1)."""
    if bias is None or bias.ndim < 2 or (bias == bias[:1]).all():
        return [(x, bias if bias is None or bias.ndim < 2 else bias[0])]
    return [(x.slice(0, row, row + 1), own) for row, own in enumerate(bias)]


def integer_to_float(node: OnnxNode) -> None:
    """com.microsoft MatMulIntegerToFloat: int8 times int8, a float result, a float bias or none."""
    # Positions: onnxruntime/contrib_ops/cpu/quantization/dynamic_quantize_matmul.cc, MatMulIntegerToFloat.
    stated = node.value(1)
    bias = node.optional(6, "the bias")
    if not isinstance(stated, Constant) or stated.array.ndim != 2:
        a = node.codes_as_stated(places=(2, 4))
        second = node.codes_as_stated(1, places=(3, 5))
        sums = matrix_product(centred(a), centred(second), Value.__matmul__)
        result = sums.cast(np.float32) * (a.parameters.scale * second.parameters.scale)
        node.set_host(result if bias is None else result + bias)
        return
    scale = node.constant(3, "its scale")
    zero = node.optional(5, "its zero point")
    b = stated.array
    data, q = as_int8(node.builder, b, scale.ravel(), np.zeros(scale.size, b.dtype) if zero is None else zero.ravel(),
                      1)
    x = node.codes_as_stated(places=(2, 4))
    node.set_host(float_rows(node, x, Int8Weights(data.T, q), bias))


def centred(x: Value) -> Value:
    """int8 values less their zero point, as int32."""
    return x.cast(np.int32) - x.parameters.zero_point.reshape(())


def float_rows(node: OnnxNode, x: Value, weights: Int8Weights, float_bias: np.ndarray | None = None) -> Value:
    """x (..., I) times weights (O, I), in float32: exact int32 sums on the host, times one scale for each column.

    The int32 bias of the weights is added to the sums, `float_bias` to the result.
    """
    data = weights.data
    if not x.rank or x.shape[-1] != data.shape[1]:
        raise node.error(f"weights for {data.shape[1]} inputs do not fit an input of shape {tuple(x.shape)}")

    zero = weights.q.zero_point
    zero = zero.reshape(-1, 1) if zero.size > 1 else zero
    sums = centred(x).apply(MatMul(), (data.astype(np.int32) - zero).T)
    if weights.bias is not None:
        sums = sums + checked_bias(node.builder, weights.bias, data.shape[0])
    result = sums.cast(np.float32) * (x.parameters.scale * weights.q.scale)
    return result if float_bias is None else result + float_bias
