"""`ChipNode`: an operator for the chip with what is fused into it, and `ChipJob`, those of one job."""

from dataclasses import dataclass, field

from ..graph import Node
from .images import Alias, ImageShape, Operand
from .rule import Fusion, Rule


@dataclass(eq=False)
class ChipNode:
    """A node for the chip; with `table`, its results go through that Table, with `residual`, the operator of two
    tensors `fused` is computed in its tail, behind the table.

    `written` is the image that `node` writes; `output`, the tensor that it becomes, may split its pixels into other
    rows, where a Reshape is between it and the fused operator.
    """

    node: Node
    rule: Rule
    source: Operand
    written: ImageShape
    output: str
    residual: Operand | None = None
    fused: Node | None = None
    own_first: bool = True  # the layer's own value is the first operand of `fused`
    table: Node | None = None
    others: tuple[Operand, ...] = ()  # a concatenation's operands after the first
    moves: bool = False  # it only says where channels are
    phases: tuple[int, int] | None = None  # (y, x) layers where it takes several

    @property
    def own(self) -> str:
        """The tensor whose quantization the layer's own value has, before it meets the residual."""
        return self.read if self.rule.fusion is Fusion.RESIDUAL else (self.table or self.node).outputs[0]

    @property
    def read(self) -> str:
        """The tensor that the layer reads: the first operand, or that of a sum or product that is its own value."""
        return self.node.inputs[self.rule.fusion is Fusion.RESIDUAL and not self.own_first]

    @property
    def other(self) -> str:
        """The tensor whose quantization the residual has."""
        return self.in_tail()[0].inputs[self.own_first]

    @property
    def image(self) -> ImageShape:
        """What the operator sees of its first operand."""
        return self.source.image

    @property
    def scatters(self) -> bool:
        """True where it takes more or fewer layers than one, so that no operator of two tensors fits its tail."""
        return self.moves or self.phases is not None

    def in_tail(self) -> tuple[Node, Operand]:
        """The operator of two tensors in the tail, and its other operand."""
        assert self.fused is not None and self.residual is not None
        return self.fused, self.residual

    @property
    def name(self) -> str:
        return self.node.name or self.node.outputs[0]

    @property
    def nodes(self) -> list[Node]:
        """The nodes of the graph that it computes."""
        return [self.node] + [n for n in (self.table, self.fused) if n is not None and n is not self.node]

    def operands(self) -> list[Operand]:
        return [self.source, *self.others] + ([self.residual] if self.residual else [])

    def reads(self) -> list[str]:
        """The tensors that it needs, without constants."""
        return [operand.tensor for operand in self.operands() if not operand.constant]


@dataclass(eq=False)
class ChipJob:
    """Chip nodes of one job in execution order, and the host nodes that follow it."""

    chip: list[ChipNode] = field(default_factory=list)
    host: list[Node] = field(default_factory=list)
    inputs: list[str] = field(default_factory=list)  # tensors that come from outside
    outputs: list[str] = field(default_factory=list)  # tensors that are needed outside
    aliases: list[Alias] = field(default_factory=list)  # what the host calls them
