"""Segments: jobs for the chip and work for the host in turn, as few jobs as the graph allows.

Reshapes disappear (`operands`), tables and additions are fused into the layer before them.
"""

from collections import Counter
from collections.abc import Callable
from dataclasses import replace

from ..arch import ChipConfig
from ..graph import Graph, Node
from .chip_node import ChipJob, ChipNode
from .images import Alias, Operand
from .lowering.rules import RULES
from .operands import Operands, keeps_values, renames
from .rule import Fusion


class Segmenter:
    """`refused` maps the id of each node that is for the host to the reason."""

    def __init__(self, graph: Graph, refused: dict[int, str], config: ChipConfig):
        self.graph = graph
        self.refused = refused
        self.operands = Operands(graph, set(refused), config.lanes)
        work = [n for n in graph.nodes
                if not (self._on_host(n) or renames(n) or self.operands.at_the_edge(n))]
        reads = {id(n): self._operands_of(n) for n in work}
        self.hosts = self._host_nodes({o.tensor for operands in reads.values() for o in operands})
        # what the caller and host operators read of the chip, once for each of them
        wanted = [*graph.outputs, *(n for node in self.hosts.values() for n in node.inputs if self._computed(n))]
        self.aliases = [alias for name in wanted if (alias := self.operands.alias(name)) is not None]
        self.chips = {chip.output: chip for chip in self._chip_nodes(work, reads)}

    def _operands_of(self, node: Node) -> list[Operand]:
        """What a layer reads of activations; a constant only where it meets results in the tail."""
        meets = RULES[type(node.op)].fusion is Fusion.RESIDUAL
        return [self.operands.operand(node, i) for i, name in enumerate(node.inputs) if meets or self._computed(name)]

    def _on_host(self, node: Node) -> bool:
        return id(node) in self.refused

    def _computed(self, name: str) -> bool:
        return bool(name) and self.graph.tensors[name].data is None

    def _host_nodes(self, read_by_chip: set[str]) -> dict[str, Node]:
        """What the host computes, by output: nodes that are for it, and other shapes of its own tensors that are
        read."""
        needed = set(self.graph.outputs)
        found: set[str] = set()
        for node in reversed(self.graph.nodes):
            output = node.outputs[0]
            if keeps_values(self.graph, node):
                computes = output in read_by_chip or (output in needed and self.operands.alias(output) is None)
            else:
                computes = self._on_host(node)
            if computes:
                found.add(output)
                needed.update(filter(None, node.inputs))
        return {node.outputs[0]: node for node in self.graph.nodes if node.outputs[0] in found}

    def _chip_nodes(self, work: list[Node], reads: dict[int, list[Operand]]) -> list[ChipNode]:
        """The nodes for the chip, in order; Tables and operators of two tensors are fused into the last computed of
        their producers that allows it. The tail looks up before it adds, so a Table behind an Add is a node of its own.
        The layer's own value must be an operand of the result's size; the other may be repeated over rows or columns.
        """
        users = Counter(operand.tensor for operands in reads.values() for operand in operands)
        users.update(alias.tensor for alias in self.aliases)

        def fits(chip: ChipNode, operand: Operand) -> bool:
            return (chip.rule.tail and chip.output == operand.tensor and not operand.packed and chip.residual is None
                    and users[chip.output] == 1)

        result: list[ChipNode] = []
        for node in work:
            operands = reads[id(node)]
            rule = RULES[type(node.op)]
            if rule.fusion is Fusion.RESIDUAL:
                image = rule.written_image(self.graph, node, node.op)
                whole = [i for i in (0, 1) if operands[i].image == image and not operands[i].constant]
                found = next(((c, i) for c in reversed(result) for i in whole
                              if fits(c, operands[i]) and not c.scatters), None)
                if found is not None:
                    # It moves to the place of that operator, where the other operand is computed as well.
                    producer, index = found
                    result.remove(producer)
                    result.append(replace(producer, output=node.outputs[0], residual=operands[1 - index], fused=node,
                                          own_first=index == 0))
                    continue
            if rule.fusion is Fusion.TABLE:
                before = next((c for c in result if fits(c, operands[0]) and c.table is None
                               and c.rule.fusion is not Fusion.TABLE and not c.moves), None)
                if before is not None:
                    before.table = node
                    before.output = node.outputs[0]
                    continue
            own = whole[0] if rule.fusion is Fusion.RESIDUAL else 0
            chip = ChipNode(node, rule, operands[own], rule.written_image(self.graph, node, node.op), node.outputs[0],
                            moves=rule.moves(self.graph, node, node.op),
                            phases=rule.phases(self.graph, node, node.op))
            if rule.fusion is Fusion.RESIDUAL:
                chip.residual = operands[1 - own]
                chip.fused = node
                chip.own_first = own == 0
            elif chip.moves:
                chip.others = tuple(operands[1:])
            result.append(chip)
        return result

    # levels: level n is job n, then the host's work on its results

    def segments(self) -> list[ChipJob]:
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
        return [self._made_as(n) for n in self.hosts[name].inputs if self._computed(n)]

    def _made_as(self, name: str) -> str:
        """The tensor of the chip that the host reads as `name`, or `name` itself."""
        alias = self.operands.alias(name)
        return name if alias is None else alias.tensor

    def _order(self, steps: list[str]) -> list[str]:
        """Chip nodes in their order (producers have moved to what was fused into them), host nodes as soon as possible.
        """
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

    def _collect(self, order: list[str], level: dict[str, int], last: int) -> list[ChipJob]:
        found = [ChipJob() for _ in range(last + 1)]
        for name in order:
            segment = found[level[name]]
            if name in self.chips:
                segment.chip.append(self.chips[name])
            else:
                segment.host.append(self.hosts[name])
        for segment in found:
            produced = [c.output for c in segment.chip]
            elsewhere = {r for other in found if other is not segment for c in other.chip for r in c.reads()}
            aliases = [alias for alias in self.aliases if alias.tensor in produced]
            aliases += [Alias(name, name) for name in produced if name in elsewhere]
            segment.aliases = list(dict.fromkeys(aliases))
            segment.outputs = [name for name in produced if name in {alias.tensor for alias in segment.aliases}]
            segment.inputs = list(dict.fromkeys(r for c in segment.chip for r in c.reads() if r not in produced))
        return found


def split(segment: ChipJob, layers: list[int], limit: int, size: Callable[[str], int]) -> tuple[ChipJob, ChipJob]:
    """A segment as two: the chip keeps counters of `limit` layers of a job, and the nodes of this one take `layers`.

    It is cut where the fewest bytes cross (`size` of a tensor), as long as that makes no more jobs than needed.
    """
    jobs = -(-sum(layers) // limit)
    before = [sum(layers[:place]) for place in range(len(layers) + 1)]
    most = max(place for place in range(1, len(layers)) if before[place] <= limit)
    places = [place for place in range(1, most + 1) if before[-1] - before[place] <= limit * (jobs - 1)] or [most]

    def crossing(place: int) -> int:
        made = {chip.output for chip in segment.chip[:place]}
        return sum(map(size, {name for chip in segment.chip[place:] for name in chip.reads()} & made))

    place = min(places, key=lambda p: (crossing(p), -p))
    first = ChipJob(segment.chip[:place])
    second = ChipJob(segment.chip[place:], segment.host)
    read_later = {name for chip in second.chip for name in chip.reads()}
    for part in (first, second):
        own = [chip.output for chip in part.chip]
        part.inputs = list(dict.fromkeys(r for chip in part.chip for r in chip.reads() if r not in own))
        aliases = [alias for alias in segment.aliases if alias.tensor in own]
        aliases += [Alias(name, name) for name in own if part is first and name in read_later]
        part.aliases = list(dict.fromkeys(aliases))
        part.outputs = [name for name in own if name in {alias.tensor for alias in part.aliases}]
    return first, second


def segments(graph: Graph, refused: dict[int, str], config: ChipConfig) -> list[ChipJob]:
    """The segments of a verified graph in order, for a chip of configuration `config`."""
    return Segmenter(graph, refused, config).segments()
