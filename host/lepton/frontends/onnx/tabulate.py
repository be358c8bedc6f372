"""Operators that work element by element.

What depends on one int8 tensor only is computed here, by ONNX Runtime, for the 256 values that an element can have. The
rest is computed at run time, by a rule for each operator (`elementwise`).
"""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from .layers import wait_for_quantize
from .node import Converter, OnnxNode, Rule
from .values import BYTES, FLOAT32, Constant, Joined, OnnxValue, Tabulated


def as_table(node: OnnxNode) -> Tabulated | Joined | None:
    """The node's result where it is a function of single elements of one int8 tensor, else None."""
    operands = node.values()
    joined = next((value for value in operands if isinstance(value, Joined)), None)
    if joined is None:
        return _as_table(node, operands)
    parts = []
    for part in joined.parts:
        of_part = _as_table(node, [part if value is joined else value for value in operands])
        if of_part is None:
            return None
        parts.append(of_part)
    return replace(joined, parts=tuple(parts))


def _as_table(node: OnnxNode, operands: Sequence[OnnxValue | None]) -> Tabulated | None:
    if node.kind == "Div" and any(value is not None and value.dtype != FLOAT32 for value in operands):
        return None  # a division of integers by 0 ends ONNX Runtime's process
    base = next((value for value in operands if isinstance(value, Tabulated)), None)
    if base is None:
        return None
    columns: list[np.ndarray | None] = []
    for value in operands:
        if value is None:
            columns.append(None)
        elif isinstance(value, Tabulated) and value.tensor.name == base.tensor.name and value.shape == base.shape:
            columns.append(value.table)
        elif isinstance(value, Constant) and value.array.size == 1 and len(value.shape) <= max(len(base.shape), 1):
            columns.append(value.array.reshape(()))  # of any rank; a scalar does as well
        else:
            return None
    # For QLinearSigmoid and QLinearLeakyRelu this is what ONNX Runtime does, too (qlinear_lookup_table.cc).
    table = node.evaluate(columns)
    return base.of(table) if table.shape == (256,) else None


def set_table(node: OnnxNode, result: Tabulated | Joined) -> None:
    """The result is `result`; its codes are computed at once where several operators read them."""
    node.set(result)
    if result.dtype in BYTES and (node.read_more_than_once() or isinstance(result, Joined)):
        node.state.codes(node.name)


def refuse_bytes(node: OnnxNode) -> None:
    raise node.error("arithmetic with plain 8-bit integers is not supported, only with quantized ones")


def elementwise(rule: Rule | None, of_bytes: Converter = refuse_bytes, waits: bool = False) -> Converter:
    """The converter of an operator that works element by element.

    rule: computes it at run time; None where it is supported only as a function of one 8-bit tensor. of_bytes: the
    converter where operands are 8-bit values. waits: whether it may become one integer operator with the quantizing
    operators around it (`layers`).
    """
    def convert(node: OnnxNode) -> None:
        result = as_table(node)
        if result is not None:
            set_table(node, result)
        elif waits and wait_for_quantize(node):
            return
        elif node.computed().dtype in BYTES:
            of_bytes(node)
        elif rule is not None:
            node.set_host(rule(node))
        else:
            raise node.error("supported only as a function of one 8-bit tensor and constants of one element")
    return convert
