"""`Rule`: how the chip takes one kind of operator. Each family's module has those of its operators, as `RULES`."""

from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum
from typing import TYPE_CHECKING, Any

from ..graph import Graph, GraphError, Node

if TYPE_CHECKING:  # annotations only: nodes know their rule
    from .chip_node import ChipNode
    from .layers import ChipLayer
    from .lowering.context import Context

Phase = tuple[int, int] | None  # which of the layers of an operator that takes several


class Fusion(Enum):
    """What an operator may become instead of a layer of its own, in the tail of the layer before it."""

    RESIDUAL = "residual"
    TABLE = "table"


def never(graph: Graph, node: Node) -> bool:
    """An operator that never only renames lanes."""
    return False


@dataclass(frozen=True)
class Rule:
    """refuse: why the chip cannot take a node, or None. lower: its layer (or that of one phase); None for an operator
    that needs none. moves: does a node only say where channels lie? phases: (y, x) layers of a node that takes several.
    any_lanes: channels of the first operand are read from wherever they lie. fusion: what it may become in a tail.
    """

    refuse: Callable[[Graph, Node, Any], str | None]
    lower: "Callable[[Context, ChipNode, int, Phase, Any], ChipLayer] | None"
    moves: Callable[[Graph, Node], bool] = never
    phases: Callable[[Graph, Node, Any], tuple[int, int]] | None = None
    any_lanes: bool = False
    fusion: Fusion | None = None


class NotOnChip(GraphError):
    """The chip cannot take some nodes after all; `reasons` has pairs of a node and the reason."""

    def __init__(self, *reasons: tuple[Node, str]):
        super().__init__("; ".join(text for _, text in reasons))
        self.reasons = reasons
