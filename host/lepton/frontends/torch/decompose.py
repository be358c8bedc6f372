"""Operators that the front end does not know, as PyTorch itself expresses them by others."""

import operator

import torch
from torch.export import ExportedProgram
from torch.fx import Node

from .floats import readable
from .functional import replaced
from .operators import Kind, kind
from .recurrent import is_recurrent
from .writes import functionalized

_ROUNDS = 4  # an operator's parts may have parts


def decomposed(program: ExportedProgram) -> ExportedProgram:
    """`program` without changes in place that other views show, its unknown operators replaced by known ones where
    PyTorch has a decomposition: views by other views, statistics by sums. Recurrent layers stay (`recurrent`)."""
    program = functionalized(program)
    before: set[object] = set()
    for _ in range(_ROUNDS):
        unknown = {node.target for node in program.graph.nodes if not _is_known(node)}
        if not unknown or unknown == before:
            break
        table = torch.export.default_decompositions()
        program = program.run_decompositions({target: table[target] for target in unknown if target in table})
        before = unknown
    return program


def _is_known(node: Node) -> bool:
    return (node.op != "call_function" or node.target is operator.getitem or kind(node) is not Kind.FLOAT
            or readable(node) or replaced(node) or is_recurrent(node))
