"""The walk over an ONNX model, and what every operator's converter needs: values in, tensors and nodes out."""

from collections import Counter

import numpy as np
import onnx
from onnx import numpy_helper

from lepton.graph import (
    Arithmetic,
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
    Unary,
)

from .quantities import quantities
from .runtime import evaluate
from .values import BYTES, CODES, Computed, Constant, Joined, Pending, Value

INT8 = np.dtype(np.int8)
TO_NHWC, TO_NCHW = (0, 2, 3, 1), (0, 3, 1, 2)
INPUT_TYPES = {np.dtype(t) for t in (np.float32, np.int8, np.uint8, np.int32, np.int64, np.bool_)}
_UNKNOWN = Quantization(np.ones(1, np.float32), np.zeros(1, np.int32))  # of integers that nothing gives a scale


class Importer:
    """Builds `graph` from a model as ONNX Runtime runs it. Values keep their ONNX names, tensors get them when unique.

    Converters are functions of (importer, node) that set `values` for the node's outputs.
    """

    def __init__(self, model: onnx.ModelProto, name: str, converters: dict):
        self.graph = Graph(name, arithmetic=Arithmetic.FLOAT)
        self.opsets = tuple(sorted({(o.domain, o.version) for o in model.opset_import} | {("com.microsoft", 1)}))
        self.opset = max(version for domain, version in self.opsets if domain in ("", "ai.onnx"))
        self.quantities = quantities(model.graph)
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
            if node.op_type not in converters:
                raise GraphError(f"{self.where}: the operator is not supported; supported are "
                                 f"{', '.join(sorted(converters))}")
            if node.op_type != "DequantizeLinear" and self._constant_operands(node):
                self.values[node.output[0]] = Constant(self.evaluate(node))
                continue
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
            name = self.emit(Recenter(), [name], name, shape, INT8, Quantization(q.scale, q.zero_point - 128))
        self.values[value.name] = Computed(name, shape, dtype, CODES.get(dtype))

    def _outputs(self, names: list[str]):
        """Gives the outputs' tensors the outputs' names."""
        tensors = [self.host(name) for name in names]
        for name, tensor in zip(names, tensors, strict=True):
            t = self.graph.tensors[tensor]
            if t.data is not None:
                raise GraphError(f"the network's output {name!r} does not depend on its inputs")
            if tensor == name and name not in self.graph.inputs:
                continue
            if name in self.graph.tensors:
                if name in self.graph.inputs:
                    raise GraphError(f"the network's output {name!r} is an input")
                other = self.unique(name)
                self._rename(name, other)
                tensors = [other if x == name else x for x in tensors]
            if tensor in self.graph.inputs or tensors.count(tensor) > 1:  # each output gets a tensor of its own
                self.graph.tensors[name] = Tensor(name, t.shape, t.dtype, t.quantization)
                self.graph.nodes.append(Node(Reshape(), [tensor], [name], name))
            else:
                self._rename(tensor, name)
        self.graph.outputs = names

    def _rename(self, old: str, new: str):
        tensor = self.graph.tensors.pop(old)
        tensor.name = new
        self.graph.tensors[new] = tensor
        for node in self.graph.nodes:
            node.inputs = [new if name == old else name for name in node.inputs]
            node.outputs = [new if name == old else name for name in node.outputs]

    # Building the graph

    def unique(self, name: str) -> str:
        number, candidate = 1, name
        while candidate in self.graph.tensors:
            candidate, number = f"{name}.{number}", number + 1
        return candidate

    def emit(self, op: Op, inputs: list[str], name: str, shape: tuple[int, ...], dtype, q: Quantization | None = None
             ) -> str:
        """Appends a node; returns its output's name, made from `name`."""
        name = self.unique(name)
        self.graph.tensors[name] = Tensor(name, tuple(map(int, shape)), np.dtype(dtype), q)
        self.graph.nodes.append(Node(op, inputs, [name], self.label or name))
        return name

    def constant_tensor(self, name: str, data: np.ndarray, q: Quantization | None = None) -> str:
        name, data = self.unique(name), np.array(data, order="C")  # keeps numbers without dimensions
        data.flags.writeable = False
        self.graph.tensors[name] = Tensor(name, data.shape, data.dtype, q, data)
        return name

    def transpose(self, tensor: str, order: tuple[int, ...]) -> str:
        t = self.graph.tensors[tensor]
        return self.emit(Transpose(order), [tensor], f"{tensor}.t", tuple(t.shape[i] for i in order), t.dtype,
                         t.quantization)

    def reshape(self, tensor: str, shape: tuple[int, ...]) -> str:
        t = self.graph.tensors[tensor]
        if t.shape == tuple(shape):
            return tensor
        return self.emit(Reshape(), [tensor], f"{tensor}.r", shape, t.dtype, t.quantization)

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
        present = [name for name in node.input if name]
        return bool(present) and all(isinstance(self.values.get(name), Constant) for name in present)

    def evaluate(self, node: onnx.NodeProto, inputs: list[np.ndarray | None] | None = None) -> np.ndarray:
        """What ONNX Runtime computes for the node from the given inputs, or from its constants."""
        if inputs is None:
            inputs = [self.value(name).array if name else None for name in node.input]
        return evaluate(node, inputs, self.opsets)

    def quantization(self, name: str) -> Quantization:
        return self.quantities.get(name, _UNKNOWN)

    def computed(self, name: str) -> Computed:
        """A value computed at run time. Raises GraphError for one that ONNX leaves in float where int8 is needed."""
        value = self.value(name)
        if isinstance(value, Pending):
            raise GraphError(f"{value.node.op_type} {value.node.name or value.node.output[0]!r}: its result must be "
                             f"quantized before {self.where} uses it; quantize every activation to 8 bits")
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
        q = self.graph.tensors[tensors[0]].quantization
        tensor = self.emit(Concat(value.axis), tensors, name, value.shape, INT8 if in_bytes else value.dtype, q)
        self.values[name] = joined = Computed(tensor, value.shape, value.dtype, CODES.get(value.dtype))
        return joined

    def codes(self, name: str, q: Quantization | None = None) -> str:
        """The int8 tensor of an int8 or uint8 value (uint8 less 128), with quantization `q` where one is stated."""
        value = self.computed(name)
        if value.table is None or value.dtype not in BYTES:
            raise GraphError(f"{self.where}: {name!r} must be int8 or uint8, not {value.dtype}")
        base = self.graph.tensors[value.tensor]
        wanted = q or (base.quantization if value.plain else self.quantization(name))
        if not value.plain or not same(wanted, base.quantization):
            shift = 128 if value.dtype == np.uint8 else 0
            codes = (value.table.astype(np.int16) - shift).astype(np.int8)
            tensor = self.emit(Table(codes.tobytes()), [value.tensor], name, value.shape, INT8, wanted)
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
            return self.emit(Recenter(), [codes], name, value.shape, np.uint8,
                             Quantization(q.scale, q.zero_point + 128))
        if value.origin:  # a table on the chip, then dequantize, rather than look the reals up on the host
            codes = self.codes(value.origin)
            value = Computed(codes, value.shape, value.dtype, dequantized(self.graph.tensors[codes].quantization))
        base = self.graph.tensors[value.tensor]
        if value.dtype == np.float32 and np.array_equal(value.table, dequantized(base.quantization)):
            tensor = self.emit(Dequantize(), [value.tensor], name, value.shape, np.float32)
        else:  # look the results up: exact, whatever function it was
            q = base.quantization
            index = self.emit(Recenter(), [value.tensor], f"{name}.code", value.shape, np.uint8,
                              Quantization(q.scale, q.zero_point + 128))
            index = self.emit(Unary("cast"), [index], f"{name}.index", value.shape, np.int32)
            table = self.constant_tensor(f"{name}.table", value.table)
            tensor = self.emit(Gather(0), [table, index], name, value.shape, value.dtype)
        self.values[name] = Computed(tensor, value.shape, value.dtype)
        return tensor

    def set_codes(self, name: str, tensor: str, dtype):
        """The value `name` is the int8 `tensor` (which stands for uint8 if `dtype` says so)."""
        self.values[name] = Computed(tensor, self.graph.tensors[tensor].shape, np.dtype(dtype), CODES[np.dtype(dtype)])

    def set_host(self, name: str, tensor: str):
        t = self.graph.tensors[tensor]
        self.values[name] = Computed(tensor, t.shape, t.dtype)


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


def attributes(node: onnx.NodeProto) -> dict:
    """The node's attributes as Python values, text as str."""
    given = {a.name: onnx.helper.get_attribute_value(a) for a in node.attribute}
    return {name: value.decode(errors="replace") if isinstance(value, bytes) else value
            for name, value in given.items()}
