"""Tables behind reshapes go before them: between the layer and its heads a reshape is free, and behind a table it is a
part of the moves that products read through (`head_products`)."""

from dataclasses import replace

from .. import Graph, Node, Reshape, Table
from .rewrite import readers, unique, with_nodes


def tables_first(graph: Graph) -> Graph:
    """Every `Table` that is the only reader of a `Reshape` reads its operand instead, and the reshape comes behind."""
    users = readers(graph)
    tensors = dict(graph.tensors)
    moves: dict[str, Node] = {}  # result of a reshape that only a table reads -> it, as rewritten
    nodes: list[Node] = []
    for node in graph.nodes:
        name = node.inputs[0]
        before = moves.get(name)
        if isinstance(node.op, Table) and before is not None:
            nodes.remove(before)
            source = tensors[before.inputs[0]]
            output = tensors[node.outputs[0]]
            made = unique(f"{output.name}.first", tensors)
            tensors[made] = replace(output, name=made, shape=source.shape)
            nodes.append(replace(node, inputs=[source.name], outputs=[made]))
            node = replace(before, inputs=[made], outputs=[output.name])
        if isinstance(node.op, Reshape):
            output_name = node.outputs[0]
            if len(users.get(output_name, ())) == 1 and output_name not in graph.outputs and (
                    tensors[node.inputs[0]].data is None):
                moves[output_name] = node
        nodes.append(node)
    return with_nodes(graph, nodes, tensors)
