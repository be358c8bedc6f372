"""The tensors of a TFLite file as values of the graph: data types, shapes, quantization, constants."""

import warnings
from math import prod

import numpy as np

from lepton.graph import GraphError, Quantization, Shape, Tensor
from lepton.graph.builder import GraphBuilder, Value
from lepton.graph.ops.conditions import same_reals

from .records import RawModel, RawTensor
from .variables import Variables

DTYPES: dict[str, np.dtype] = {
    "INT8": np.dtype(np.int8), "UINT8": np.dtype(np.uint8), "INT32": np.dtype(np.int32), "INT64": np.dtype(np.int64),
    "FLOAT32": np.dtype(np.float32), "BOOL": np.dtype(np.bool_), "INT16": np.dtype(np.int16)}
# Those of operands where an operator does not ask for others: only states and their weights have 16 bits.
USUAL = tuple(name for name in DTYPES if name != "INT16")
MAX_RANK = 8  # the most that any kernel of TFLite takes (BROADCAST_TO)
MAX_ELEMENTS = 2**31 - 1  # in one tensor: TFLite counts them in int32
# Channels of pruned weights, and values that were always 0, have the scale 0. LiteRT multiplies by 0 then. Products
# with this one have the multiplier 0, too (QuantizeMultiplier makes 0 of less than 2**-31).
SMALLEST = np.finfo(np.float32).tiny
_ZERO_POINTS = {"INT8": (-128, 127), "UINT8": (0, 255)}


class FileBuilder(GraphBuilder):
    """A graph in which the names of the file's tensors are kept for them."""

    reserved: frozenset[str] = frozenset()

    def unique(self, name: str) -> str:
        number = 0
        candidate = name
        while candidate in self.graph.tensors or candidate in self.reserved:
            number += 1
            candidate = f"{name}.{number}"
        return candidate


class Tensors:
    """Values by the file's index of their tensors; operators add theirs with `bind`."""

    def __init__(self, raw: RawModel, builder: FileBuilder, variables: Variables) -> None:
        self.raw = raw
        self.builder = builder
        self.variables = variables
        self.names = unique_names(raw.tensors)
        builder.reserved = frozenset(self.names)
        self.values: dict[int, Value] = {}
        self.computed = {*raw.inputs, *(i for operator in raw.operators for i in operator.outputs)}

    def value(self, index: int, dtypes: tuple[str, ...] = USUAL) -> Value:
        """A computed value, or a constant of the file."""
        if index < 0:
            raise GraphError("an input is missing")
        raw = self.raw.tensors[index]
        self.check(raw, dtypes)
        if raw.variable:
            raise GraphError(f"tensor {raw.name!r} is a variable, which this operator does not have in LiteRT")
        if index not in self.values:
            if index in self.computed:
                raise GraphError(f"reads {self.names[index]!r} before any operator has computed it")
            self.values[index] = self._constant(index, dtypes)
        return self.values[index]

    def state(self, index: int, *dtypes: str) -> Value:
        """The present value of a variable that an operator has as an operand; `assign` gives it the next one.

        Raises GraphError for a tensor that is none of the network's variables.
        """
        raw = self.raw.tensors[index]
        if not raw.variable or index in self.computed:
            raise GraphError(f"{self.names[index]!r} must be a variable")
        declared = self.declared(index, dtypes=dtypes)
        zero = declared.zero_point if declared.dtype == np.int8 else 0  # as LiteRT's ResetVariableTensor
        self.variables.initial.setdefault(self.names[index], np.full(declared.shape, zero, declared.dtype))
        return self.variables.read(self.names[index], declared)

    def assign(self, index: int, value: Value) -> None:
        """The variable of an operand has this value when the operator has run."""
        self.variables.assign(self.names[index], value)

    def bind(self, index: int, value: Value) -> None:
        """`value` is what an operator makes of tensor `index`.

        Raises GraphError where the file declares another shape, type or quantization. Where it leaves extents open (-1
        in the signature), or has no shape at all, the operator's are taken, as LiteRT does when it allocates tensors.
        """
        raw = self.raw.tensors[index]
        name = self.names[index]
        if index in self.values:
            raise GraphError(f"computes {name!r}, which is computed already")
        self.without_data(index)
        declared = self.shape(raw)
        shape = tuple(value.shape)
        open_extents = len(raw.signature) == len(shape) and -1 in raw.signature and all(
            a in (-1, b) for a, b in zip(raw.signature, shape, strict=True))
        if declared and declared != shape and not open_extents:
            raise GraphError(f"output {name!r} is declared as {declared}, the operator makes {shape}")
        wanted = self.declared(index, shape)
        if wanted.dtype != value.dtype:
            raise GraphError(f"output {name!r} is declared as {wanted.dtype}, the operator makes {value.dtype}")
        if 0 in shape:
            raise GraphError(f"tensor {name!r} of shape {shape} has no elements; computed values must have 1 or more")
        if wanted.dtype == np.int8 and not same_reals(wanted, value.tensor):
            raise GraphError(f"output {name!r} must have the quantization of the operator's input")
        self.values[index] = value

    def without_data(self, index: int) -> None:
        """Raises GraphError where the file has data for a tensor that is an input or computed: LiteRT takes it for a
        constant."""
        data = self.raw.tensors[index].data
        if data is not None:
            raise GraphError(f"tensor {self.names[index]!r} is an input or is computed, but the file has {data.size} "
                             "bytes of data for it, as for a constant")

    def declared(self, index: int, shape: Shape | None = None, dtypes: tuple[str, ...] = USUAL) -> Tensor:
        """What the file says of a tensor: legacy uint8 as the int8 that the graph has."""
        raw = self.raw.tensors[index]
        self.check(raw, dtypes)
        quantization = self._quantization(raw)
        dtype = DTYPES[raw.dtype]
        if is_legacy(raw) and quantization is not None:
            dtype = np.dtype(np.int8)
            quantization = Quantization(quantization.scale, quantization.zero_point - 128, quantization.axis)
        return Tensor(self.names[index], self.shape(raw) if shape is None else shape, dtype, quantization)

    def check(self, raw: RawTensor, dtypes: tuple[str, ...] = USUAL) -> None:
        if raw.dtype not in dtypes:
            raise GraphError(f"tensor {raw.name!r} has the data type {raw.dtype}, supported here is "
                             f"{' or '.join(dtypes)}")
        if raw.sparse:
            raise GraphError(f"tensor {raw.name!r} is sparse; only dense tensors are supported")

    @staticmethod
    def shape(raw: RawTensor) -> Shape:
        if len(raw.shape) > MAX_RANK:
            raise GraphError(f"tensor {raw.name!r} has {len(raw.shape)} dimensions, at most {MAX_RANK} are supported")
        if any(extent < 0 for extent in raw.shape) or prod(raw.shape) > MAX_ELEMENTS:
            raise GraphError(f"tensor {raw.name!r} has the shape {raw.shape}: every dimension must be at least 0, and "
                             f"the elements at most {MAX_ELEMENTS}")
        return raw.shape

    def _constant(self, index: int, dtypes: tuple[str, ...]) -> Value:
        raw = self.raw.tensors[index]
        tensor = self.declared(index, dtypes=dtypes)
        data = constant_data(raw)
        if data is None:
            raise GraphError(f"{tensor.name!r} must be a constant, or be computed by an operator")
        if is_legacy(raw):
            data = np.asarray(data ^ 0x80).view(np.int8)  # xor of an array without dimensions is none
        data.flags.writeable = False
        tensor.data = data
        self.builder.graph.tensors[tensor.name] = tensor
        return self.builder.value(tensor.name)

    def _quantization(self, raw: RawTensor) -> Quantization | None:
        q = raw.quantization
        if q is None or raw.dtype not in ("INT8", "UINT8", "INT16", "INT32"):
            return None
        if q.custom:
            raise GraphError(f"tensor {raw.name!r} has a custom quantization, which is not supported")
        if not q.scale.size or q.scale.size != q.zero_point.size:
            raise GraphError(f"tensor {raw.name!r} has {q.scale.size} scales and {q.zero_point.size} zero points; it "
                             "must have as many of both")
        if not np.all(np.isfinite(q.scale) & (q.scale >= 0)):
            raise GraphError(f"tensor {raw.name!r} has scales that are not finite and at least 0")
        limit = _ZERO_POINTS.get(raw.dtype, (0, 0))
        if np.any((q.zero_point < limit[0]) | (q.zero_point > limit[1])):
            raise GraphError(f"tensor {raw.name!r} ({raw.dtype}) has zero points outside {limit}")
        axis = _axis(raw, q.scale.size, q.dimension) if q.scale.size > 1 else None
        return Quantization(np.maximum(q.scale, SMALLEST).astype(np.float32), q.zero_point.astype(np.int32), axis)


def _axis(raw: RawTensor, scales: int, axis: int) -> int:
    if len(raw.shape) == 1 and axis != 0:
        # Some converters copy the axis of the weights, to which a bias has no such dimension.
        warnings.warn(f"tensor {raw.name!r} of shape {raw.shape} has quantized_dimension {axis}; taken as 0",
                      UserWarning, stacklevel=2)
        axis = 0
    if not 0 <= axis < len(raw.shape) or raw.shape[axis] != scales:
        raise GraphError(f"tensor {raw.name!r} of shape {raw.shape} has {scales} scales along dimension {axis}")
    return axis


def is_legacy(raw: RawTensor) -> bool:
    """A quantized uint8 tensor, which the graph has as int8."""
    return raw.dtype == "UINT8" and raw.quantization is not None


def constant_data(raw: RawTensor) -> np.ndarray | None:
    """The values of a tensor that no operator computes; None where the file has none."""
    dtype = DTYPES[raw.dtype].newbyteorder("<")
    size = prod(raw.shape) * dtype.itemsize
    if raw.data is None:
        return np.empty(raw.shape, DTYPES[raw.dtype]) if size == 0 else None
    if raw.data.size != size:
        raise GraphError(f"tensor {raw.name!r} of shape {raw.shape} {raw.dtype} must have {size} bytes of data, "
                         f"the file has {raw.data.size}")
    return np.frombuffer(raw.data.tobytes(), dtype).astype(DTYPES[raw.dtype], copy=False).reshape(raw.shape)


def unique_names(tensors: list[RawTensor]) -> list[str]:
    """The tensors' names; TFLite knows them by index and allows duplicates."""
    names: list[str] = []
    seen: set[str] = set()
    for index, tensor in enumerate(tensors):
        name = tensor.name if tensor.name not in seen else f"{tensor.name}#{index}"
        while name in seen:
            name += "'"
        seen.add(name)
        names.append(name)
    return names
