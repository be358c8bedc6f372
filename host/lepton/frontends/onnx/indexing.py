"""Elements taken from and put at places, masks of matrices, and sums of products by an equation."""

import string

import numpy as np
import onnx

from lepton.graph import (
    ArgMax,
    Compare,
    CumSum,
    Einsum,
    GatherElements,
    GatherND,
    GraphError,
    Op,
    ScatterElements,
    ScatterND,
    Select,
    TopK,
)

from .elementwise import apply
from .importer import Importer, attributes, checked_axis
from .moving import set_moved, source_of
from .values import BYTES


def gather(importer: Importer, node: onnx.NodeProto):
    given, source = attributes(node), source_of(importer, node.input[0])
    if node.op_type == "GatherND":
        op: Op = GatherND(given.get("batch_dims", 0))
    else:
        op = GatherElements(checked_axis(importer, given.get("axis", 0), len(source.shape)))
    tensor = importer.emit(op, [source.tensor, importer.host(node.input[1])], node.output[0])
    set_moved(importer, node.output[0], source, tensor)


def scatter(importer: Importer, node: onnx.NodeProto):
    given, name = attributes(node), node.output[0]
    source = source_of(importer, node.input[0])
    reduction = given.get("reduction", "none")
    if node.op_type == "ScatterND":
        op: Op = ScatterND(reduction)
    else:
        op = ScatterElements(checked_axis(importer, given.get("axis", 0), len(source.shape)), reduction)
    if source.dtype in BYTES and source.table is not None:
        x = importer.codes(node.input[0])
        updates = importer.codes(node.input[2], importer.graph.tensors[x].quantization)
        importer.set_codes(name, importer.emit(op, [x, importer.host(node.input[1]), updates], name), source.dtype)
    else:
        importer.set_host(name, importer.emit(op, [importer.host(n) for n in node.input], name))


def triangle(importer: Importer, node: onnx.NodeProto):
    """Trilu: what lies above or below a diagonal of the last two axes becomes 0."""
    x = importer.host(node.input[0])
    t = importer.graph.tensors[x]
    shift = importer.constant(node, 1, "the diagonal")
    if len(t.shape) < 2:
        raise GraphError(f"{importer.where}: the input must have at least 2 dimensions, not shape {t.shape}")
    k = 0 if shift is None else int(shift.item())
    k = max(min(k, t.shape[-1]), -t.shape[-2])
    kept = np.tri(*t.shape[-2:], k - 1, dtype=bool) ^ True if attributes(node).get("upper", 1) else np.tri(
        *t.shape[-2:], k, dtype=bool)
    operands = [importer.constant_tensor(f"{importer.label}.kept", kept), x,
                importer.constant_tensor(f"{importer.label}.zero", np.zeros((), t.dtype))]
    importer.set_host(node.output[0], apply(importer, Select(), *operands))


def one_hot(importer: Importer, node: onnx.NodeProto):
    """Two values, the second one where the place along the new axis is the index; elsewhere the first one."""
    depth, values = importer.constant(node, 1, "the depth"), importer.constant(node, 2, "the values")
    indices = importer.host(node.input[0])
    t = importer.graph.tensors[indices]
    if t.dtype.kind not in "iu" and t.dtype != np.float32:
        raise GraphError(f"{importer.where}: indices must be integers, not {t.dtype}")
    extent, rank = int(depth.item()), len(t.shape) + 1
    if extent < 1 or values.size != 2:
        raise GraphError(f"{importer.where}: the depth must be at least 1 and there must be 2 values, not {extent} and "
                         f"{values.size}")
    axis = checked_axis(importer, attributes(node).get("axis", -1), rank)
    indices = importer.reshape(indices, (*t.shape[:axis], 1, *t.shape[axis:]))
    along = [1] * rank
    along[axis] = extent
    hits = [apply(importer, Compare("equal"), indices, importer.constant_tensor(
        f"{importer.label}.places", (np.arange(extent) - back).astype(t.dtype).reshape(along)))
        for back in (0, extent)]
    off, on = (importer.constant_tensor(f"{importer.label}.value", v) for v in values.ravel())
    y = apply(importer, Select(), hits[1], on, off)
    importer.set_host(node.output[0], apply(importer, Select(), hits[0], on, y))


def arg_extreme(importer: Importer, node: onnx.NodeProto):
    given, x = attributes(node), importer.host(node.input[0])
    op = ArgMax(checked_axis(importer, given.get("axis", 0), len(importer.graph.tensors[x].shape)),
                bool(given.get("keepdims", 1)), node.op_type == "ArgMin", bool(given.get("select_last_index", 0)))
    importer.set_host(node.output[0], importer.emit(op, [x], node.output[0]))


def cumulative_sum(importer: Importer, node: onnx.NodeProto):
    given, x = attributes(node), importer.host(node.input[0])
    axis = checked_axis(importer, int(importer.constant(node, 1, "the axis").item()),
                        len(importer.graph.tensors[x].shape))
    op = CumSum(axis, bool(given.get("exclusive", 0)), bool(given.get("reverse", 0)))
    importer.set_host(node.output[0], importer.emit(op, [x], node.output[0]))


def top_k(importer: Importer, node: onnx.NodeProto):
    given, x = attributes(node), importer.host(node.input[0])
    k = importer.constant(node, 1, "the number of elements")
    axis = checked_axis(importer, given.get("axis", -1), len(importer.graph.tensors[x].shape))
    op = TopK(given.get("k", 1) if k is None else int(k.item()), axis, bool(given.get("largest", 1)))
    places = importer.emit(op, [x], node.output[1] if node.output[1:] else f"{node.output[0]}.places")
    importer.set_host(node.output[0], importer.emit(GatherElements(axis), [x, places], node.output[0]))
    if node.output[1:]:
        importer.set_host(node.output[1], places)


def einsum(importer: Importer, node: onnx.NodeProto):
    operands = [importer.host(name) for name in node.input]
    equation = _without_ellipsis(str(attributes(node).get("equation", "")).replace(" ", ""),
                                 [len(importer.graph.tensors[name].shape) for name in operands])
    op = Einsum(equation)
    importer.set_host(node.output[0], importer.emit(op, operands, node.output[0]))


def _without_ellipsis(equation: str, ranks: list[int]) -> str:
    """The equation with letters for the axes that each "..." stands for."""
    if "..." not in equation:
        return equation
    sources, arrow, target = equation.partition("->")
    free = [letter for letter in string.ascii_letters if letter not in equation]
    terms = sources.split(",")
    spans = [rank - len(term.replace("...", "")) if "..." in term else 0
             for term, rank in zip(terms, ranks, strict=False)]
    if len(terms) != len(ranks) or min(spans) < 0 or max(spans) > len(free):
        return equation  # which the operator refuses
    axes = "".join(free[:max(spans)])
    terms = [term.replace("...", axes[len(axes) - span:]) for term, span in zip(terms, spans, strict=True)]
    if not arrow:  # the letters that come once, behind the axes
        target = "..." + "".join(sorted(c for c in set(sources) if c.isalpha() and sources.count(c) == 1))
    return f"{','.join(terms)}->{target.replace('...', axes)}"


CONVERTERS = {
    "GatherND": gather, "GatherElements": gather, "ScatterND": scatter, "ScatterElements": scatter, "Scatter": scatter,
    "Trilu": triangle, "ArgMax": arg_extreme, "ArgMin": arg_extreme, "OneHot": one_hot, "Einsum": einsum,
    "CumSum": cumulative_sum, "TopK": top_k,
}
