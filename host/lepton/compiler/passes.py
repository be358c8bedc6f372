"""Passes over the graph: see through Reshape, fuse Add into the layer before it, split into chip and host steps."""

from dataclasses import dataclass, field

from ..graph import Add, FullyConnected, Graph, Node, Reshape, Softmax
from .verify import image_shape


@dataclass(eq=False)
class ChipNode:
    """A node for the chip; with `residual`, the Add `fused` is computed in its tail.

    `source` is the tensor as it lies in memory, `image` the (height, width, channels) that the operator sees:
    they differ where a Reshape was folded away.
    """

    node: Node
    source: str
    image: tuple[int, int, int]
    output: str
    residual: str | None = None
    fused: Node | None = None

    @property
    def name(self) -> str:
        return self.node.name or self.node.outputs[0]

    def reads(self) -> list[str]:
        return [self.source] + ([self.residual] if self.residual else [])


@dataclass(eq=False)
class Segment:
    """Chip nodes of one job in execution order, and the host nodes that follow it."""

    chip: list[ChipNode] = field(default_factory=list)
    host: list[Node] = field(default_factory=list)
    inputs: list[str] = field(default_factory=list)  # tensors that come from outside
    outputs: list[str] = field(default_factory=list)  # tensors that are needed outside


def _is_host(graph: Graph, node: Node, aliases: dict[str, str]) -> bool:
    return isinstance(node.op, Softmax) or (isinstance(node.op, Reshape) and node.outputs[0] not in aliases)


def _foldable(graph: Graph, node: Node, source: str) -> bool:
    """Can every consumer of this Reshape read `source` in its place?

    In the blocked layout the order of pixels does not depend on how they are split into rows, so a Reshape that
    keeps the channels costs nothing; a fully connected layer takes any shape, as a convolution over the image.
    """
    output = node.outputs[0]
    if output in graph.outputs:
        return False
    same_channels = graph.tensors[source].shape[-1] == graph.tensors[output].shape[-1]

    def reads_through(user: Node) -> bool:
        if isinstance(user.op, Reshape):
            return _foldable(graph, user, source)
        return isinstance(user.op, FullyConnected) or (same_channels and not isinstance(user.op, Softmax))

    users = [n for n in graph.nodes if output in n.inputs]
    return bool(users) and all(map(reads_through, users))


def fold_reshapes(graph: Graph) -> dict[str, str]:
    """Tensor -> the tensor whose memory it shares, for every Reshape that needs no work."""
    aliases: dict[str, str] = {}
    for node in graph.nodes:
        if isinstance(node.op, Reshape):
            source = aliases.get(node.inputs[0], node.inputs[0])
            if _foldable(graph, node, source):
                aliases[node.outputs[0]] = source
    return aliases


def _image(graph: Graph, name: str, source: str, node: Node) -> tuple[int, int, int]:
    seen = source if isinstance(node.op, FullyConnected) else name
    return image_shape(graph.tensors[seen].shape, node.name or node.outputs[0])


def chip_nodes(graph: Graph, aliases: dict[str, str]) -> list[ChipNode]:
    """The nodes for the chip, in order; Adds are fused into the last computed of their producers that allows it."""
    users: dict[str, int] = {}
    for node in graph.nodes:
        for name in node.inputs:
            users[aliases.get(name, name)] = users.get(aliases.get(name, name), 0) + 1
    result: list[ChipNode] = []
    for node in graph.nodes:
        if node.outputs[0] in aliases or _is_host(graph, node, aliases):
            continue
        sources = [aliases.get(name, name) for name in node.inputs]
        if isinstance(node.op, Add):
            producer = next((c for c in reversed(result) if c.output in sources and c.residual is None
                             and users[c.output] == 1 and c.output not in graph.outputs), None)
            if producer is not None:
                # it moves to the place of the Add, where the other operand is there as well
                result.remove(producer)
                other = sources[1] if sources[0] == producer.output else sources[0]
                result.append(ChipNode(producer.node, producer.source, producer.image, node.outputs[0], other, node))
                continue
        chip = ChipNode(node, sources[0], _image(graph, node.inputs[0], sources[0], node), node.outputs[0])
        if isinstance(node.op, Add):
            chip.residual, chip.fused = sources[1], node
        result.append(chip)
    return result


def segments(graph: Graph) -> list[Segment]:
    """The graph as alternating jobs and host work. A host result that the chip needs starts a new job."""
    aliases = fold_reshapes(graph)
    chips = {c.output: c for c in chip_nodes(graph, aliases)}
    order = {name: i for i, name in enumerate(chips)}
    level = {name: 0 for name in graph.inputs}
    on_host: set[str] = set()
    found: list[Segment] = []

    def at(index: int) -> Segment:
        while len(found) <= index:
            found.append(Segment())
        return found[index]

    for node in graph.nodes:
        output = node.outputs[0]
        if output in chips:
            reads = chips[output].reads()
            level[output] = max(level[r] + (r in on_host) for r in reads)
            at(level[output]).chip.append(chips[output])
        elif _is_host(graph, node, aliases):
            level[output] = max(level[aliases.get(r, r)] for r in node.inputs)
            on_host.add(output)
            at(level[output]).host.append(node)
    for segment in found:
        segment.chip.sort(key=lambda c: order[c.output])
        produced = [c.output for c in segment.chip]
        outside = set(graph.outputs)
        for other in found:
            outside.update(aliases.get(name, name) for n in other.host for name in n.inputs)
            if other is not segment:
                outside.update(r for c in other.chip for r in c.reads())
        segment.outputs = [name for name in produced if name in outside]
        segment.inputs = list(dict.fromkeys(r for c in segment.chip for r in c.reads() if r not in produced))
    return found
