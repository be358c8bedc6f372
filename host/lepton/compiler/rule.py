"""`Rule`: how the chip takes one kind of operator. Each family's module has those of its operators, as `RULES`."""

from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum
from typing import TYPE_CHECKING, Any

from ..graph import Graph, GraphError, Node
from .images import ImageShape, image_of

if TYPE_CHECKING:  # annotations only: nodes know their rule
    from .chip_node import ChipNode
    from .layers import ChipLayer
    from .lowering.context import Context
    from .views import ChannelView

Phase = tuple[int, int] | None  # which of the layers of an operator that takes several


class Fusion(Enum):
    """What an operator may become instead of a layer of its own, in the tail of the layer before it."""

    RESIDUAL = "residual"
    TABLE = "table"


def never(graph: Graph, node: Node, op: Any) -> bool:
    """False: the operator always computes something."""
    return False


def operand_image(graph: Graph, node: Node, op: Any, index: int) -> ImageShape:
    """The image of operand `index` by its own shape."""
    return image_of(graph, node.inputs[index])


def result_image(graph: Graph, node: Node, op: Any) -> ImageShape:
    """The image of the result by its own shape."""
    return image_of(graph, node.outputs[0])


def no_units(graph: Graph, node: Node) -> int:
    """0: the operator sees pixels."""
    return 0


def one_layer(graph: Graph, node: Node, op: Any) -> tuple[int, int] | None:
    """None: the operator takes one layer."""
    return None


@dataclass(frozen=True)
class Rule:
    """What the compiler asks about an operator. The functions with an `Any` take the operator, each its own type.

    refuse: why the chip cannot take a node; None where it can.
    lower: the layer of a node, or of one of its `phases`; None for an operator that needs no layer.
    phases: (y, x) layers of a node that takes several; None for others.
    any_lanes: channels of the first operand are read from whatever lanes they are in.
    fusion: what the operator may become in the tail of the layer before it; `fuse` adds it to that layer.
    tail: whether its layers end in the tail of TENSOR, where a table and an operator of two tensors can follow.
    moves: whether a node only says where channels are. `move` makes its view, and layers for channels that must be
        copied; `operand_places` says where its operands should be written so that they need no copy.
    read_image, written_image: the images that the operator sees in its operands and its result.
    units: output channels of an operator that takes all elements of its first operand at once; 0 where it takes pixels.
    """

    refuse: Callable[[Graph, Node, Any], str | None]
    lower: "Callable[[Context, ChipNode, int, Phase, Any], ChipLayer] | None" = None
    phases: Callable[[Graph, Node, Any], tuple[int, int] | None] = one_layer
    any_lanes: bool = False
    fusion: Fusion | None = None
    fuse: "Callable[[Context, ChipLayer, ChipNode, Any], None] | None" = None
    tail: bool = True
    moves: Callable[[Graph, Node, Any], bool] = never
    move: "Callable[[Context, ChipNode, int, Any], list[ChipLayer]] | None" = None
    operand_places: "Callable[[Context, ChipNode], list[ChannelView]] | None" = None
    read_image: Callable[[Graph, Node, Any, int], ImageShape] = operand_image
    written_image: Callable[[Graph, Node, Any], ImageShape] = result_image
    units: Callable[[Graph, Node], int] = no_units


class NotOnChip(GraphError):
    """The chip cannot take some nodes after all; `reasons` has pairs of a node and the reason."""

    def __init__(self, *reasons: tuple[Node, str]):
        super().__init__("; ".join(text for _, text in reasons))
        self.reasons = reasons
