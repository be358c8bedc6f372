"""Every value of the network by name, and the tensors of the graph that values become."""

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

import numpy as np
import onnx
from onnx import numpy_helper

from lepton.graph import (
    Arithmetic,
    Cast,
    Concat,
    Dequantize,
    Gather,
    Graph,
    GraphError,
    Op,
    Quantization,
    Recenter,
    Table,
)
from lepton.graph.builder import GraphBuilder, Value

from .quantities import quantities
from .runtime import evaluate
from .values import (
    BYTES,
    CODES,
    FLOAT32,
    INT8,
    AtRunTime,
    Computed,
    Constant,
    Joined,
    OnnxValue,
    Pending,
    QuantizedConstant,
    Settled,
    Tabulated,
    dequantized,
    int8_codes,
    same,
)

TYPES = {np.dtype(t) for t in (np.float32, np.int8, np.uint8, np.int32, np.int64, np.bool_)}  # that the graph has
_QUANTIZED = {"QGemm", "MatMulIntegerToFloat", "MatMulNBits"}  # quantized operators that have no "Linear" in their name
_UNSTATED = Quantization(np.ones(1, np.float32), np.zeros(1, np.int32))  # of integers that no operator gives a scale


class ImportState:
    """The graph under construction (`builder`), and what is known of each ONNX value.

    `opset`, `quantities` (scales by value, see `quantities`), `readers` (how many inputs and outputs read a value) and
    `quantized` (whether the network has quantized operators) are those of the model. `in_float` computes a layer that
    nothing quantizes.
    """

    def __init__(self, model: onnx.ModelProto, name: str, in_float: Callable[["ImportState", Pending], Value]) -> None:
        self.builder = GraphBuilder(Graph(name, arithmetic=Arithmetic.FLOAT))
        self.opsets = tuple(sorted({(o.domain, o.version) for o in model.opset_import} | {("com.microsoft", 1)}))
        self.opset = max(version for domain, version in self.opsets if domain in ("", "ai.onnx"))
        self.quantities = quantities(model.graph)
        self.quantized = any("Linear" in node.op_type or node.op_type in _QUANTIZED for node in model.graph.node)
        self.readers = Counter(name for node in model.graph.node for name in node.input)
        self.readers.update(value.name for value in model.graph.output)
        self.values: dict[str, OnnxValue] = {
            tensor.name: Constant(numpy_helper.to_array(tensor)) for tensor in model.graph.initializer}
        self._compute_in_float = in_float
        self._in_float: dict[str, Computed] = {}  # pending values
        self._constants: dict[QuantizedConstant, Value] = {}  # their int8 tensors
        self._tables: dict[tuple[str, bytes], Value] = {}

    @property
    def graph(self) -> Graph:
        return self.builder.graph

    # Names and errors

    @contextmanager
    def at(self, node: onnx.NodeProto) -> Iterator[None]:
        """Inside, errors say where they are, and new nodes of the graph have the name of `node`."""
        where = self.builder.where
        label = self.builder.label
        name = node.name or (node.output[0] if node.output else "")
        self.builder.where = f"{node.op_type} {name!r}"
        self.builder.label = name
        try:
            yield
        finally:
            self.builder.where = where
            self.builder.label = label

    def error(self, text: str) -> GraphError:
        return self.builder.error(text)

    # Values by name

    def value(self, name: str) -> OnnxValue:
        if name not in self.values:
            raise self.error(f"{name!r} is not available; only first outputs of operators are supported")
        return self.values[name]

    def settled(self, name: str) -> Settled:
        """A value of known shape: a pending layer is computed in float, since nothing quantizes it."""
        value = self.value(name)
        if not isinstance(value, Pending):
            return value
        if name not in self._in_float:
            with self.at(value.node):
                self._in_float[name] = Computed(self._compute_in_float(self, value))
        return self._in_float[name]

    def computed(self, name: str) -> AtRunTime:
        """A value that the graph computes or holds as a constant."""
        value = self.settled(name)
        if isinstance(value, Constant):
            q = self.quantities.get(name) if value.dtype in BYTES else None
            if q is None:
                return Computed(self.constant(value.array, name))
            return Tabulated(self.constant(int8_codes(value.array), name, q), CODES[value.dtype])
        return self._join(name, value) if isinstance(value, Joined) else value

    def codes(self, name: str, q: Quantization | None = None) -> Value:
        """The int8 tensor of an int8 or uint8 value (uint8 less 128), with quantization `q` where one is stated."""
        value = self.value(name)
        if isinstance(value, Constant) and value.dtype in BYTES:
            self.quantities.setdefault(name, q or _UNSTATED)
        plain = self._plain(name, self.computed(name), q)
        self.values[name] = plain
        return plain.tensor

    def host(self, name: str) -> Value:
        """The tensor of a value in ONNX's own data type."""
        value = self.computed(name)
        if isinstance(value, Computed):
            return value.tensor
        if value.dtype == INT8:
            return self.codes(name)
        if value.dtype in BYTES:
            return self.as_uint8(self.codes(name), name)
        tensor = self._looked_up(name, value)
        self.values[name] = Computed(tensor)
        return tensor

    def quantization(self, name: str) -> Quantization:
        """The quantization of an 8-bit value, as int8."""
        return self.quantities.get(name, _UNSTATED)

    def evaluate(self, node: onnx.NodeProto, inputs: Sequence[np.ndarray | None], output: int = 0) -> np.ndarray:
        """What ONNX Runtime computes for one of the node's outputs."""
        return evaluate(node, list(inputs), self.opsets, output)

    # Tensors

    def emit(self, op: Op, inputs: Sequence[Value | None], name: str = "", q: Quantization | None = None) -> Value:
        """See `GraphBuilder.emit`."""
        return self.builder.emit(op, inputs, name, q)

    def constant(self, data: np.ndarray, name: str = "", q: Quantization | None = None) -> Value:
        """See `GraphBuilder.constant`. Raises GraphError for a data type that the graph does not have."""
        if data.dtype not in TYPES:
            raise self.error(f"values of type {data.dtype} are not supported, only "
                             f"{', '.join(sorted(map(str, TYPES)))}")
        return self.builder.constant(data, name, q)

    def constant_codes(self, value: QuantizedConstant) -> Value:
        """The int8 tensor of a constant that was dequantized from 8-bit integers."""
        if value not in self._constants:
            self._constants[value] = self.constant(int8_codes(value.codes), f"{self.builder.label}.constant",
                                                   value.quantization)
        return self._constants[value]

    def tabulated(self, tensor: Value, codes: np.ndarray) -> Value:
        """The int8 tensor of `codes`[q + 128] for the elements q of `tensor`, with the same quantization."""
        key = tensor.name, codes.tobytes()
        if key not in self._tables:
            self._tables[key] = self.emit(Table(codes.tobytes()), [tensor], f"{tensor.name}.f",
                                          tensor.parameters)
        return self._tables[key]

    def as_uint8(self, codes: Value, name: str) -> Value:
        """The uint8 tensor of the same reals: elements and zero point are 128 more."""
        q = codes.parameters
        return self.emit(Recenter(), [codes], name, Quantization(q.scale, q.zero_point + 128))

    def _plain(self, name: str, value: AtRunTime, q: Quantization | None) -> Tabulated:
        """An 8-bit value as the codes of an int8 tensor."""
        if not isinstance(value, Tabulated) or value.dtype not in BYTES:
            raise self.error(f"{name!r} must be int8 or uint8, not {value.dtype}")
        wanted = q or (value.quantization if value.plain else self.quantization(name))
        if value.plain and same(wanted, value.quantization):
            return value
        tensor = self.emit(Table(int8_codes(value.table).tobytes()), [value.tensor], name, wanted)
        return Tabulated(tensor, CODES[value.dtype])

    def _looked_up(self, name: str, value: Tabulated) -> Value:
        """The tensor of a function whose results are not 8-bit values."""
        if value.origin:  # a table on the chip, then dequantize, rather than look the reals up on the host
            codes = self.codes(value.origin)
            value = Tabulated(codes, dequantized(codes.parameters))
        if value.dtype == FLOAT32 and np.array_equal(value.table, dequantized(value.quantization)):
            return self.emit(Dequantize(), [value.tensor], name)
        index = self.emit(Cast("int32"), [self.as_uint8(value.tensor, f"{name}.code")], f"{name}.index")
        return self.emit(Gather(0), [self.constant(value.table, f"{name}.table"), index], name)

    def _join(self, name: str, value: Joined) -> AtRunTime:
        """The one tensor of a value in several parts: int8 if the value has 8 bits, else of its own type."""
        part = f"{name}.part"
        joined: AtRunTime
        if value.dtype in BYTES:
            q = self.quantities.get(name)
            codes = [self._plain(name, of, q).tensor for of in value.parts]
            joined = Tabulated(self.emit(Concat(value.axis), codes, name), CODES[value.dtype])
        else:
            joined = Computed(self.emit(Concat(value.axis), [self._looked_up(part, of) for of in value.parts], name))
        self.values[name] = joined
        return joined
