"""From the bytes of a TFLite file to plain records, with every offset and length bounded.

The generated flatbuffers code trusts its input: offsets that point anywhere raise whatever the
interpreter raises there, and lengths may be up to 2**32. So everything is read once, here, into
records of Python numbers and numpy views; nothing else touches the file.
"""

import struct
from dataclasses import dataclass

import numpy as np

from lepton.graph import GraphError

from .options import ENUMS, MAY_BE_ABSENT, OPTIONS
from .schema import enum_names, load_schema

IDENTIFIER = b"TFL3"
SCHEMA_VERSION = 3
MAX_RANK = 6
MAX_ELEMENTS = 2**31 - 1  # of one tensor, as TFLite's int32 sizes

# What the generated code raises on offsets and lengths that make no sense.
_DECODE_ERRORS = (struct.error, IndexError, ValueError, TypeError, OverflowError, AttributeError, KeyError, MemoryError)


@dataclass(frozen=True)
class RawQuantization:
    scale: np.ndarray  # float32
    zero_point: np.ndarray  # int64
    dimension: int
    custom: bool


@dataclass(frozen=True)
class RawTensor:
    name: str
    shape: tuple[int, ...]
    signature: tuple[int, ...]
    dtype: str  # a name of the schema's TensorType
    data: np.ndarray | None  # uint8 view of the buffer; none for values computed at run time
    quantization: RawQuantization | None
    variable: bool
    sparse: bool


@dataclass(frozen=True)
class RawOperator:
    name: str  # of the schema's BuiltinOperator, or the custom code
    inputs: tuple[int, ...]  # -1: optional and absent
    outputs: tuple[int, ...]
    options: dict | None


@dataclass(frozen=True)
class RawModel:
    name: str
    tensors: list[RawTensor]
    operators: list[RawOperator]
    inputs: tuple[int, ...]
    outputs: tuple[int, ...]


def read_tflite(data: bytes) -> RawModel:
    """The records of a TFLite file.

    Raises GraphError when `data` is not a TFLite file of schema version 3, is truncated or corrupt,
    or has more than one subgraph.
    """
    if len(data) < 8 or data[4:8] != IDENTIFIER:
        raise GraphError(f"not a TFLite file: bytes 4 to 8 must be {IDENTIFIER!r}, not {data[4:8]!r} "
                         f"(the file has {len(data)} bytes)")
    try:
        return _Reader(data).model()
    except GraphError:
        raise
    except _DECODE_ERRORS as error:
        raise GraphError(f"the TFLite file is corrupt or truncated ({len(data)} bytes): {error}") from error


class _Reader:
    def __init__(self, data: bytes):
        self.data = data
        # Parts of an honest file do not overlap, so their sizes add up to less than the file's; offsets that
        # all point to one long vector would otherwise cost time and memory far beyond the file's size.
        self.budget = 4 * len(data)
        self.tflite = load_schema().tflite
        self.types = enum_names(self.tflite.TensorType)
        self.operators = enum_names(self.tflite.BuiltinOperator)
        self.option_types = enum_names(self.tflite.BuiltinOptions)
        self.enums = {key: enum_names(getattr(self.tflite, name)) for key, name in ENUMS.items()}

    def model(self) -> RawModel:
        model = self.tflite.Model.GetRootAs(self.data, 0)
        if model.Version() != SCHEMA_VERSION:
            raise GraphError(f"TFLite schema version must be {SCHEMA_VERSION}, not {model.Version()}")
        subgraphs = self.count(model.SubgraphsLength(), "subgraphs")
        if subgraphs != 1:
            raise GraphError(f"a TFLite file must have 1 subgraph, not {subgraphs}: control flow is not supported")
        graph = model.Subgraphs(0)
        codes = [self.code(model.OperatorCodes(i))
                 for i in range(self.count(model.OperatorCodesLength(), "operator codes"))]
        buffers = [self.buffer(model.Buffers(i), i) for i in range(self.count(model.BuffersLength(), "buffers"))]
        tensors = [self.tensor(graph.Tensors(i), i, buffers)
                   for i in range(self.count(graph.TensorsLength(), "tensors"))]
        operators = [self.operator(graph.Operators(i), i, codes, len(tensors))
                     for i in range(self.count(graph.OperatorsLength(), "operators"))]
        return RawModel(self.text(graph.Name()), tensors, operators,
                        self.indices(graph.InputsAsNumpy(), len(tensors), "the network's inputs"),
                        self.indices(graph.OutputsAsNumpy(), len(tensors), "the network's outputs"))

    def count(self, value: int, what: str) -> int:
        """A vector's length: an element takes at least 4 bytes, so more than fit in the file is damage."""
        if value * 4 > len(self.data):
            raise GraphError(f"the TFLite file is corrupt: {value} {what} in a file of {len(self.data)} bytes")
        return value

    def code(self, code) -> str:
        # Operators past 127 are in the newer field; the older one then holds 127.
        builtin = max(code.BuiltinCode(), code.DeprecatedBuiltinCode())
        name = self.operators.get(builtin)
        if name is None:
            raise GraphError(f"the TFLite file is corrupt or newer than this program: operator code {builtin} is "
                             "unknown")
        return f"CUSTOM {self.text(code.CustomCode())!r}" if name == "CUSTOM" else name

    def buffer(self, buffer, index: int) -> np.ndarray | None:
        if buffer.Offset() > 1 or buffer.Size() > 1:
            raise GraphError(f"buffer {index} lies outside the flatbuffer (files over 2 GiB): not supported")
        return buffer.DataAsNumpy() if buffer.DataLength() else None

    def tensor(self, tensor, index: int, buffers: list) -> RawTensor:
        name = self.text(tensor.Name()) or f"tensor_{index}"
        dtype = self.types.get(tensor.Type())
        if dtype is None:
            raise GraphError(f"tensor {name!r} has the unknown data type {tensor.Type()}")
        if not 0 <= tensor.Buffer() < len(buffers):
            raise GraphError(f"tensor {name!r} names buffer {tensor.Buffer()}, the file has {len(buffers)}")
        shape, signature = self.vector(tensor.ShapeAsNumpy()), self.vector(tensor.ShapeSignatureAsNumpy())
        if len(shape) > MAX_RANK:
            raise GraphError(f"tensor {name!r} has {len(shape)} dimensions, at most {MAX_RANK} are supported")
        size = 1
        for extent in shape:
            size *= extent
            if extent < 1 or size > MAX_ELEMENTS:
                raise GraphError(f"tensor {name!r} has the shape {shape}: every dimension must be at least 1 (dynamic "
                                 f"shapes are not supported), and the elements at most {MAX_ELEMENTS}")
        return RawTensor(name, shape, signature, dtype, buffers[tensor.Buffer()], self.quantization(tensor),
                         tensor.IsVariable(), tensor.Sparsity() is not None)

    def quantization(self, tensor) -> RawQuantization | None:
        q = tensor.Quantization()
        if q is None or not (q.ScaleLength() or q.ZeroPointLength() or q.DetailsType()):
            return None
        scale = q.ScaleAsNumpy() if q.ScaleLength() else np.empty(0, np.float32)
        zero_point = q.ZeroPointAsNumpy() if q.ZeroPointLength() else np.empty(0, np.int64)
        return RawQuantization(scale, zero_point, q.QuantizedDimension(), bool(q.DetailsType()))

    def operator(self, operator, index: int, codes: list[str], tensors: int) -> RawOperator:
        if not 0 <= operator.OpcodeIndex() < len(codes):
            raise GraphError(f"operator {index} has the code index {operator.OpcodeIndex()}, the file has {len(codes)} "
                             "codes")
        name = codes[operator.OpcodeIndex()]
        where = f"operator {index} ({name})"
        return RawOperator(name, self.indices(operator.InputsAsNumpy(), tensors, f"{where} inputs", absent=True),
                           self.indices(operator.OutputsAsNumpy(), tensors, f"{where} outputs"),
                           self.options(operator, name, where))

    def options(self, operator, name: str, where: str) -> dict | None:
        if name not in OPTIONS:
            return None
        table, fields = OPTIONS[name]
        kind = operator.BuiltinOptionsType()
        union = operator.BuiltinOptions()
        if union is None or kind == 0:
            if name in MAY_BE_ABSENT:
                return {key: "NONE" if key == "activation" else 0 for key in fields}
            raise GraphError(f"{where} has no {table}")
        if self.option_types.get(kind) != table:
            raise GraphError(f"{where} must have {table}, not {self.option_types.get(kind, kind)}")
        options = getattr(self.tflite, table)()
        options.Init(union.Bytes, union.Pos)
        values = {key: getattr(options, method)() for key, method in fields.items()}
        for key, names in self.enums.items():
            if key in values:
                if values[key] not in names:
                    raise GraphError(f"{where} has the unknown {key} {values[key]}")
                values[key] = names[values[key]]
        return values

    def spend(self, elements: int):
        self.budget -= elements
        if self.budget < 0:
            raise GraphError(f"the TFLite file is corrupt: its parts overlap ({len(self.data)} bytes)")

    def text(self, value: bytes | None) -> str:
        self.spend(len(value or b""))
        return (value or b"").decode("utf-8", "replace")

    def vector(self, values) -> tuple[int, ...]:
        if isinstance(values, int):  # 0: the field is absent
            return ()
        self.spend(len(values))
        return tuple(values.tolist())

    def indices(self, values, tensors: int, what: str, absent: bool = False) -> tuple[int, ...]:
        result = self.vector(values)
        for value in result:
            if not (0 <= value < tensors or (absent and value == -1)):
                raise GraphError(f"{what} name tensor {value}, the file has {tensors}")
        return result
