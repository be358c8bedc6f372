"""From the torch.fx graph that convert_pt2e makes to `Graph`.

A layer consists of the nodes between the dequantize nodes of its operands and the quantize node of its result. All
other operators are computed in float32, on the host, as PyTorch does.
"""

import torch
from torch.fx import GraphModule, Node

from lepton.graph import Dequantize, Graph, GraphError, NetworkState, Quantization, Quantize
from lepton.graph.builder import Value
from lepton.graph.numerics.torch_kernels import decides
from lepton.graph.passes import apply

from .affine import affine
from .context import ImportContext, dtype_of
from .execution import Execution
from .floats import float_value
from .functional import functional, states_of
from .layers import layer
from .moves import int8_move, is_move
from .nodes import described, results_of
from .qdq import DEQUANTIZE, QUANTIZE, grid, same
from .tables import table

_NOTE = ("float32 on the host: PyTorch's bytes where torch is installed at run time, else the same to the last places "
         "(docs/pytorch.md)")
_READERS = (table, affine, layer)  # of an int8 result; the first that emits something


def import_converted(module: GraphModule, examples: tuple[torch.Tensor, ...], name: str) -> Graph:
    """The graph of a module that convert_pt2e made; `examples` are inputs, whose shapes the graph gets.

    Buffers that the module changes, and on which later results depend, are states of their names.

    Inputs and outputs are the module's own types, in PyTorch's layout. Raises GraphError for an operator that
    is not supported and for data types other than int8.
    """
    try:
        graph = TorchImporter(module, examples, name).graph
        graph = apply(graph, "int8-states", "integer-writes", "channels-last", "collapse-moves", "integer-products",
                      "integer-rows", "remove-unused", "fold-pads")
        graph.notes += [f"{node.label}: {_NOTE}" for node in graph.nodes
                        if decides(node.op, graph.tensors[node.outputs[0]])]
        return graph
    except GraphError:
        raise
    except Exception as error:  # the module is run, and may raise any exception
        text = str(error).strip().split("\n")[0]
        raise GraphError(f"the module {name!r} cannot be imported: {type(error).__name__}: {text}") from error


class TorchImporter(ImportContext):
    """Makes `graph` of a converted module, which is run once on `examples`.

    int8: the int8 values of quantize nodes and of moves of them. floats: other values, as PyTorch has them.
    """

    def __init__(self, module: GraphModule, examples: tuple[torch.Tensor, ...], name: str):
        module = functional(module, states=True)
        self.states = states_of(module)
        super().__init__(Execution(module, (*examples, *(state.initial for state in self.states))), name)
        self.int8: dict[Node, Value] = {}
        self.floats: dict[Node, Value] = {}
        inputs = [node for node in self.execution.module.graph.nodes if node.op == "placeholder"]
        self.read = dict(zip(inputs[len(inputs) - len(self.states):], self.states, strict=True))
        for node in self.execution.module.graph.nodes:
            if node.op == "placeholder":
                self._input(node)
            elif node.target in QUANTIZE and node not in self.execution.constants:
                self.quantized(node)  # in execution order, so that operands exist and recursion is shallow
        if len(inputs) == len(self.states):
            raise GraphError("the module has no inputs")
        self._outputs()

    def operand(self, node: Node) -> Value | None:
        if node not in self.int8:
            value = self._int8(node)
            if value is None:
                return None
            self.int8[node] = value
        return self.int8[node]

    def _int8(self, node: Node) -> Value | None:
        if node in self.execution.constants:
            return self._constant_operand(node)
        if node.target in DEQUANTIZE:
            return self.quantized(self.arguments(node).operand())
        return int8_move(self, node) if is_move(node) else None

    def _constant_operand(self, node: Node) -> Value | None:
        """The int8 value of a constant that is dequantized from int8 with one scale, and moved."""
        source: object = node
        while isinstance(source, Node) and is_move(source):
            source = source.args[0]
        if not isinstance(source, Node) or source.target not in DEQUANTIZE:
            return None
        q = grid(self.execution, source)
        codes = torch.round(self.execution.tensor(node) / float(q.scale[0])) + int(q.zero_point[0])
        return self.constant(node.name, codes.clamp(-128, 127).to(torch.int8).numpy(), q)

    def quantized(self, node: Node) -> Value:
        """The int8 value that a quantize node makes."""
        if node in self.int8:
            return self.int8[node]
        if node.target not in QUANTIZE:
            raise GraphError(f"{described(node)}: int8 values must come from a quantize node")
        source = self.arguments(node).operand()
        q = grid(self.execution, node)
        existing = self.operand(source)
        if existing is not None and same(existing.tensor.parameters, q):
            self.int8[node] = existing
        else:
            self.int8[node] = self._requantized(node, source, q)
        return self.int8[node]

    def _requantized(self, node: Node, source: Node, q: Quantization) -> Value:
        label = source.name
        made = self.execution.tensor(node)
        name = f"{label}/int8" if label in self.graph.tensors else label
        output = self.declare(name, tuple(made.shape), dtype_of(made), q)
        for reader in _READERS:
            value = reader(self, node, output, label)
            if value is not None:
                return value
        value = self.value(source)
        return self.at(source).emit(Quantize(), [value], output=output)

    def value(self, node: Node) -> Value:
        if node not in self.floats:
            source = None if node in self.execution.constants else self.operand(node)
            if source is None:
                self.floats[node] = float_value(self, node)
            else:
                self.floats[node] = self.at(node).emit(Dequantize(), [source], f"{node.name}/float")
        return self.floats[node]

    def _input(self, node: Node) -> None:
        made = self.execution.made[node]
        if not isinstance(made, torch.Tensor):
            raise GraphError(f"input {node.name!r} must be a tensor, not {made!r}")
        made = self.execution.tensor(node)
        name = self.builder.unique(self.read[node].name if node in self.read else node.name)
        self.floats[node] = self.builder.input(name, tuple(made.shape), dtype_of(made))

    def _outputs(self) -> None:
        results = results_of(next(node for node in self.execution.module.graph.nodes if node.op == "output"))
        callers = len(results) - len(self.states)
        for number, result in enumerate(results[:callers]):
            self.builder.output(self._result(result), self.builder.unique("output" if callers == 1
                                                                         else f"output{number}"))
        for (node, state), result in zip(self.read.items(), results[callers:], strict=True):
            read = self.floats[node].name
            written = self.builder.unique(f"{read}.next")
            self.builder.output(self._result(result), written)
            self.graph.states.append(NetworkState(read, read, written, state.initial.numpy()))

    def _result(self, result: object) -> Value:
        if not isinstance(result, Node) or not isinstance(self.execution.made[result], torch.Tensor):
            raise GraphError(f"an output of the module must be a tensor, not {result!r}; return tensors only")
        return self.value(result)
