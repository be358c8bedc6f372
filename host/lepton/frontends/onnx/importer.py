"""The walk over an ONNX model: inputs, operators in their order, outputs."""

from collections.abc import Callable, Mapping

import numpy as np
import onnx

from lepton.graph import Graph, GraphError, Quantization, Recenter
from lepton.graph.builder import Value

from .node import Converter, OnnxNode
from .state import TYPES, ImportState
from .values import BYTES, CODES, UINT8, Computed, Constant, Pending, Tabulated

_NOT_REPEATABLE = {"RandomNormal", "RandomNormalLike", "RandomUniform", "RandomUniformLike", "Bernoulli", "Multinomial"}
# The shape of their results depends on the values, so that no memory can be planned for them.
_DYNAMIC = {"NonZero", "Unique", "NonMaxSuppression", "Compress", "StringSplit"}


class OnnxImporter:
    """Builds `graph` from a model as ONNX Runtime runs it. Inputs and outputs keep their ONNX names.

    `converters` are functions of a node that set its results; `in_float` computes a layer that nothing quantizes.
    """

    def __init__(self, model: onnx.ModelProto, name: str, converters: Mapping[str, Converter],
                 in_float: Callable[[ImportState, Pending], Value]) -> None:
        self.state = ImportState(model, name, in_float)
        self.converters = converters
        self.state.builder.where = "the network's input"
        for value in model.graph.input:
            self._input(value)
        for node in model.graph.node:
            with self.state.at(node):
                self._operator(node)
        self.state.builder.where = "the network's output"
        self._outputs([value.name for value in model.graph.output])

    @property
    def graph(self) -> Graph:
        return self.state.graph

    def _input(self, value: onnx.ValueInfoProto) -> None:
        kind = value.type.tensor_type
        dtype = np.dtype(onnx.helper.tensor_dtype_to_np_dtype(kind.elem_type)) if kind.elem_type else None
        if dtype is None or dtype not in TYPES:
            raise GraphError(f"input {value.name!r} must be {', '.join(sorted(map(str, TYPES)))}, not {dtype}")
        shape = tuple(dim.dim_value for dim in kind.shape.dim)
        if dtype not in BYTES:
            self.state.values[value.name] = Computed(self.state.builder.input(value.name, shape, dtype))
            return
        q = self.state.quantization(value.name)
        if dtype == UINT8:
            shifted = Quantization(q.scale, q.zero_point + 128)  # `q` is that of the values as int8
            tensor = self.state.builder.input(value.name, shape, dtype, shifted)
            tensor = self.state.emit(Recenter(), [tensor], value.name, q)
        else:
            tensor = self.state.builder.input(value.name, shape, dtype, q)
        self.state.values[value.name] = Tabulated(tensor, CODES[dtype])

    def _operator(self, proto: onnx.NodeProto) -> None:
        node = OnnxNode(self.state, proto)
        # A dequantized constant keeps its codes and its scale, so that an integer layer can use it as weights.
        if node.kind != "DequantizeLinear" and self._reads_constants(proto):
            self._fold(node)
        elif node.kind in self.converters:
            self.converters[node.kind](node)
        else:
            raise node.error(f"{_unsupported(node.kind)}; docs/operators.md lists the operators")

    def _reads_constants(self, node: onnx.NodeProto) -> bool:
        """Whether all operands are known at import."""
        return all(isinstance(self.state.values.get(name), Constant) for name in node.input if name)

    def _fold(self, node: OnnxNode) -> None:
        """Computes an operator on constants."""
        if node.kind in _NOT_REPEATABLE:
            raise node.error(_unsupported(node.kind))
        operands = [value for value in node.values() if isinstance(value, Constant)]
        loaded = all(value.loaded for value in operands)
        # The first output is always wanted; others, as a Dropout's mask, only where something reads them.
        for position, name in enumerate(node.proto.output):
            if name and (self.state.readers[name] or not position):
                node.set(Constant(node.evaluate_constants(position), loaded=loaded), position)

    def _outputs(self, outputs: list[str]) -> None:
        """Gives the outputs' tensors the outputs' names. A value may be an output several times, under any names."""
        graph = self.graph
        names = [name for name in dict.fromkeys(outputs) if name not in graph.inputs]  # those are there already
        values = [self.state.host(name) for name in names]
        tensors = [value.tensor for value in values]
        for name, value in zip(names, values, strict=True):
            tensor = value.tensor
            if tensor.name == name and tensor.data is None:
                continue
            if name in graph.tensors:
                self._rename(name, self.state.builder.unique(name))
            if tensor.name in graph.inputs or tensor.data is not None or tensors.count(tensor) > 1:
                self.state.builder.output(value, name)  # a tensor of its own
            else:
                self._rename(tensor.name, name)
        graph.outputs = outputs

    def _rename(self, old: str, new: str) -> None:
        tensor = self.graph.tensors.pop(old)
        tensor.name = new
        self.graph.tensors[new] = tensor
        for node in self.graph.nodes:
            node.inputs = [new if name == old else name for name in node.inputs]
            node.outputs = [new if name == old else name for name in node.outputs]


def _unsupported(operator: str) -> str:
    """Why an operator has no converter."""
    if operator in _DYNAMIC:
        return "the shape of its result depends on the values, which is not supported"
    if operator in _NOT_REPEATABLE:
        return "results that differ from run to run are not supported"
    return "the operator is not supported"
