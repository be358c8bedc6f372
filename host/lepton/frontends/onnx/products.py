"""Fully connected layers and matrix products: ONNX Runtime's integer kernels."""

from dataclasses import dataclass

import numpy as np
import onnx

from lepton.graph import Add, Cast, FullyConnected, GraphError, MatMul, Mul, Op, Quantization, Sub

from .importer import Importer, attributes
from .operands import FULL, as_int8, checked_bias, codes_as_stated, constant_bias, constant_weights, layer_constants
from .values import Constant


def rows(importer: Importer, x: str, weights: np.ndarray, q: Quantization, bias: np.ndarray | None, output: str,
          out_q: Quantization, clamp: tuple[int, int]) -> str:
    """x (..., I) times weights (O, I)."""
    shape = importer.graph.tensors[x].shape
    if weights.ndim != 2 or not shape or shape[-1] != weights.shape[1]:
        raise GraphError(f"{importer.where}: weights for {weights.shape[-1]} inputs do not fit an input of shape "
                         f"{shape}")
    return importer.emit(FullyConnected(clamp), [x, *layer_constants(importer, weights, q, 0, bias, x)], output, out_q)


def product(importer: Importer, a: str, b: str, output: str, out_q: Quantization, clamp: tuple[int, int]) -> str:
    """Both operands computed; a vector is a row on the left, a column on the right, as in numpy."""
    left, right = (importer.graph.tensors[name].shape for name in (a, b))
    dropped = [axis for axis, shape in ((-2, left), (-1, right)) if len(shape) == 1]
    a = importer.reshape(a, (1, *left)) if len(left) == 1 else a
    b = importer.reshape(b, (*right, 1)) if len(right) == 1 else b
    y = importer.emit(MatMul(clamp), [a, b], output, out_q)
    shape = list(importer.graph.tensors[y].shape)
    for axis in dropped:
        shape[axis] = 0
    return importer.reshape(y, tuple(n for n in shape if n)) if dropped else y


def constant_product(importer: Importer, x: str, weights: np.ndarray, q: Quantization, output: str,
                     out_q: Quantization, clamp: tuple[int, int]) -> str:
    """x times constant int8 weights (..., I, O), with one scale or one for each of the O columns."""
    if weights.ndim == 1:  # one column, without an axis of its own
        y = rows(importer, x, weights[None], q, None, output, out_q, clamp)
        return importer.reshape(y, importer.graph.tensors[y].shape[:-1])
    if all(n == 1 for n in weights.shape[:-2]):
        y = rows(importer, x, weights.reshape(weights.shape[-2:]).T, q, None, output, out_q, clamp)
        shape, vector = importer.graph.tensors[y].shape, len(importer.graph.tensors[x].shape) == 1
        return importer.reshape(y, (1,) * (weights.ndim - vector - len(shape)) + shape)
    if q.scale.size == 1:
        b = importer.constant_tensor(f"{importer.label}.weight", weights, Quantization(q.scale, q.zero_point))
        return product(importer, x, b, output, out_q, clamp)
    raise GraphError(f"{importer.where}: a matrix for each of {weights.shape[:-2]} batches must have one scale, not "
                     f"{q.scale.size}")


def qlinear_matmul(importer: Importer, node: onnx.NodeProto):
    name, dtype, out_q = node.output[0], importer.value(node.input[0]).dtype, importer.quantities[node.output[0]]
    b = importer.operand(node, 3)
    if isinstance(b, Constant):
        weights, q = constant_weights(importer, node, (3, 4, 5), -1)
        y = constant_product(importer, codes_as_stated(importer, node), weights, q, name, out_q, FULL)
    else:
        y = product(importer, codes_as_stated(importer, node), codes_as_stated(importer, node, 3), name, out_q, FULL)
    importer.set_codes(name, y, dtype)


@dataclass(frozen=True)
class GemmOptions:
    """alpha * A' * B' + beta * C, where A' and B' may be transposed."""

    alpha: float
    beta: float
    transposed_a: bool
    transposed_b: bool

    @classmethod
    def of(cls, node: onnx.NodeProto) -> "GemmOptions":
        given = attributes(node)
        return cls(float(given.get("alpha", 1.0)), float(given.get("beta", 1.0)), bool(given.get("transA", 0)),
                   bool(given.get("transB", 0)))

    @property
    def integer(self) -> bool:
        """Can scales take the factors?"""
        return bool(np.isfinite(self.alpha) and self.alpha != 0 and np.isfinite(self.beta))

    def left(self, importer: Importer, x: str) -> str:
        """The rows of A' from the tensor A."""
        return importer.transpose(x, (1, 0)) if self.transposed_a and len(importer.graph.tensors[x].shape) == 2 else x

    def right(self, weights: np.ndarray) -> np.ndarray:
        """Weights (columns, inputs) from the constant B."""
        return weights if self.transposed_b else weights.T

    def signed(self, importer: Importer, weights: np.ndarray, q: Quantization) -> np.ndarray:
        """int8 weights that stand for the negative reals where alpha is negative: scales are above 0."""
        if self.alpha > 0:
            return weights
        along = [1] * weights.ndim
        if q.axis is not None:
            along[q.axis] = -1
        codes = 2 * q.zero_point.reshape(along) - weights
        if np.any((codes < -128) | (codes > 127)):
            raise GraphError(f"{importer.where}: alpha must be above 0, not {self.alpha}, with weights that cannot be "
                             "negated in 8 bits")
        return codes.astype(np.int8)

    def scaled(self, q: Quantization, source: np.ndarray) -> Quantization:
        """The quantization of alpha, without its sign, times the weights.

        ONNX Runtime rounds alpha * source * scale from left to right; of the float32 that are near alpha * scale the
        one is taken whose product with `source`, the scale of A, is the same.
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


def qgemm(importer: Importer, node: onnx.NodeProto):
    """com.microsoft QGemm: an int8 result, or a float one where no output scale is given."""
    name, dtype, options = node.output[0], importer.settled(node.input[0]).dtype, GemmOptions.of(node)
    if not options.integer:
        raise GraphError(f"{importer.where}: alpha must be finite and not 0, not {options.alpha}")
    weights, q = constant_weights(importer, node, (3, 4, 5), 0 if options.transposed_b else 1)
    x, bias = options.left(importer, codes_as_stated(importer, node)), constant_bias(importer, node, 6, 4)
    weights = options.signed(importer, weights, q)
    bias = -bias if bias is not None and options.alpha < 0 else bias
    q = options.scaled(q, importer.graph.tensors[x].quantization.scale)
    if name in importer.quantities:
        y = rows(importer, x, options.right(weights), q, bias, name, importer.quantities[name], FULL)
        importer.set_codes(name, y, dtype)
    else:
        importer.set_host(name, float_rows(importer, x, options.right(weights), q, bias, name))


def integer_to_float(importer: Importer, node: onnx.NodeProto):
    """com.microsoft MatMulIntegerToFloat: int8 times int8, a float result, a float bias or none."""
    b = importer.constant(node, 1, "the second matrix")
    scale, zero = importer.constant(node, 3, "its scale"), importer.constant(node, 5, "its zero point")
    if b.ndim != 2:
        raise GraphError(f"{importer.where}: the second matrix must have 2 dimensions, not shape {b.shape}")
    zero = np.zeros(scale.size, b.dtype) if zero is None else zero
    weights, q = as_int8(importer, b, scale.ravel(), zero.ravel(), 1)
    x = codes_as_stated(importer, node, places=(2, 4))
    importer.set_host(node.output[0], float_rows(importer, x, weights.T, q, None, node.output[0],
                                                 importer.constant(node, 6, "the bias")))


def float_rows(importer: Importer, x: str, weights: np.ndarray, q: Quantization, bias: np.ndarray | None, output: str,
               float_bias: np.ndarray | None = None) -> str:
    """x (..., I) times weights (O, I), in float32: exact int32 sums on the host, times one scale for each column.

    `bias` is int32 and joins the sums, `float_bias` the result.
    """
    t = importer.graph.tensors[x]
    if not t.shape or t.shape[-1] != weights.shape[1]:
        raise GraphError(f"{importer.where}: weights for {weights.shape[1]} inputs do not fit an input of shape "
                         f"{t.shape}")

    def emit(op: Op, *operands: str | np.ndarray) -> str:
        names = [o if isinstance(o, str) else importer.constant_tensor(f"{output}.constant", o) for o in operands]
        return importer.emit(op, names, output)

    centred = emit(Sub(), emit(Cast("int32"), x), t.quantization.zero_point.reshape(()))
    zero = q.zero_point.reshape(-1, 1) if q.zero_point.size > 1 else q.zero_point
    total = emit(MatMul(), centred, (weights.astype(np.int32) - zero).T)
    if bias is not None:
        total = emit(Add(), total, checked_bias(importer, bias, weights.shape[0]))
    result = emit(Mul(), emit(Cast("float32"), total), t.quantization.scale * q.scale)
    return result if float_bias is None else emit(Add(), result, float_bias)


CONVERTERS = {"QLinearMatMul": qlinear_matmul, "QGemm": qgemm, "MatMulIntegerToFloat": integer_to_float}
