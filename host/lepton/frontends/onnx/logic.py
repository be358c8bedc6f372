"""Comparisons, truth values and the choice between two tensors."""

import numpy as np

from lepton.graph import Compare, Logic, Select
from lepton.graph.builder import Value

from .node import Converter, OnnxNode, Rule
from .tabulate import as_table, elementwise
from .values import BYTES, Tabulated


def comparison(kind: str) -> Converter:
    """A comparison; `kind` as in the graph's `Compare`.

    8-bit values are compared by their codes, at the scale of the first operand.
    """
    def rule(node: OnnxNode) -> Value:
        a, b = node.hosts()
        return a.apply(Compare(kind), b)

    def of_bytes(node: OnnxNode) -> None:
        first = node.codes(0)
        node.set_host(first.apply(Compare(kind), node.codes(1, first.parameters)))
    return elementwise(rule, of_bytes)


def logical(kind: str) -> Rule:
    """A logical operator; `kind` as in the graph's `Logic`."""
    def rule(node: OnnxNode) -> Value:
        a, b = node.hosts()
        return a.apply(Logic(kind), b)
    return rule


def is_nan(node: OnnxNode) -> Value:
    """A number that is not equal to itself."""
    x = node.host()
    return x.apply(Compare("not_equal"), x)


def is_infinite(node: OnnxNode) -> Value:
    x = node.host()
    low = node.flag("detect_negative", 1)
    high = node.flag("detect_positive", 1)
    if low and high:
        x = x.unary("abs")
    limit = np.inf if high else -np.inf if low else np.nan  # which equals nothing
    return x.apply(Compare("equal"), limit)


def where(node: OnnxNode) -> None:
    """Of 8-bit values, too, which get the scale of the first one."""
    result = as_table(node)
    if result is not None:
        node.set(result)
        return
    a = node.computed(1)
    b = node.computed(2)
    if not isinstance(a, Tabulated) or a.dtype not in BYTES:
        condition, *others = node.hosts()
        node.set_host(condition.apply(Select(), *others))
        return
    first = node.codes(1)
    q = first.parameters
    node.set_codes(node.emit(Select(), node.host(0), first, node.codes(2, q), q=q), b.dtype)
