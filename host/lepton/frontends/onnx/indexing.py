"""Elements taken from and put at places, masks of matrices, and sums of products by an equation."""

import string

import numpy as np

from lepton.graph import (
    ArgMax,
    Compare,
    CumSum,
    Einsum,
    GatherElements,
    GatherND,
    Op,
    ReverseSequence,
    ScatterElements,
    ScatterND,
    Select,
    TopK,
)

from .node import Converter, OnnxNode, source_of
from .values import BYTES, Tabulated


def _axis(node: OnnxNode, rank: int, default: int = 0) -> int:
    return node.axis(node.given.get("axis", default), rank)


def _gathered(node: OnnxNode, op: Op) -> None:
    source = source_of(node)
    node.set(source.moved(node.emit(op, source.tensor, node.host(1))))


def gather_nd(node: OnnxNode) -> None:
    _gathered(node, GatherND(node.given.get("batch_dims", 0)))


def gather_elements(node: OnnxNode) -> None:
    _gathered(node, GatherElements(_axis(node, len(node.settled().shape))))


def reverse_sequence(node: OnnxNode) -> None:
    _gathered(node, ReverseSequence(node.given.get("time_axis", 0), node.given.get("batch_axis", 1)))


def _scattered(node: OnnxNode, op: Op) -> None:
    source = source_of(node)
    if isinstance(source, Tabulated) and source.dtype in BYTES:
        x = node.codes(0)
        updates = node.codes(2, x.parameters)
        node.set_codes(node.emit(op, x, node.host(1), updates), source.dtype)
    else:
        node.set_host(node.emit(op, *node.hosts()))


def scatter_nd(node: OnnxNode) -> None:
    _scattered(node, ScatterND(node.given.get("reduction", "none")))


def scatter_elements(node: OnnxNode) -> None:
    axis = _axis(node, len(node.settled().shape))
    _scattered(node, ScatterElements(axis, node.given.get("reduction", "none")))


def triangle(node: OnnxNode) -> None:
    """Trilu: what is above or below a diagonal of the last two axes becomes 0."""
    x = node.host()
    shift = node.number(1, "the diagonal")
    if x.rank < 2:
        raise node.error(f"the input must have at least 2 dimensions, not shape {tuple(x.shape)}")
    height, width = x.shape[-2:]
    diagonal = 0 if shift is None else int(shift)
    diagonal = max(min(diagonal, width), -height)  # beyond these, all elements are kept, or none
    upper = node.flag("upper", 1)
    lower = np.tri(height, width, diagonal - 1 if upper else diagonal, dtype=bool)
    kept = node.state.constant(~lower if upper else lower, f"{node.builder.label}.kept")
    node.set_host(kept.apply(Select(), x, x.operand(0)))


def one_hot(node: OnnxNode) -> None:
    """Two values, the second one where the place along the new axis is the index; elsewhere the first one."""
    depth = node.integer(1, "the depth")
    values = node.constant(2, "the values")
    indices = node.host()
    if indices.dtype.kind not in "iu" and indices.dtype != np.float32:
        raise node.error(f"indices must be integers, not {indices.dtype}")
    if depth < 1 or values.size != 2:
        raise node.error(f"the depth must be at least 1 and there must be 2 values, not {depth} and {values.size}")
    axis = _axis(node, indices.rank + 1, -1)
    along = [1] * (indices.rank + 1)
    along[axis] = depth
    indices = indices.reshape((*indices.shape[:axis], 1, *indices.shape[axis:]))
    places = np.arange(depth).reshape(along)
    hits = [indices.apply(Compare("equal"), places - back) for back in (0, depth)]  # indices below 0 count from the end
    off, on = (node.state.constant(value, f"{node.builder.label}.value") for value in values.ravel())
    node.set_host(hits[0].apply(Select(), on, hits[1].apply(Select(), on, off)))


def arg_extreme(least: bool) -> Converter:
    """ArgMin and ArgMax."""
    def convert(node: OnnxNode) -> None:
        x = node.host()
        op = ArgMax(_axis(node, x.rank), node.flag("keepdims", 1), least, node.flag("select_last_index"))
        node.set_host(node.emit(op, x))
    return convert


def cumulative_sum(node: OnnxNode) -> None:
    x = node.host()
    axis = node.axis(node.integer(1, "the axis"), x.rank)
    node.set_host(node.emit(CumSum(axis, node.flag("exclusive"), node.flag("reverse")), x))


def top_k(node: OnnxNode) -> None:
    """Values and their places; the number is an attribute before opset 10."""
    x = node.host()
    stated = node.number(1, "the number of elements")
    axis = _axis(node, x.rank, -1)
    number = node.given.get("k", 1) if stated is None else int(stated)
    places = node.emit(TopK(number, axis, node.flag("largest", 1)), x)
    node.set_host(node.emit(GatherElements(axis), x, places))
    if node.proto.output[1:]:
        node.set_host(places, 1)


def einsum(node: OnnxNode) -> None:
    operands = node.hosts()
    equation = str(node.given.get("equation", "")).replace(" ", "")
    op = Einsum(_without_ellipsis(equation, [operand.rank for operand in operands]))
    node.set_host(node.emit(op, *operands))


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
