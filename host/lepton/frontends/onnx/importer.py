"""The walk over an ONNX model, and what every operator's converter needs: values in, tensors and nodes out."""

from collections import Counter

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
    Node,
    Op,
    Quantization,
    Recenter,
    Reshape,
    Table,
    Tensor,
    Transpose,
)
from lepton.graph.builder import GraphBuilder

from .quantities import quantities
from .runtime import evaluate
from .values import BYTES, CODES, Computed, Constant, Joined, Pending, Value

INT8 = np.dtype(np.int8)
TO_NHWC, TO_NCHW = (0, 2, 3, 1), (0, 3, 1, 2)
INPUT_TYPES = {np.dtype(t) for t in (np.float32, np.int8, np.uint8, np.int32, np.int64, np.bool_)}
NOT_REPEATABLE = {"RandomNormal", "RandomNormalLike", "RandomUniform", "RandomUniformLike", "Bernoulli", "Multinomial"}
_DYNAMIC = {"NonZero", "Unique", "NonMaxSuppression", "Compress", "StringSplit"}
_QUANTIZED = {"QGemm", "MatMulIntegerToFloat"}  # besides QuantizeLinear, QLinearConv and the others named so
_UNKNOWN = Quantization(np.ones(1, np.float32), np.zeros(1, np.int32))  # of integers that nothing gives a scale


class Importer:
    """Builds `graph` from a model as ONNX Runtime runs it. Values keep their ONNX names, tensors get them when unique.

    Converters are functions of (importer, node) that set `values` for the node's outputs.
    """

    def __init__(self, model: onnx.ModelProto, name: str, converters: dict, in_float):
        self.compute_in_float = in_float
        self.computed_in_float: dict[str, Computed] = {}  # pending values
        self.constants: dict[Value, str] = {}  # the int8 tensors of dequantized constants
        self.tables: dict[tuple[str, bytes], str] = {}
        self.graph = Graph(name, arithmetic=Arithmetic.FLOAT)
        self.builder = GraphBuilder(self.graph)
        self.opsets = tuple(sorted({(o.domain, o.version) for o in model.opset_import} | {("com.microsoft", 1)}))
        self.opset = max(version for domain, version in self.opsets if domain in ("", "ai.onnx"))
        self.quantities = quantities(model.graph)
        self.quantized = any("Linear" in node.op_type or node.op_type in _QUANTIZED for node in model.graph.node)
        self.values: dict[str, Value] = {
            tensor.name: Constant(numpy_helper.to_array(tensor)) for tensor in model.graph.initializer}
        self.readers = Counter(name for node in model.graph.node for name in node.input)
        self.readers.update(value.name for value in model.graph.output)
        self.where, self.label = "the network's input", ""
        for value in model.graph.input:
            self._input(value)
        for node in model.graph.node:
            self.where = f"{node.op_type} {node.name or (node.output[0] if node.output else '')!r}"
            self.label = node.name or node.output[0]
            if node.op_type != "DequantizeLinear" and self._constant_operands(node):
                self._fold(node)
                continue
            if node.op_type not in converters:
                raise GraphError(f"{self.where}: {unsupported(node.op_type)}; docs/operators.md lists the operators")
            converters[node.op_type](self, node)
        self.where, self.label = "the network's output", ""
        self._outputs([value.name for value in model.graph.output])

    # Edges of the network

    def _input(self, value: onnx.ValueInfoProto):
        kind = value.type.tensor_type
        dtype = np.dtype(onnx.helper.tensor_dtype_to_np_dtype(kind.elem_type)) if kind.elem_type else None
        if dtype not in INPUT_TYPES:
            raise GraphError(f"input {value.name!r} must be {', '.join(sorted(map(str, INPUT_TYPES)))}, not {dtype}")
        shape = tuple(dim.dim_value for dim in kind.shape.dim)
        name = value.name
        q = self.quantities.get(name, _UNKNOWN) if dtype in BYTES else None
        if dtype == np.uint8:  # zero points are held as int8's
            q = Quantization(q.scale, q.zero_point + 128)
        self.graph.tensors[name] = Tensor(name, shape, dtype, q)
        self.graph.inputs.append(name)
        if dtype == np.uint8:
            name = self.emit(Recenter(), [name], name, Quantization(q.scale, q.zero_point - 128))
        self.values[value.name] = Computed(name, shape, dtype, CODES.get(dtype))

    def _outputs(self, outputs: list[str]):
        """Gives the outputs' tensors the outputs' names. A value may be an output several times, under any names."""
        names = [name for name in dict.fromkeys(outputs) if name not in self.graph.inputs]  # those are there already
        tensors = [self.host(name) for name in names]
        for name, tensor in zip(names, tensors, strict=True):
            t = self.graph.tensors[tensor]
            if tensor == name and t.data is None:
                continue
            if name in self.graph.tensors:
                other = self.unique(name)
                self._rename(name, other)
                tensors = [other if x == name else x for x in tensors]
                tensor = other if tensor == name else tensor
            if tensor in self.graph.inputs or t.data is not None or tensors.count(tensor) > 1:
                self.graph.tensors[name] = Tensor(name, t.shape, t.dtype, t.quantization)  # a tensor of its own
                self.graph.nodes.append(Node(Reshape(t.shape), [tensor], [name], name))
            else:
                self._rename(tensor, name)
        self.graph.outputs = outputs

    def _rename(self, old: str, new: str):
        tensor = self.graph.tensors.pop(old)
        tensor.name = new
        self.graph.tensors[new] = tensor
        for node in self.graph.nodes:
            node.inputs = [new if name == old else name for name in node.inputs]
            node.outputs = [new if name == old else name for name in node.outputs]

    # Building the graph

    def unique(self, name: str) -> str:
        return self.builder.unique(name)

    def _known_type(self, dtype: np.dtype):
        if dtype not in INPUT_TYPES:
            raise GraphError(f"{self.where}: values of type {dtype} are not supported, only "
                             f"{', '.join(sorted(map(str, INPUT_TYPES)))}")

    def emit(self, op: Op, inputs: list[str], name: str = "", q: Quantization | None = None) -> str:
        """Appends a node; returns its output's name, made from `name` or the label of the operator at hand.

        The output is what the operator infers; one that moves elements keeps its input's quantization.
        """
        self.builder.where, self.builder.label = self.where, self.label
        value = self.builder.emit(op, [self.builder.value(i) if i else None for i in inputs], name, q)
        self._known_type(value.dtype)
        return value.name

    def constant_tensor(self, name: str, data: np.ndarray, q: Quantization | None = None) -> str:
        self._known_type(np.asarray(data).dtype)
        return self.builder.constant(data, name, q).name

    def transpose(self, tensor: str, order: tuple[int, ...]) -> str:
        return self.emit(Transpose(order), [tensor], f"{tensor}.t")

    def reshape(self, tensor: str, shape: tuple[int, ...]) -> str:
        if self.graph.tensors[tensor].shape == tuple(shape):
            return tensor
        return self.emit(Reshape(tuple(map(int, shape))), [tensor], f"{tensor}.r")

    # Values

    def value(self, name: str) -> Value:
        if name not in self.values:
            raise GraphError(f"{self.where}: {name!r} is not available; only first outputs of operators are supported")
        return self.values[name]

    def operand(self, node: onnx.NodeProto, position: int) -> Value | None:
        if len(node.input) <= position or not node.input[position]:
            return None
        return self.value(node.input[position])

    def constant(self, node: onnx.NodeProto, position: int, what: str) -> np.ndarray | None:
        """A constant operand, None when it is left out."""
        value = self.operand(node, position)
        if value is None:
            return None
        if not isinstance(value, Constant):
            raise GraphError(f"{self.where}: {what} must be constant, not computed by the network")
        return value.array

    def _constant_operands(self, node: onnx.NodeProto) -> bool:
        return all(isinstance(self.values.get(name), Constant) for name in node.input if name)

    def _fold(self, node: onnx.NodeProto):
        """Computes an operator on constants."""
        if node.op_type in NOT_REPEATABLE:
            raise GraphError(f"{self.where}: results that differ from run to run are not supported")
        for position, name in enumerate(node.output):
            if name and (self.readers[name] or not position):
                self.values[name] = Constant(self.evaluate(node, output=position))

    def evaluate(self, node: onnx.NodeProto, inputs: list[np.ndarray | None] | None = None,
                 output: int = 0) -> np.ndarray:
        """What ONNX Runtime computes for one of the node's outputs from the given inputs, or from its constants."""
        if inputs is None:
            inputs = [self.value(name).array if name else None for name in node.input]
        return evaluate(node, inputs, self.opsets, output)

    def quantization(self, name: str) -> Quantization:
        return self.quantities.get(name, _UNKNOWN)

    def settled(self, name: str) -> Value:
        """A value whose shape is known: a pending layer is computed in float, since nothing quantizes it."""
        value = self.value(name)
        if not isinstance(value, Pending):
            return value
        if name not in self.computed_in_float:
            where, label = self.where, self.label
            self.where = f"{value.node.op_type} {value.node.name or value.node.output[0]!r}"
            self.label = value.node.name or value.node.output[0]
            tensor = self.compute_in_float(self, value)
            t = self.graph.tensors[tensor]
            self.computed_in_float[name] = Computed(tensor, t.shape, t.dtype)
            self.where, self.label = where, label
        return self.computed_in_float[name]

    def constant_codes(self, value: Constant) -> str:
        """The int8 tensor of a constant that was dequantized from integers."""
        if value not in self.constants:
            data = value.codes
            if data.dtype == np.uint8:
                data = (data.astype(np.int16) - 128).astype(np.int8)
            self.constants[value] = self.constant_tensor(f"{self.label}.constant", data, value.quantization)
        return self.constants[value]

    def tabulated(self, tensor: str, codes: np.ndarray) -> str:
        """The int8 tensor of `codes`[q + 128] for the elements q of `tensor`, with the same quantization."""
        key = tensor, codes.tobytes()
        if key not in self.tables:
            q = self.graph.tensors[tensor].quantization
            self.tables[key] = self.emit(Table(key[1]), [tensor], f"{tensor}.f", q)
        return self.tables[key]

    def computed(self, name: str) -> Computed:
        """A value computed at run time."""
        value = self.settled(name)
        if isinstance(value, Constant):
            q = self.quantities.get(name) if value.dtype in BYTES else None
            data = value.array
            if value.dtype == np.uint8 and q is not None:
                data = (data.astype(np.int16) - 128).astype(np.int8)
            value = Computed(self.constant_tensor(name, data, q), value.shape, value.dtype,
                             CODES.get(value.dtype) if q is not None else None)
        if isinstance(value, Joined):
            value = self._join(name, value)
        return value

    def _join(self, name: str, value: Joined) -> Computed:
        """The one tensor of a value in several parts: int8 if it is, else of its own type."""
        names = [self.unique(f"{name}.part")]
        while len(names) < len(value.parts):
            names.append(f"{names[0]}.{len(names)}")
        for part_name, part in zip(names, value.parts, strict=True):
            self.values[part_name] = part
            if name in self.quantities:
                self.quantities[part_name] = self.quantities[name]
        in_bytes = value.dtype in BYTES
        tensors = [self.codes(n, self.quantities.get(name)) if in_bytes else self.host(n) for n in names]
        tensor = self.emit(Concat(value.axis), tensors, name)
        self.values[name] = joined = Computed(tensor, value.shape, value.dtype, CODES.get(value.dtype))
        return joined

    def codes(self, name: str, q: Quantization | None = None) -> str:
        """The int8 tensor of an int8 or uint8 value (uint8 less 128), with quantization `q` where one is stated."""
        value = self.value(name)
        if isinstance(value, Constant) and value.dtype in BYTES:
            self.quantities.setdefault(name, q or _UNKNOWN)
        value = self.computed(name)
        if value.table is None or value.dtype not in BYTES:
            raise GraphError(f"{self.where}: {name!r} must be int8 or uint8, not {value.dtype}")
        base = self.graph.tensors[value.tensor]
        wanted = q or (base.quantization if value.plain else self.quantization(name))
        if not value.plain or not same(wanted, base.quantization):
            shift = 128 if value.dtype == np.uint8 else 0
            codes = (value.table.astype(np.int16) - shift).astype(np.int8)
            tensor = self.emit(Table(codes.tobytes()), [value.tensor], name, wanted)
            value = Computed(tensor, value.shape, value.dtype, CODES[value.dtype])
        self.values[name] = value
        return value.tensor

    def host(self, name: str) -> str:
        """The tensor of a value in ONNX's own data type."""
        value = self.computed(name)
        if value.table is None:
            return value.tensor
        if value.dtype == np.int8:
            return self.codes(name)
        if value.dtype == np.uint8:
            codes = self.codes(name)
            q = self.graph.tensors[codes].quantization
            return self.emit(Recenter(), [codes], name, Quantization(q.scale, q.zero_point + 128))
        if value.origin:  # a table on the chip, then dequantize, rather than look the reals up on the host
            codes = self.codes(value.origin)
            value = Computed(codes, value.shape, value.dtype, dequantized(self.graph.tensors[codes].quantization))
        base = self.graph.tensors[value.tensor]
        if value.dtype == np.float32 and np.array_equal(value.table, dequantized(base.quantization)):
            tensor = self.emit(Dequantize(), [value.tensor], name)
        else:  # look the results up: exact, whatever function it was
            q = base.quantization
            index = self.emit(Recenter(), [value.tensor], f"{name}.code", Quantization(q.scale, q.zero_point + 128))
            index = self.emit(Cast("int32"), [index], f"{name}.index")
            table = self.constant_tensor(f"{name}.table", value.table)
            tensor = self.emit(Gather(0), [table, index], name)
        self.values[name] = Computed(tensor, value.shape, value.dtype)
        return tensor

    def set_codes(self, name: str, tensor: str, dtype):
        """The value `name` is the int8 `tensor` (which stands for uint8 if `dtype` says so)."""
        self.values[name] = Computed(tensor, self.graph.tensors[tensor].shape, np.dtype(dtype), CODES[np.dtype(dtype)])

    def set_host(self, name: str, tensor: str):
        t = self.graph.tensors[tensor]
        self.values[name] = Computed(tensor, t.shape, t.dtype)


def unsupported(operator: str) -> str:
    """Why an operator has no converter."""
    if operator in _DYNAMIC:
        return "the shape of its result depends on the values, which is not supported"
    if operator in NOT_REPEATABLE:
        return "results that differ from run to run are not supported"
    return "the operator is not supported"


def same(a: Quantization, b: Quantization) -> bool:
    return np.array_equal(a.scale, b.scale) and np.array_equal(a.zero_point, b.zero_point)


def dequantized(q: Quantization) -> np.ndarray:
    """The 256 reals of an int8 tensor, in float32."""
    return (np.arange(-128, 128) - q.zero_point[0]).astype(np.float32) * q.scale[0]


def checked_axis(importer: Importer, axis: int, rank: int) -> int:
    """`axis` counted from the front. Raises GraphError when there is no such axis."""
    if not -rank <= axis < rank:
        raise GraphError(f"{importer.where}: axis {axis} is outside the {rank} dimensions of the input")
    return axis % rank


def stated_axes(importer: Importer, node: onnx.NodeProto, position: int = 1) -> list[int] | None:
    """The axes of an operator that has them as an attribute in older opsets, as a constant input in newer ones.

    None where the node states none; an empty input counts as none, as in ONNX. Raises GraphError for computed axes.
    """
    axes = attributes(node).get("axes")
    if axes is None:
        array = importer.constant(node, position, "the axes")
        axes = None if array is None else [int(axis) for axis in array.ravel()]
    return list(axes) if axes else None


def attributes(node: onnx.NodeProto) -> dict:
    """The node's attributes as Python values, text as str."""
    given = {a.name: onnx.helper.get_attribute_value(a) for a in node.attribute}
    return {name: value.decode(errors="replace") if isinstance(value, bytes) else value
            for name, value in given.items()}
