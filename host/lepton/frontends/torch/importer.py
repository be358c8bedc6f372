"""From the torch.fx graph that convert_pt2e makes to `Graph`."""

from torch.fx import GraphModule

from lepton.graph import Graph, GraphError
from lepton.graph.numerics.torch_kernels import decides
from lepton.graph.passes import apply

from .affine import affine
from .context import Importer, Readers
from .floats import float_operator
from .layers import layer
from .moves import MOVES
from .tables import table

_NOTE = ("float32 on the host: PyTorch's bytes where torch is installed at run time, else the same to the last places "
         "(docs/pytorch.md)")
READERS = Readers(MOVES, (table, affine, layer), float_operator)


def import_converted(module: GraphModule, examples: tuple, name: str) -> Graph:
    """The graph of a module that convert_pt2e made; `examples` are inputs, whose shapes the graph gets.

    Inputs and outputs are the module's own types, in PyTorch's layout. Raises GraphError for an operator that
    is not supported and for data types other than int8.
    """
    try:
        graph = Importer(module, examples, name, READERS).graph
        graph = apply(graph, "channels-last", "collapse-moves", "fold-pads")
        graph.notes += [f"{node.label}: {_NOTE}" for node in graph.nodes
                        if decides(node.op, graph.tensors[node.outputs[0]])]
        return graph
    except GraphError:
        raise
    except Exception as error:  # the module is run: anything can be raised there
        text = str(error).strip().split("\n")[0]
        raise GraphError(f"the module {name!r} cannot be imported: {type(error).__name__}: {text}") from error
