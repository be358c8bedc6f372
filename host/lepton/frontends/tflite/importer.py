"""From the records of a TFLite file to `Graph`: tensors and names; the operators are in the modules beside."""

import warnings
from collections.abc import Sequence
from dataclasses import replace
from math import prod
from os import PathLike
from pathlib import Path

import numpy as np
from numpy.typing import DTypeLike

from lepton.graph import Add, Graph, GraphError, Node, Op, Quantization, Recenter, Reshape, Softmax, Sub, Tensor
from lepton.graph.interpret import compute
from lepton.graph.passes import apply

from ..geometry import activation_range
from .elementwise import CONVERT as ELEMENTWISE
from .layers import CONVERT as LAYERS
from .moves import CONVERT as MOVES
from .plain import CONVERT as PLAIN
from .reader import RawModel, RawOperator, RawTensor, read_tflite
from .shapes import CONVERT as SHAPES
from .unary import CONVERT as UNARY

DTYPES = {"INT8": np.dtype(np.int8), "UINT8": np.dtype(np.uint8), "INT32": np.dtype(np.int32),
          "INT64": np.dtype(np.int64), "FLOAT32": np.dtype(np.float32), "BOOL": np.dtype(np.bool_)}
CONVERT = LAYERS | ELEMENTWISE | UNARY | MOVES | PLAIN | SHAPES
MAX_CONSTANT = 4096  # elements of a constant that says how, not what, to compute: axes, shapes, paddings
MAX_RANK = 8
MAX_ELEMENTS = 2**31 - 1  # of one tensor, as TFLite's int32 sizes
MAX_FOLDED = 1 << 24  # bytes of a result that is computed at import; larger ones are computed when the network runs

_LAYERS = ("CONV_2D", "DEPTHWISE_CONV_2D", "FULLY_CONNECTED", "TRANSPOSE_CONV", "BATCH_MATMUL")
_LONGEST_LABEL = 40
# Channels of pruned weights, and values that were always 0, have the scale 0. LiteRT multiplies by 0 then. Products
# with this one have the multiplier 0, too (QuantizeMultiplier makes 0 of less than 2**-31).
_SMALLEST = np.finfo(np.float32).tiny
_OUTSIDE = "\0uint8"  # no name in a file has it
_ZERO_POINTS = {"INT8": (-128, 127), "UINT8": (0, 255)}


def import_tflite(source: str | PathLike | bytes, name: str | None = None, signature: str | None = None) -> Graph:
    """Reads a quantized TFLite network: a path, or the bytes of the file.

    The graph's name is `name`, else the one in the file, else the file's. `signature` chooses one of the networks of a
    file that has several; without it the first is taken. What depends on constants and shapes only is computed here,
    with batch 1 where the file leaves the batch open. Constants are read-only arrays. Weights may be quantized per
    tensor or per output channel. Legacy uint8 networks become int8 ones, with a `Recenter` at their inputs and
    outputs, which stay uint8. Values that are not quantized (float32, int32, int64, bool) are computed on the host.

    Raises GraphError for a corrupt file, and for an operator, data type or option that is not
    supported (the text says which are); OSError when the file cannot be read; ModuleNotFoundError
    when the extra `tflite` is not installed. Warns (UserWarning) about a bias whose quantization
    contradicts its shape or the scales that TFLite computes with.
    """
    if isinstance(source, bytes | bytearray | memoryview):
        data, stem = bytes(source), "network"
    else:
        data, stem = Path(source).read_bytes(), Path(source).stem
    raw = read_tflite(data, signature)
    unsupported = sorted({operator.name for operator in raw.operators} - set(CONVERT))
    if unsupported:
        verb = "is" if len(unsupported) == 1 else "are"
        raise GraphError(f"operator {', '.join(unsupported)} {verb} not supported; docs/operators.md lists those that "
                         "are")
    found = float_layer(raw)
    if found is not None:
        raise GraphError(f"{found} computes with float32 values. Quantize the network when it is compiled, with data "
                         "like its inputs (lepton compile --calibration data.npy, or quantize_tflite), or convert it "
                         "with full integer quantization, to int8 with int32 biases")
    in_file = "" if raw.name == "main" else raw.name  # what converters call every network
    return apply(Importer(raw, name or in_file or stem).graph, "fold-pads")


class Importer:
    """The graph under construction. Operators' functions in `CONVERT` get it, the record and a label for errors."""

    def __init__(self, raw: RawModel, name: str):
        self.raw = raw
        self.graph = Graph(name)
        self.names = unique_names(raw.tensors)
        self.inferred: dict[int, tuple[int, ...]] = {}  # shapes that differ from the file's, where it leaves them open
        self.computed = {*raw.inputs, *(i for operator in raw.operators for i in operator.outputs)}
        self.made = set(raw.inputs)  # those that are computed before the operator at hand
        # Operators have no names in TFLite. Their outputs' do for labels, unless a converter has made them up from
        # paths and the names of all the layers that it fused.
        results = [self.names[i] for operator in raw.operators for i in operator.outputs if operator.name != "PAD"]
        self.plain = all(len(result) <= _LONGEST_LABEL and not {"/", ";"} & set(result) for result in results)
        self.ends = {self.names[i] for i in raw.outputs}  # what the network makes cannot be a constant
        self.graph.inputs = [self.network_input(i) for i in raw.inputs]
        for self.index, operator in enumerate(raw.operators):
            where = f"operator {self.index} ({operator.name})"
            arity, outputs, function = CONVERT[operator.name]
            if len(operator.inputs) not in arity or (len(operator.outputs) != outputs if outputs else
                                                     not operator.outputs):
                raise GraphError(f"{where} has {len(operator.inputs)} inputs and {len(operator.outputs)} outputs; "
                                 f"supported are {_counts(arity)} and {'1 output' if outputs else 'some outputs'}")
            self.check_order(operator, where)
            function(self, operator, where)
            self.made.update(operator.outputs)
        self.graph.outputs = [self.network_output(i) for i in raw.outputs]
        for name in [n.removesuffix(_OUTSIDE) for n in self.graph.tensors if n.endswith(_OUTSIDE)]:
            self.exchange(name)

    def check_order(self, operator: RawOperator, where: str) -> None:
        for index in operator.inputs:
            if index in self.computed and index not in self.made:
                raise GraphError(f"{where} reads {self.names[index]!r} before any operator has computed it")
        for position, index in enumerate(operator.outputs):
            if index in self.made or index in operator.outputs[:position]:
                raise GraphError(f"{where} computes {self.names[index]!r}, which is computed already")

    # Edges of the network

    def network_input(self, index: int) -> str:
        name, raw = self.tensor(index, "the network's input"), self.raw.tensors[index]
        return self.recentered(name, raw, inward=True) if self.is_legacy(raw) else name

    def network_output(self, index: int) -> str:
        raw, name = self.raw.tensors[index], self.names[index]
        if index not in self.made and not self.known_output(index):
            raise GraphError(f"the network's output {name!r} is computed by no operator")
        return self.recentered(name, raw, inward=False) if self.is_legacy(raw) else name

    def known_output(self, index: int) -> bool:
        """A constant of the file that is an output becomes what an operator makes of it; False where it has no data."""
        name = self.tensor(index, "the network's output")
        tensor = self.of(name)
        if tensor.data is None or name not in self.ends:
            return False
        values = self.number(name, "values", tensor.data, tensor.quantization)
        self.graph.tensors[name] = replace(tensor, data=None)
        self.graph.nodes.append(Node(Reshape(tensor.shape), [values], [name], name))
        self.ends.discard(name)
        self.made.add(index)
        return True

    @staticmethod
    def is_legacy(raw: RawTensor) -> bool:
        """A quantized uint8 tensor, which the graph has as int8."""
        return raw.dtype == "UINT8" and raw.quantization is not None

    def recentered(self, name: str, raw: RawTensor, inward: bool) -> str:
        outside, q = name + _OUTSIDE, self.graph.tensors[name].quantization
        if outside not in self.graph.tensors:
            self.graph.tensors[outside] = Tensor(outside, raw.shape, np.dtype(np.uint8),
                                                 Quantization(q.scale, q.zero_point + 128))
            ends = ([outside], [name]) if inward else ([name], [outside])
            self.graph.nodes.append(Node(Recenter(), *ends, name))
        return outside

    def exchange(self, name: str) -> None:
        """The file's name goes to the uint8 tensor that people see, the int8 one behind it is marked."""
        new = {name: f"{name}@int8", name + _OUTSIDE: name}
        tensors = self.graph.tensors
        for tensor in tensors.values():
            tensor.name = new.get(tensor.name, tensor.name)
        self.graph.tensors = {tensor.name: tensor for tensor in tensors.values()}
        for node in self.graph.nodes:
            node.inputs = [new.get(n, n) for n in node.inputs]
            node.outputs = [new.get(n, n) for n in node.outputs]
        self.graph.inputs = [new.get(n, n) for n in self.graph.inputs]
        self.graph.outputs = [new.get(n, n) for n in self.graph.outputs]

    # Tensors

    def value(self, index: int, where: str, dtypes: tuple[str, ...] = tuple(DTYPES)) -> str:
        """The name of an operand or result, computed or constant."""
        if index < 0:
            raise GraphError(f"{where}: an input is missing")
        return self.tensor(index, where, dtypes)

    def activation(self, index: int, where: str) -> str:
        """The name of an int8 (or legacy uint8) value with one scale."""
        name = self.value(index, where, ("INT8", "UINT8"))
        q = self.graph.tensors[name].quantization
        if q is None or q.scale.size != 1:
            raise GraphError(f"{where}: {name!r} must be quantized per tensor")
        return name

    def constant(self, index: int, where: str, dtypes: tuple[str, ...]) -> str:
        if index < 0:
            raise GraphError(f"{where}: an input is missing")
        name = self.tensor(index, where, dtypes)
        if self.of(name).data is None:
            raise GraphError(f"{where}: {self.raw.tensors[index].name!r} must be a constant")
        return name

    def tensor(self, index: int, where: str, dtypes: tuple[str, ...] = tuple(DTYPES)) -> str:
        raw, name = self.raw.tensors[index], self.names[index]
        if raw.dtype not in dtypes:
            raise GraphError(f"{where}: tensor {raw.name!r} has the data type {raw.dtype}, supported here is "
                             f"{' or '.join(dtypes)}")
        if name in self.graph.tensors:
            return name
        if raw.sparse:
            raise GraphError(f"{where}: tensor {raw.name!r} is sparse; only dense tensors are supported")
        if raw.variable:
            raise GraphError(f"{where}: tensor {raw.name!r} is a variable; networks with state are not supported")
        if index in self.raw.inputs and any(extent < 0 for extent in raw.signature[1:]):
            raise GraphError(f"{where}: tensor {raw.name!r} has the dynamic shape {raw.signature}; "
                             "only the batch may be left open")
        shape = self.shape(index)
        if 0 in shape and index in self.computed:
            raise GraphError(f"{where}: tensor {raw.name!r} of shape {shape} has no elements; computed values "
                             "must have 1 or more")
        data = None if index in self.computed else _data(raw)
        quantization, dtype = self.quantization(raw, where), DTYPES[raw.dtype]
        if self.is_legacy(raw):
            dtype, quantization = np.dtype(np.int8), Quantization(
                quantization.scale, quantization.zero_point - 128, quantization.axis)
            if data is not None:
                data = np.asarray(data ^ 0x80).view(np.int8)  # of a scalar, numpy makes no array
                data.flags.writeable = False
        self.graph.tensors[name] = Tensor(name, shape, dtype, quantization, data)
        return name

    def quantization(self, raw: RawTensor, where: str) -> Quantization | None:
        q = raw.quantization
        if q is None or raw.dtype not in ("INT8", "UINT8", "INT32"):
            return None
        if q.custom:
            raise GraphError(f"{where}: tensor {raw.name!r} has a custom quantization, which is not supported")
        if not q.scale.size or q.scale.size != q.zero_point.size:
            raise GraphError(f"{where}: tensor {raw.name!r} has {q.scale.size} scales and {q.zero_point.size} zero "
                             "points; it must have as many of both")
        if not np.all(np.isfinite(q.scale) & (q.scale >= 0)):
            raise GraphError(f"{where}: tensor {raw.name!r} has scales that are not finite and at least 0")
        limit = _ZERO_POINTS.get(raw.dtype, (0, 0))
        if np.any((q.zero_point < limit[0]) | (q.zero_point > limit[1])):
            raise GraphError(f"{where}: tensor {raw.name!r} ({raw.dtype}) has zero points outside {limit}")
        axis = self.axis(raw, where) if q.scale.size > 1 else None
        return Quantization(np.maximum(q.scale, _SMALLEST).astype(np.float32), q.zero_point.astype(np.int32), axis)

    @staticmethod
    def axis(raw: RawTensor, where: str) -> int:
        q, axis = raw.quantization, raw.quantization.dimension
        if len(raw.shape) == 1 and axis != 0:
            # Some converters copy the axis of the weights, to which a bias has no such dimension.
            warnings.warn(f"{where}: tensor {raw.name!r} of shape {raw.shape} has quantized_dimension {axis}; "
                          "taken as 0", UserWarning, stacklevel=2)
            axis = 0
        if not 0 <= axis < len(raw.shape) or raw.shape[axis] != q.scale.size:
            raise GraphError(f"{where}: tensor {raw.name!r} of shape {raw.shape} has {q.scale.size} scales "
                             f"along dimension {axis}")
        return axis

    def data(self, index: int, where: str) -> np.ndarray:
        """The values of a constant, or of what was computed from constants and shapes."""
        return self.of(self.constant(index, where, tuple(DTYPES))).data

    def is_quantized(self, index: int) -> bool:
        return self.raw.tensors[index].dtype in ("INT8", "UINT8") and self.raw.tensors[index].quantization is not None

    @staticmethod
    def axis_of(axis: int, rank: int, where: str) -> int:
        """`axis` counted from the front."""
        if not -rank <= axis < rank:
            raise GraphError(f"{where}: axis {axis} must lie in a shape of {rank} dimensions")
        return axis % rank

    def integers(self, index: int, where: str) -> tuple[int, ...]:
        """The values of a small constant that says how, not what, to compute: axes or a shape."""
        if index < 0:
            raise GraphError(f"{where}: an input is missing")
        raw, data = self.raw.tensors[index], None
        if self.names[index] in self.graph.tensors:
            data = self.of(self.names[index]).data  # computed from shapes, or read before
        elif index not in self.computed and raw.dtype in ("INT32", "INT64") and prod(raw.shape) <= MAX_CONSTANT:
            data = _data(raw)
        if data is None or data.dtype.kind != "i" or data.size > MAX_CONSTANT:
            raise GraphError(f"{where}: {raw.name!r} must be a constant of at most {MAX_CONSTANT} INT32 or INT64 "
                             f"values, not {raw.dtype} of shape {raw.shape}"
                             f"{' computed at run time' if index in self.computed else ''}")
        return tuple(data.ravel().tolist())

    def shape(self, index: int) -> tuple[int, ...]:
        """The tensor's shape, 1 where the file leaves the batch open."""
        if index in self.inferred:
            return self.inferred[index]
        raw = self.raw.tensors[index]
        if len(raw.shape) > MAX_RANK:
            raise GraphError(f"tensor {raw.name!r} has {len(raw.shape)} dimensions, at most {MAX_RANK} are supported")
        if any(extent < 0 for extent in raw.shape) or prod(raw.shape) > MAX_ELEMENTS:
            raise GraphError(f"tensor {raw.name!r} has the shape {raw.shape}: every dimension must be at least 0, and "
                             f"the elements at most {MAX_ELEMENTS}")
        return raw.shape

    def expect(self, index: int, shape: tuple[int, ...], where: str) -> None:
        """`shape` is what an operator makes of its output `index`.

        Raises GraphError where the file states another one. Where it leaves extents open (-1 in the signature), or has
        no shape at all, the operator's is taken, as LiteRT does when it allocates tensors.
        """
        declared, signature = self.shape(index), self.raw.tensors[index].signature
        shape = tuple(map(int, shape))
        if declared == shape:
            return
        fits = len(signature) == len(shape) and -1 in signature and all(
            a in (-1, b) for a, b in zip(signature, shape, strict=True))
        if (declared and not fits) or self.names[index] in self.graph.tensors:
            raise GraphError(f"{where}: output {self.names[index]!r} is declared as {declared}, the operator makes "
                             f"{shape}")
        self.inferred[index] = shape

    def of(self, name: str) -> Tensor:
        return self.graph.tensors[name]

    # Results

    def clamp(self, operator: RawOperator, where: str) -> tuple[int, int]:
        """The fused activation as a range of the quantized output."""
        output = self.of(self.value(operator.outputs[0], where, ("INT8", "UINT8")))
        quantization = output.quantization
        if quantization is None or quantization.scale.size != 1:
            raise GraphError(f"{where}: output {output.name!r} must be quantized per tensor")
        try:
            return activation_range(operator.options["activation"], quantization.scale[0],
                                    int(quantization.zero_point[0]))
        except GraphError as error:
            raise GraphError(f"{where}: {error}") from None

    def emit(self, op: Op, inputs: list[str], output: int | str, where: str) -> str:
        """Appends a node; its output is one of the file's tensors or a name from `temporary`.

        An operator on constants alone is computed at once.
        """
        name = output if isinstance(output, str) else self.tensor(output, where)
        label = name if self.plain else f"{self.raw.operators[self.index].name.lower()}_{self.index}"
        operands, result = [self.of(n) if n else None for n in inputs], self.of(name)
        self.check_zero_scales(op, operands, result, where)
        if all(t is None or t.data is not None for t in operands) and name not in self.ends and (
                prod(result.shape) * result.dtype.itemsize <= MAX_FOLDED):
            values = [None if t is None else t.data for t in operands]
            try:
                result.data = compute(op, self.graph.arithmetic, operands, values, result)
            except GraphError as error:
                raise GraphError(f"{where}: {error}") from None
            result.data.flags.writeable = False
        else:
            self.graph.nodes.append(Node(op, inputs, [name], label))
        return name

    @staticmethod
    def check_zero_scales(op: Op, operands: list[Tensor | None], result: Tensor, where: str) -> None:
        """Nothing can be divided by an output's scale of 0, and LiteRT aborts on some operators with such an input."""
        def is_zero(tensor: Tensor | None) -> bool:
            return tensor is not None and tensor.quantization is not None and (
                tensor.data is None and tensor.quantization.scale[0] == _SMALLEST)

        if is_zero(result) and not any(map(is_zero, operands)):
            raise GraphError(f"{where}: output {result.name!r} has the scale 0, in which no value can be expressed")
        if isinstance(op, Add | Sub | Softmax) and any(map(is_zero, operands)):
            raise GraphError(f"{where}: an input has the scale 0, which LiteRT does not compute either")

    def apply(self, op: Op, inputs: list[str], index: int, where: str) -> str:
        """Appends an operator whose result, of the shape and type that it infers, is the file's tensor `index`."""
        try:
            shape, dtype = op.infer([self.of(name) for name in inputs])
        except GraphError as error:
            raise GraphError(f"{where}: {error}") from None
        self.expect(index, shape, where)
        name = self.value(index, where)
        if self.of(name).dtype != dtype:
            raise GraphError(f"{where}: output {name!r} is declared as {self.of(name).dtype}, the operator makes "
                             f"{dtype}")
        return self.emit(op, inputs, name, where)

    def known(self, index: int, data: np.ndarray, where: str) -> None:
        """The output `index` has these values, whatever the network's inputs are."""
        self.expect(index, data.shape, where)
        name = self.tensor(index, where)
        data = np.require(data, self.of(name).dtype, "C")  # ascontiguousarray has no scalars
        if name in self.ends:  # which an operator must make
            self.emit(Reshape(data.shape), [self.number(name, "values", data, self.of(name).quantization)], name, where)
        else:
            self.of(name).data = data

    def temporary(self, base: str, suffix: str, shape: Sequence[int], dtype: DTypeLike | None = None) -> str:
        """A new tensor like `base` in all but its shape, or of another type and not quantized."""
        name, like = f"{base}/{suffix}", self.of(base)
        while name in self.graph.tensors:
            name += "'"
        self.graph.tensors[name] = Tensor(name, tuple(map(int, shape)), np.dtype(dtype or like.dtype),
                                          None if dtype else like.quantization)
        return name

    def number(self, base: str, suffix: str, data: np.ndarray, quantization: Quantization | None = None) -> str:
        """A new constant."""
        name = f"{base}/{suffix}"
        while name in self.graph.tensors:
            name += "'"
        self.graph.tensors[name] = Tensor(name, data.shape, data.dtype, quantization, data)
        return name

    def is_quantized_alike(self, a: str, b: str) -> bool:
        """Do the tensors stand for reals in the same way?"""
        first, second = self.of(a), self.of(b)
        p, q = first.quantization, second.quantization
        if first.dtype != second.dtype or (first.dtype == np.int8 and (p is None) != (q is None)):
            return False
        return p is None or q is None or (np.array_equal(p.scale, q.scale)
                                          and np.array_equal(p.zero_point, q.zero_point))

    def same_quantization(self, names: list[str], where: str) -> None:
        """Raises GraphError unless the tensors stand for reals in the same way."""
        first, *others = names
        for other in others:
            if not self.is_quantized_alike(first, other):
                raise GraphError(f"{where}: {first!r} and {other!r} must have the same type and quantization")


def _counts(arity) -> str:
    if len(arity) > 3:
        return f"{min(arity)} to {max(arity)} inputs"
    return f"{' or '.join(map(str, arity))} inputs"


def float_layer(raw: RawModel) -> str | None:
    """The first layer that computes with float32 values, None where there is none."""
    for index, operator in enumerate(raw.operators):
        if operator.name in _LAYERS and any(i >= 0 and raw.tensors[i].dtype == "FLOAT32" for i in operator.inputs):
            return f"operator {index} ({operator.name})"
    return None


def unique_names(tensors: list[RawTensor]) -> list[str]:
    """The tensors' names; TFLite knows them by index and allows duplicates."""
    names, seen = [], set()
    for index, tensor in enumerate(tensors):
        name = tensor.name if tensor.name not in seen else f"{tensor.name}#{index}"
        while name in seen:
            name += "'"
        seen.add(name)
        names.append(name)
    return names


def _data(raw: RawTensor) -> np.ndarray | None:
    """The values of a tensor that no operator computes; None where the file has none."""
    dtype = DTYPES[raw.dtype].newbyteorder("<")
    size = prod(raw.shape) * dtype.itemsize
    if raw.data is None:
        return np.empty(raw.shape, DTYPES[raw.dtype]) if size == 0 else None
    if raw.data.size != size:
        raise GraphError(f"tensor {raw.name!r} of shape {raw.shape} {raw.dtype} must have {size} bytes of data, "
                         f"the file has {raw.data.size}")
    data = np.frombuffer(raw.data.tobytes(), dtype).astype(DTYPES[raw.dtype], copy=False).reshape(raw.shape)
    data.flags.writeable = False
    return data
