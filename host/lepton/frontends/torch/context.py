"""The graph under construction, and what the readers of operators share.

In that graph every int8 value is a pair: quantize(float result) and dequantize(int8). A layer is what lies between
the dequantize nodes of its operands and the quantize node of its result. What does not fit this picture is
computed in float32, on the host, as PyTorch does.
"""

import warnings
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
import torchao.quantization.pt2e.quantize_pt2e  # noqa: F401  registers torch.ops.quantized_decomposed
from torch.fx import GraphModule, Interpreter, Node

from lepton.graph import (
    Arithmetic,
    Dequantize,
    Graph,
    GraphError,
    Op,
    OperandList,
    Quantization,
    Quantize,
    Reshape,
    Tensor,
    Transpose,
)
from lepton.graph import Node as GraphNode

from .functional import functional

_Q = torch.ops.quantized_decomposed
QUANTIZE = (_Q.quantize_per_tensor.default, _Q.quantize_per_tensor.tensor)
DEQUANTIZE = (_Q.dequantize_per_tensor.default, _Q.dequantize_per_tensor.tensor)
DEQUANTIZE_CHANNELS = (_Q.dequantize_per_channel.default,)

# Operators that look at the shape of their operand only.
_OF_SHAPES = tuple(getattr(torch.ops.aten, name) for name in (
    "zeros_like", "ones_like", "full_like", "new_zeros", "new_ones", "new_full", "sym_size"))

TO_NHWC, TO_NCHW = (0, 2, 3, 1), (0, 3, 1, 2)


def is_quantized(module: GraphModule) -> bool:
    """Has convert_pt2e made this module?"""
    return any(node.target in (*QUANTIZE, *DEQUANTIZE) for node in module.graph.nodes)


class Recorder(Interpreter):
    """Runs the module once and notes what every node makes."""

    def __init__(self, module: GraphModule):
        super().__init__(module)
        self.made: dict[Node, object] = {}

    def run_node(self, n: Node):
        value = super().run_node(n)
        self.made[n] = value
        return value


class Weights:
    """Constant int8 weights or int32 biases as PyTorch has them, and their quantization."""

    def __init__(self, data: np.ndarray, scale: np.ndarray, zero_point: np.ndarray, axis: int | None):
        self.data, self.scale, self.zero_point, self.axis = data, scale, zero_point, axis


@dataclass(frozen=True)
class Readers:
    """What reads an fx node: each gets the `Importer` and the node, and emits operators into its graph."""

    moves: Mapping[object, Callable[["Importer", Node], str | None]]  # by target: the int8 tensor of a moved value
    layers: Sequence[Callable[["Importer", Node, str, str], bool]]  # of a quantize node, its output and its label
    others: Callable[["Importer", Node], str]  # the tensor of a value that is not int8


class Importer:
    """The graph under construction."""

    def __init__(self, module: GraphModule, examples: tuple, name: str, readers: Readers):
        self.readers = readers
        self.graph = Graph(name, arithmetic=Arithmetic.TORCH)
        module = functional(module)
        shapes = Recorder(module)
        with torch.no_grad(), warnings.catch_warnings():
            warnings.simplefilter("ignore")
            shapes.run(*examples)
        self.made = shapes.made
        self.constant_nodes = _independent(module)
        self.int8: dict[Node, str] = {}  # quantize nodes and moved values: name of the int8 tensor
        self.float: dict[Node, str] = {}  # values as float32 tensors of the graph
        self.turned: dict[str, str] = {}  # NCHW tensor: its NHWC twin
        self.members = Counter(self.module_of(node) for node in module.graph.nodes if node.op == "call_function"
                               and node.target not in (*QUANTIZE, *DEQUANTIZE, *DEQUANTIZE_CHANNELS))
        for node in module.graph.nodes:
            if _is_random(node):
                raise GraphError(f"{self.where(node)}: its result is random; take it out, or make it a constant")
            if node.op == "placeholder":
                if not isinstance(self.made[node], torch.Tensor):
                    raise GraphError(f"input {node.name!r} must be a tensor, not {self.made[node]!r}")
                self.graph.inputs.append(self.add(node.name, self.made[node]))
                self.float[node] = node.name
            elif node.target in QUANTIZE and node not in self.constant_nodes:
                self.quantized(node)  # in order, so that what it needs is there and nothing recurses deeply
        if not self.graph.inputs:
            raise GraphError("the module has no inputs")
        output = next(node for node in module.graph.nodes if node.op == "output")
        results = output.args[0] if isinstance(output.args[0], list | tuple) else [output.args[0]]
        names = ["output"] if len(results) == 1 else [f"output{i}" for i in range(len(results))]
        self.graph.outputs = [self.result(*result) for result in zip(results, names, strict=True)]

    # Names and tensors

    def fresh(self, name: str) -> str:
        while name in self.graph.tensors:
            name += "'"
        return name

    def add(self, name: str, like: torch.Tensor | tuple, dtype=None, quantization=None, data=None) -> str:
        """A new tensor of the shape of `like`."""
        name = self.fresh(name)
        shape = tuple(like.shape) if isinstance(like, torch.Tensor) else tuple(like)
        if 0 in shape:
            raise GraphError(f"{name!r} of shape {tuple(map(int, shape))} has no elements; leave it out of the module")
        if dtype is None:
            dtype = np.dtype(str(like.dtype).removeprefix("torch."))
        self.graph.tensors[name] = Tensor(name, tuple(map(int, shape)), np.dtype(dtype), quantization, data)
        return name

    def constant(self, name: str, data: np.ndarray, quantization: Quantization | None = None) -> str:
        return self.add(name, data.shape, data.dtype, quantization, data)

    def emit(self, op: Op, inputs: list[str], output: str, label: str = "") -> str:
        self.graph.nodes.append(GraphNode(op, inputs, [output], label or output))
        return output

    def host(self, op: Op, inputs: list[str], node: Node) -> str:
        """Emits an operator whose output it infers itself; moved int8 values keep their quantization."""
        x = self.tensor(inputs[0])
        shape, dtype = op.infer(OperandList(self.tensor(name) for name in inputs))
        kept = x.quantization if op.keeps_quantization and dtype == x.dtype else None
        return self.emit(op, inputs, self.add(node.name, shape, dtype, kept), node.name)

    def tensor(self, name: str) -> Tensor:
        return self.graph.tensors[name]

    def nhwc(self, name: str) -> str:
        """The twin of an (N, C, H, W), (N, C, W) or (N, C) tensor with its channels last: (N, H, W, C)."""
        if name not in self.turned:
            x = self.tensor(name)
            shape, source = image_shape(x.shape), name
            if shape != x.shape:
                source = self.emit(Reshape(shape), [name], self.add(f"{name}/image", shape, x.dtype, x.quantization))
            twin = self.add(f"{name}/nhwc", [shape[a] for a in TO_NHWC], x.dtype, x.quantization)
            self.turned[name] = self.emit(Transpose(TO_NHWC), [source], twin)
        return self.turned[name]

    def image(self, op: Op, inputs: list[str], output: str, label: str, axis: int = 1) -> str:
        """Emits an operator on images; `output` has its channels where PyTorch has them, along `axis`: 1, or the last
        of three."""
        y = self.tensor(output)
        if axis != 1:
            shape = (y.shape[0], 1, *y.shape[1:])
            x = self.tensor(inputs[0])
            source = self.emit(Reshape(shape), [inputs[0]], self.add(f"{x.name}/rows", shape, x.dtype, x.quantization))
            rows = self.add(f"{output}/rows", shape, y.dtype, y.quantization)
            return self.emit(Reshape(y.shape), [self.emit(op, [source, *inputs[1:]], rows, label)], output)
        shape, result = image_shape(y.shape), output
        twin = self.add(f"{output}/nhwc", [shape[a] for a in TO_NHWC], y.dtype, y.quantization)
        self.emit(op, [self.nhwc(inputs[0]), *inputs[1:]], twin, label)
        self.turned[output] = twin
        if shape != y.shape:
            result = self.add(f"{output}/image", shape, y.dtype, y.quantization)
        self.emit(Transpose(TO_NCHW), [twin], result)
        return output if result == output else self.emit(Reshape(y.shape), [result], output)

    # Values

    def module_of(self, node: Node) -> str:
        """The path of the module that the node belongs to, empty for the outermost."""
        stack = node.meta.get("nn_module_stack")
        return str(next(reversed(stack.values()))[0]) if stack else ""

    def label(self, node: Node) -> str:
        """What to call the node's operator: its module's path where the module has no other, else its own name."""
        path = self.module_of(node)
        return path if path and self.members[path] == 1 else node.name

    def where(self, node: Node) -> str:
        path = self.module_of(node)
        return f"{node.name} ({node.target}{f' of {path}' if path else ''})"

    def parameter(self, node) -> torch.Tensor | None:
        """The value of a constant; None for what is computed."""
        if isinstance(node, int | float):
            return torch.tensor(float(node))
        if isinstance(node, Node) and node in self.constant_nodes and isinstance(self.made[node], torch.Tensor):
            return self.made[node].detach()
        return None

    def weights(self, node: Node) -> Weights | None:
        """What a dequantize node makes of constant int8 weights or int32 biases, else None."""
        if not isinstance(node, Node) or node.target not in (*DEQUANTIZE, *DEQUANTIZE_CHANNELS):
            return None
        data = self.parameter(node.args[0])
        if data is None or data.dtype not in (torch.int8, torch.int32):
            return None
        scale, zero = (torch.as_tensor(self.made[a] if isinstance(a, Node) else a) for a in node.args[1:3])
        axis = node.args[3] if node.target in DEQUANTIZE_CHANNELS else None
        return Weights(data.numpy(), np.atleast_1d(scale.numpy().astype(np.float32)),
                       np.atleast_1d(zero.numpy().astype(np.int32)), axis)

    def quantization(self, node: Node) -> Quantization:
        """Scale and zero point of a quantize or dequantize node."""
        scale, zero, low, high, dtype = (self.made[a] if isinstance(a, Node) else a for a in node.args[1:6])
        if dtype != torch.int8 or (int(low), int(high)) != (-128, 127):
            raise GraphError(f"{self.where(node)}: activations must be int8 in -128..127, not {dtype} in {low}..{high};"
                             " quantize with LeptonQuantizer")
        return Quantization(np.array([float(scale)], np.float32), np.array([int(zero)], np.int32))

    def requantized(self, node: Node, values: torch.Tensor) -> torch.Tensor:
        """What the quantize node makes of other values: int8."""
        with torch.no_grad():
            return node.target(values, *(self.made[a] if isinstance(a, Node) else a for a in node.args[1:]))

    def operand(self, node: Node) -> str | None:
        """The int8 tensor that the float value of `node` is the dequantization of; None where there is none."""
        if not isinstance(node, Node):
            return None
        if node in self.int8:
            return self.int8[node]
        if node in self.constant_nodes:
            return self.constant_operand(node)
        if node.target in DEQUANTIZE:
            return self.quantized(node.args[0])
        if node.target in self.readers.moves:
            name = self.readers.moves[node.target](self, node)
            if name is not None:
                self.int8[node] = name
            return name
        return None

    def constant_operand(self, node: Node) -> str | None:
        """The same for a constant: what is dequantized from int8 with one scale, and moved."""
        source = node
        while isinstance(source, Node) and source.target in self.readers.moves:
            source = source.args[0]
        if not isinstance(source, Node) or source.target not in DEQUANTIZE:
            return None
        q = self.quantization(source)
        codes = torch.round(self.made[node] / float(q.scale[0])) + int(q.zero_point[0])
        data = codes.clamp(-128, 127).to(torch.int8).numpy()
        self.int8[node] = self.constant(node.name, np.array(data, order="C"), q)
        return self.int8[node]

    def quantized(self, node: Node) -> str:
        """The int8 tensor that a quantize node makes."""
        if node in self.int8:
            return self.int8[node]
        if node.target not in QUANTIZE:
            raise GraphError(f"{self.where(node)}: int8 values must come from a quantize node")
        source, q = node.args[0], self.quantization(node)
        existing = self.operand(source)
        if existing is not None and same(self.tensor(existing).quantization, q):
            self.int8[node] = existing
            return existing
        label = source.name
        output = self.add(f"{label}/int8" if label in self.graph.tensors else label, self.made[node], np.int8, q)
        if not any(rule(self, node, output, label) for rule in self.readers.layers):
            self.emit(Quantize(), [self.value(source)], output, label)
        self.int8[node] = output
        return output

    def value(self, node: Node) -> str:
        """The float32 tensor of a value, computed on the host where it must be."""
        if node in self.float:
            return self.float[node]
        source = None if node in self.constant_nodes else self.operand(node)
        if source is not None:
            name = self.add(f"{node.name}/float", self.made[node], np.float32)
            self.float[node] = self.emit(Dequantize(), [source], name, node.name)
        else:
            self.float[node] = self.readers.others(self, node)
        return self.float[node]

    def result(self, node: Node, output: str) -> str:
        """The float32 tensor of one of the module's outputs, named `output`."""
        if not isinstance(node, Node) or not isinstance(self.made[node], torch.Tensor):
            raise GraphError(f"an output of the module must be a tensor, not {node!r}; return tensors only")
        name = self.value(node)
        x = self.tensor(name)
        return self.emit(Reshape(x.shape), [name], self.add(output, x.shape, x.dtype), output)


def image_shape(shape: tuple[int, ...]) -> tuple[int, ...]:
    """(N, C, W) as an image one pixel high, (N, C) as one pixel."""
    if len(shape) == 2:
        return (*shape, 1, 1)
    return (*shape[:2], 1, shape[2]) if len(shape) == 3 else tuple(shape)


def _independent(module: GraphModule) -> set[Node]:
    """The nodes that no input of the module reaches."""
    found: set[Node] = set()
    for node in module.graph.nodes:
        if node.op == "get_attr" or (node.op == "call_function" and (
                all(n in found for n in node.all_input_nodes)
                or getattr(node.target, "overloadpacket", None) in _OF_SHAPES)):
            found.add(node)
    return found


def _is_random(node: Node) -> bool:
    """Does the node's result, which something reads, change from run to run?"""
    if torch.Tag.nondeterministic_seeded not in getattr(node.target, "tags", ()) or not node.users:
        return False
    if node.target is torch.ops.aten.scaled_dot_product_attention.default:
        return bool(node.args[4] if len(node.args) > 4 else node.kwargs.get("dropout_p", 0.0))
    return True


def same(a: Quantization, b: Quantization) -> bool:
    """Do two quantizations stand for the same reals?"""
    return np.array_equal(a.scale, b.scale) and np.array_equal(a.zero_point, b.zero_point)
