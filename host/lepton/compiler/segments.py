"""The graph as jobs for the chip and work for the host in turn, as few jobs as the graph allows.

Reshapes that only rename memory disappear, tables and additions are fused into the layer before them.
"""

from dataclasses import dataclass, field, replace

from ..graph import (
    Add,
    Concat,
    FullyConnected,
    Graph,
    Node,
    Reshape,
    Resize,
    Slice,
    Sub,
    Table,
    TransposeConv2D,
)
from .partition import cuts_image, rows_of
from .verify import image_shape, label


@dataclass(eq=False)
class ChipNode:
    """A node for the chip; with `table`, its results go through that Table, with `residual`, the Add or Sub `fused` is
    computed in its tail, behind the table.

    `source` is the tensor as it lies in memory, `image` the (height, width, channels) that the operator sees:
    they differ where a Reshape was folded away.
    """

    node: Node
    source: str
    image: tuple[int, int, int]
    output: str
    residual: str | None = None
    fused: Node | None = None
    table: Node | None = None
    others: tuple[str, ...] = ()  # a concatenation's operands after the first
    cuts: bool = False  # a Slice that takes pixels away, rather than channels

    @property
    def own(self) -> str:
        """The tensor that the residual is added to."""
        if isinstance(self.node.op, Add | Sub):
            return self.node.inputs[0]
        return (self.table or self.node).outputs[0]

    @property
    def moves(self) -> bool:
        """Does it only say where channels lie?"""
        return isinstance(self.node.op, Concat | Slice) and not self.cuts

    @property
    def scatters(self) -> bool:
        """Does it take other than one layer, so that no addition can be fused into it?"""
        return self.moves or isinstance(self.node.op, Resize | TransposeConv2D)

    @property
    def name(self) -> str:
        return self.node.name or self.node.outputs[0]

    @property
    def nodes(self) -> list[Node]:
        """The nodes of the graph that it computes."""
        return [self.node] + [n for n in (self.table, self.fused) if n not in (None, self.node)]

    def reads(self) -> list[str]:
        return [self.source, *self.others] + ([self.residual] if self.residual else [])


@dataclass(eq=False)
class Segment:
    """Chip nodes of one job in execution order, and the host nodes that follow it."""

    chip: list[ChipNode] = field(default_factory=list)
    host: list[Node] = field(default_factory=list)
    inputs: list[str] = field(default_factory=list)  # tensors that come from outside
    outputs: list[str] = field(default_factory=list)  # tensors that are needed outside


class Segmenter:
    """`refused` maps the id of each node that is for the host to the reason."""

    def __init__(self, graph: Graph, refused: dict[int, str]):
        self.graph, self.refused = graph, refused
        self.producers = {node.outputs[0]: node for node in graph.nodes}
        self.chips = {chip.output: chip for chip in self._chip_nodes()}
        self.hosts = self._host_nodes()

    def _on_host(self, node: Node) -> bool:
        return id(node) in self.refused

    # what the chip reads in place of a Reshape's output

    def _seen_through(self, node: Node, name: str) -> str:
        """The tensor whose memory holds operand `name` as `node` on the chip needs it.

        In the blocked layout the order of pixels does not depend on how they are split into rows, so a Reshape that
        keeps the channels costs nothing; a fully connected layer over everything takes any shape.
        """
        tensors = self.graph.tensors
        any_shape = isinstance(node.op, FullyConnected) and not rows_of(self.graph, node)
        while True:
            producer = self.producers.get(name)
            if producer is None or not isinstance(producer.op, Reshape) or self._on_host(producer):
                return name
            source = producer.inputs[0]
            if not any_shape and tensors[source].shape[-1] != tensors[name].shape[-1]:
                return name
            if any_shape and max(image_shape(tuple(tensors[source].shape), label(node))[:2]) > 255:
                return name
            name = source

    def _chip_nodes(self) -> list[ChipNode]:
        """The nodes for the chip, in order; Tables and Adds are fused into the last computed of their producers that
        allows it. The tail looks up before it adds, so a Table behind an Add is a node of its own."""
        work = [n for n in self.graph.nodes if not self._on_host(n) and not isinstance(n.op, Reshape)]
        sources = {id(n): [self._seen_through(n, name) if self.graph.tensors[name].data is None else name
                           for name in n.inputs if name] for n in work}
        users: dict[str, int] = {}
        for node in self.graph.nodes:
            for name in sources.get(id(node), node.inputs):
                users[name] = users.get(name, 0) + 1
        result: list[ChipNode] = []
        for node in work:
            reads = sources[id(node)]
            if isinstance(node.op, Add | Sub):
                producer = next((c for c in reversed(result)
                                 if c.output in reads and c.residual is None and not c.scatters
                                 and users[c.output] == 1 and c.output not in self.graph.outputs), None)
                if producer is not None:
                    # it moves to the place of the Add, where the other operand is there as well
                    result.remove(producer)
                    other = reads[1] if reads[0] == producer.output else reads[0]
                    result.append(replace(producer, output=node.outputs[0], residual=other, fused=node))
                    continue
            if isinstance(node.op, Table):
                producer = next((c for c in result if c.output == node.inputs[0] and c.residual is None
                                 and c.table is None and not isinstance(c.node.op, Table) and not c.moves
                                 and users[c.output] == 1 and c.output not in self.graph.outputs), None)
                if producer is not None:
                    producer.table, producer.output = node, node.outputs[0]
                    continue
            any_shape = isinstance(node.op, FullyConnected) and not rows_of(self.graph, node)
            seen = reads[0] if any_shape else node.inputs[0]
            image = image_shape(tuple(map(int, self.graph.tensors[seen].shape)), label(node))
            chip = ChipNode(node, reads[0], image, node.outputs[0], cuts=cuts_image(self.graph, node))
            if isinstance(node.op, Add | Sub):
                chip.residual, chip.fused = reads[1], node
            elif chip.moves:
                chip.others = tuple(reads[1:])
            result.append(chip)
        return result

    def _host_nodes(self) -> dict[str, Node]:
        """What the host computes, by output: nodes that are for it, and Reshapes whose result is read as it is."""
        needed = set(self.graph.outputs)
        needed.update(name for chip in self.chips.values() for name in chip.reads())
        found = {}
        for node in reversed(self.graph.nodes):
            output = node.outputs[0]
            if self._on_host(node) or (isinstance(node.op, Reshape) and output in needed):
                found[output] = node
                needed.update(filter(None, node.inputs))
        return {node.outputs[0]: node for node in self.graph.nodes if node.outputs[0] in found}

    # levels: level n is job n, then the host's work on its results

    def segments(self) -> list[Segment]:
        """Everything as late as possible with the least number of levels: then jobs are as few as the longest
        alternation of chip and host demands."""
        steps = list({**self.chips, **self.hosts})
        order = self._order(steps)
        reads = {name: self._reads(name) for name in steps}
        early: dict[str, int] = {}
        for name in order:
            crossing = [early[r] + (name in self.chips and r in self.hosts) for r in reads[name] if r in early]
            early[name] = max(crossing, default=0)
        last = max(early.values(), default=0)
        level = dict.fromkeys(steps, last)
        for name in reversed(order):
            for r in reads[name]:
                if r in level:
                    level[r] = min(level[r], level[name] - (name in self.chips and r in self.hosts))
        return self._collect(order, level, last)

    def _reads(self, name: str) -> list[str]:
        if name in self.chips:
            return self.chips[name].reads()
        return [n for n in self.hosts[name].inputs if n and self.graph.tensors[n].data is None]

    def _order(self, steps: list[str]) -> list[str]:
        """Chip nodes in their order (an Add's producer has moved), host nodes as soon as their operands are there."""
        done = set(self.graph.inputs)
        pending_chip = [name for name in self.chips]
        pending_host = [name for name in self.hosts]
        order: list[str] = []
        while pending_chip or pending_host:
            before = len(order)
            for queue in (pending_host, pending_chip):
                ready = [name for name in queue]
                for name in ready:
                    if all(r in done for r in self._reads(name)):
                        done.add(name)
                        order.append(name)
                        queue.remove(name)
                    elif queue is pending_chip:
                        break
            assert len(order) > before, "the verifier let a cycle pass"
        return order

    def _collect(self, order: list[str], level: dict[str, int], last: int) -> list[Segment]:
        found = [Segment() for _ in range(last + 1)]
        for name in order:
            segment = found[level[name]]
            if name in self.chips:
                segment.chip.append(self.chips[name])
            else:
                segment.host.append(self.hosts[name])
        wanted = set(self.graph.outputs)
        wanted.update(name for output in self.hosts for name in self._reads(output))
        for segment in found:
            produced = [c.output for c in segment.chip]
            elsewhere = {r for other in found if other is not segment for c in other.chip for r in c.reads()}
            segment.outputs = [name for name in produced if name in wanted | elsewhere]
            segment.inputs = list(dict.fromkeys(r for c in segment.chip for r in c.reads() if r not in produced))
        return found


def segments(graph: Graph, refused: dict[int, str]) -> list[Segment]:
    """The segments of a verified graph in order."""
    return Segmenter(graph, refused).segments()
