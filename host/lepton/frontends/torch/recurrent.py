"""LSTM, GRU and RNN layers and cells as their steps (`frontends.recurrent`), so that each can be int8."""

from collections.abc import Sequence

import numpy as np
import torch
from torch.fx import GraphModule, Node
from torch.utils._pytree import tree_map

from lepton.graph import GraphError

from ..recurrent import RELU, SIGMOID, TANH, Cell, CellFunction, CellOptions, CellWeights, Gru, Lstm, Range, run
from .dense import constant
from .nodes import Arguments, described

aten = torch.ops.aten

RANGE = "lepton_range"  # the key of a node's `Range` in its `meta`

_LAYERS: dict[object, str] = {
    aten.lstm.input: "lstm", aten.gru.input: "gru", aten.rnn_tanh.input: "rnn_tanh", aten.rnn_relu.input: "rnn_relu"}
_CELLS: dict[object, str] = {
    aten.lstm_cell.default: "lstm", aten.gru_cell.default: "gru", aten.rnn_tanh_cell.default: "rnn_tanh",
    aten.rnn_relu_cell.default: "rnn_relu"}
_OPTIONS = {"lstm": CellOptions((SIGMOID, TANH, TANH)), "gru": CellOptions((SIGMOID, TANH)),
            "rnn_tanh": CellOptions((TANH,)), "rnn_relu": CellOptions((RELU,))}
_KINDS: dict[str, type[Cell[Node]]] = {"lstm": Lstm, "gru": Gru}
_FUNCTIONS = {SIGMOID: aten.sigmoid.default, TANH: aten.tanh.default, RELU: aten.relu.default}


def is_recurrent(node: Node) -> bool:
    """Whether `with_recurrent_steps` knows the node's operator."""
    return node.target in _LAYERS or node.target in _CELLS


def with_recurrent_steps(module: GraphModule) -> GraphModule:
    """Every recurrent layer and cell becomes products, sums and functions; those of one kind have one `Range`.

    The module changes in place. The sums are PyTorch's, in another order. Raises GraphError for weights that are
    computed and for a layer in training mode.
    """
    nodes = [node for node in module.graph.nodes if is_recurrent(node)]
    for node in nodes:
        with module.graph.inserting_before(node):
            results = _StackedLayers(module, node).results() if node.target in _LAYERS else _of_cell(module, node)
        if len(results) == 1 and node.target in _CELLS:
            node.replace_all_uses_with(results[0])
        for user in list(node.users):
            user.replace_all_uses_with(results[int(str(user.args[1]))])
            module.graph.erase_node(user)
        module.graph.erase_node(node)
    if nodes:
        module.graph.eliminate_dead_code()
        module.recompile()
    return module


def _of_cell(module: GraphModule, node: Node) -> list[Node]:
    """The state after one step: h, or h and c."""
    arguments = Arguments(node)
    kind = _CELLS[node.target]
    steps = _FxSteps(module, node, 0)
    states = arguments.nodes("hx") if kind == "lstm" else [arguments.operand(1)]
    weights = [arguments.optional_node(name) for name in ("w_ih", "w_hh", "b_ih", "b_hh")]
    cell = _KINDS.get(kind, Cell)(steps, _weights(module, node, [w for w in weights if w is not None]),
                                  _OPTIONS[kind], node.name, *[steps.unless_zero(state) for state in states])
    h = cell.advance(cell.inputs(arguments.operand(0)))
    return [h] if cell.c is None else [h, cell.c]


class _StackedLayers:
    """A recurrent layer of one or more levels, in one direction or two."""

    def __init__(self, module: GraphModule, node: Node):
        self.module = module
        self.node = node
        self.arguments = Arguments(node)
        self.kind = _LAYERS[node.target]
        if self.arguments.flag("train") and self.arguments.number("dropout"):
            raise GraphError(f"{described(node)}: the layer is in training mode, with dropout; call module.eval() "
                             "first")
        self.steps = _FxSteps(module, node, 1 if self.arguments.flag("batch_first") else 0)
        self.states = self.arguments.nodes("hx") if self.kind == "lstm" else [self.arguments.operand(1)]
        self.directions = 2 if self.arguments.flag("bidirectional") else 1

    def results(self) -> list[Node]:
        """The output of all steps, and the last state: h, or h and c, each (levels * directions, batch, channels)."""
        steps = self.steps
        params = self.arguments.nodes("params")
        levels = self.arguments.integer("num_layers")
        each = len(params) // (levels * self.directions)
        x = self.arguments.operand(0)
        length = int(x.meta["val"].shape[steps.axis])
        if not length:
            raise GraphError(f"{described(self.node)}: the sequence has no steps")
        last: list[list[Node]] = []
        for level in range(levels):
            sides: list[Node] = []
            for side in range(self.directions):
                index = level * self.directions + side
                cell = self._cell(index, params[index * each:(index + 1) * each])
                sides.append(steps.join(run(cell, x, length, backward=bool(side))))
                last.append([state for state in (cell.h, cell.c) if state is not None])
            x = steps.beside(sides)
        return [x, *(steps.stack(list(states), 0) for states in zip(*last, strict=True))]

    def _cell(self, index: int, params: Sequence[Node]) -> Cell[Node]:
        states = [self.steps.unless_zero(state, index) for state in self.states]
        return _KINDS.get(self.kind, Cell)(self.steps, _weights(self.module, self.node, params), _OPTIONS[self.kind],
                                           f"{self.node.name}.{index}", *states)


def _weights(module: GraphModule, node: Node, params: Sequence[Node]) -> CellWeights:
    """Of a cell: `params` are w_ih, w_hh, the biases b_ih and b_hh if there are any, and the projection w_hr if any."""
    arrays: list[np.ndarray] = []
    for param in params:
        value = constant(module, param)
        if value is None:
            raise GraphError(f"{described(node)}: its weights {param.name!r} are computed; they must be parameters")
        arrays.append(value.detach().to(torch.float32).numpy())
    biases = [array for array in arrays[2:] if array.ndim == 1] or [np.zeros(len(arrays[0]), np.float32)] * 2
    return CellWeights(arrays[0], arrays[1], biases[0], biases[1], next((a for a in arrays[2:] if a.ndim == 2), None))


class _FxSteps:
    """Makes nodes of a torch.fx graph, in the place of `node`. `axis` is that of time in sequences (3 axes)."""

    def __init__(self, module: GraphModule, node: Node, axis: int):
        self.axis = axis
        self._module = module
        self._node = node
        self._constants: dict[bytes, Node] = {}

    def linear(self, x: Node, weights: np.ndarray, bias: np.ndarray | None, within: Range) -> Node:
        operands = [x, self.constant(weights)] + ([] if bias is None else [self.constant(bias)])
        return self._call(aten.linear.default, *operands, within=within)

    def add(self, a: Node, b: Node, within: Range) -> Node:
        return self._call(aten.add.Tensor, a, b, within=within)

    def subtract(self, a: Node, b: Node, within: Range) -> Node:
        return self._call(aten.sub.Tensor, a, b, within=within)

    def multiply(self, a: Node, b: Node, within: Range) -> Node:
        return self._call(aten.mul.Tensor, a, b, within=within)

    def apply(self, function: CellFunction, x: Node, within: Range) -> Node:
        return self._call(_FUNCTIONS[function], x, within=within)

    def clip(self, x: Node, limit: float, within: Range) -> Node:
        return self._call(aten.clamp.default, x, -limit, limit, within=within)

    def constant(self, values: np.ndarray) -> Node:
        key = repr(values.shape).encode() + values.tobytes()
        if key not in self._constants:
            name = f"{self._node.name}_constant_{len(self._constants)}"
            tensor = torch.from_numpy(np.ascontiguousarray(values, np.float32))
            self._module.register_buffer(name, tensor)
            made = self._module.graph.get_attr(name)
            mode = self._node.args[0].meta["val"].fake_mode if isinstance(self._node.args[0], Node) else None
            made.meta["val"] = tensor if mode is None else mode.from_tensor(tensor)
            self._constants[key] = made
        return self._constants[key]

    def step(self, sequence: Node, time: int) -> Node:
        return sequence if sequence.meta["val"].ndim == 2 else self._call(aten.select.int, sequence, self.axis, time)

    def channels(self, x: Node, start: int, stop: int) -> Node:
        return self._call(aten.slice.Tensor, x, -1, start, stop)

    def join(self, steps: Sequence[Node]) -> Node:
        return self.stack(steps, self.axis)

    def stack(self, values: Sequence[Node], axis: int) -> Node:
        """Values of two axes, joined along a new one."""
        parts = [self._call(aten.unsqueeze.default, value, axis) for value in values]
        return parts[0] if len(parts) == 1 else self._call(aten.cat.default, parts, axis)

    def beside(self, sequences: Sequence[Node]) -> Node:
        return sequences[0] if len(sequences) == 1 else self._call(aten.cat.default, list(sequences), -1)

    def named(self, x: Node, within: Range) -> Node:
        x.meta.setdefault(RANGE, within)
        return x

    def unless_zero(self, state: Node, index: int | None = None) -> Node | None:
        """A state, or that of one level and direction; None where it is a constant of zeros."""
        value = constant(self._module, state)
        filled = state.target is aten.zeros.default or (state.target is aten.full.default and not state.args[1])
        if filled or (value is not None and not value.any()):
            return None
        return state if index is None else self._call(aten.select.int, state, 0, index)

    def _call(self, target: torch._ops.OpOverload, *operands: object, within: Range | None = None) -> Node:
        made = self._module.graph.call_function(target, tuple(operands))  # type: ignore[arg-type]  # any argument
        values = tree_map(lambda operand: operand.meta["val"] if isinstance(operand, Node) else operand, operands)
        made.meta = {key: value for key, value in self._node.meta.items() if key != "val"} | {"val": target(*values)}
        if within is not None:
            made.meta[RANGE] = within
        return made
