"""From the bytes of a TFLite file to plain records, with every offset and length bounded.

The generated flatbuffers code trusts its input: an offset outside of the file raises an arbitrary Python exception,
and a length may be up to 2**32. So everything is read once, here, into records of Python numbers and numpy views; no
other module reads the file.
"""

import struct
import warnings
from typing import Any

import numpy as np

from lepton.graph import GraphError

from .options import CUSTOM, ENUMS, NEEDED, OPTIONS
from .records import RawModel, RawOperator, RawQuantization, RawSignature, RawTensor
from .schema import enum_names, load_schema

IDENTIFIER = b"TFL3"
SCHEMA_VERSION = 3

# Slots of the table OperatorCode in TFLite's schema, as flatbuffers counts them
_DEPRECATED_BUILTIN_CODE = 4
_BUILTIN_CODE = 10
_PLACEHOLDER = "PLACEHOLDER_FOR_GREATER_OP_CODES"

# What the generated code raises on offsets and lengths that make no sense.
_DECODE_ERRORS = (struct.error, IndexError, ValueError, TypeError, OverflowError, AttributeError, KeyError, MemoryError)


def read_signatures(data: bytes) -> dict[str, RawSignature]:
    """The signatures of a TFLite file by their keys. Raises GraphError where the file cannot be read."""
    try:
        return _FileReader(data).signatures()
    except _DECODE_ERRORS as error:
        raise GraphError(f"the TFLite file is corrupt or truncated ({len(data)} bytes): {error}") from error


def read_tflite(data: bytes, signature: str | None = None) -> RawModel:
    """The records of one network of a TFLite file: the first, as LiteRT's interpreter runs it, or that of a signature.

    Shapes and data types of tensors are given as they stand; the importer checks those that the network uses. Warns
    (UserWarning) where the file has other networks and `signature` chooses none. Raises GraphError when `data` is not a
    TFLite file of schema version 3, is truncated or corrupt, or has no signature of that name.
    """
    if len(data) < 8 or data[4:8] != IDENTIFIER:
        raise GraphError(f"not a TFLite file: bytes 4 to 8 must be {IDENTIFIER!r}, not {data[4:8]!r} "
                         f"(the file has {len(data)} bytes)")
    try:
        return _FileReader(data).model(signature)
    except GraphError:
        raise
    except _DECODE_ERRORS as error:
        raise GraphError(f"the TFLite file is corrupt or truncated ({len(data)} bytes): {error}") from error


class _FileReader:
    def __init__(self, data: bytes) -> None:
        self.data = data
        # Parts of a valid file do not overlap, so their sizes add up to less than the file's; offsets that
        # all point to one long vector would otherwise cost time and memory far beyond the file's size.
        self.budget = 4 * len(data)
        schema = load_schema()
        self.tflite = schema.tflite
        self.number_types = schema.flatbuffers.number_types
        self.flexbuffers = schema.flexbuffers
        self.types = enum_names(self.tflite.TensorType)
        self.operators = enum_names(self.tflite.BuiltinOperator)
        self.option_types = enum_names(self.tflite.BuiltinOptions)
        self.enums = {key: enum_names(getattr(self.tflite, name)) for key, name in ENUMS.items()}

    def model(self, signature: str | None) -> RawModel:
        model = self.tflite.Model.GetRootAs(self.data, 0)
        if model.Version() != SCHEMA_VERSION:
            raise GraphError(f"TFLite schema version must be {SCHEMA_VERSION}, not {model.Version()}")
        graph = self.subgraph(model, signature)
        codes = [self.code(model.OperatorCodes(i))
                 for i in range(self.count(model.OperatorCodesLength(), "operator codes"))]
        buffers = [self.buffer(model.Buffers(i), i) for i in range(self.count(model.BuffersLength(), "buffers"))]
        main = self.network(graph, codes, buffers)
        for operator in main.operators:
            if operator.name == "CALL_ONCE" and (index := (operator.options or {})["subgraph"]) not in main.once:
                if not 0 <= index < model.SubgraphsLength():
                    raise GraphError(f"CALL_ONCE names subgraph {index}, the file has {model.SubgraphsLength()}")
                main.once[index] = self.network(model.Subgraphs(index), codes, buffers)
        return main

    def network(self, graph: Any, codes: list[str], buffers: list) -> RawModel:
        tensors = [self.tensor(graph.Tensors(i), i, buffers)
                   for i in range(self.count(graph.TensorsLength(), "tensors"))]
        operators = [self.operator(graph.Operators(i), i, codes, len(tensors))
                     for i in range(self.count(graph.OperatorsLength(), "operators"))]
        return RawModel(self.text(graph.Name()), tensors, operators,
                        self.indices(graph.InputsAsNumpy(), len(tensors), "the network's inputs"),
                        self.indices(graph.OutputsAsNumpy(), len(tensors), "the network's outputs"))

    def signatures(self) -> dict[str, RawSignature]:
        model = self.tflite.Model.GetRootAs(self.data, 0)
        found = {}
        for i in range(self.count(model.SignatureDefsLength(), "signatures")):
            entry = model.SignatureDefs(i)
            inputs = [entry.Inputs(k) for k in range(self.count(entry.InputsLength(), "inputs of a signature"))]
            outputs = [entry.Outputs(k) for k in range(self.count(entry.OutputsLength(), "outputs of a signature"))]
            found[self.text(entry.SignatureKey())] = RawSignature(
                entry.SubgraphIndex(), {self.text(m.Name()): m.TensorIndex() for m in inputs},
                {self.text(m.Name()): m.TensorIndex() for m in outputs})
        return found

    def subgraph(self, model: Any, signature: str | None) -> Any:
        """The subgraph of a signature, or the first."""
        subgraphs = self.count(model.SubgraphsLength(), "subgraphs")
        if not subgraphs:
            raise GraphError("the TFLite file has no subgraph, so there is no network in it")
        entries = [model.SignatureDefs(i) for i in range(self.count(model.SignatureDefsLength(), "signatures"))]
        signatures = {self.text(entry.SignatureKey()): entry.SubgraphIndex() for entry in entries}
        known = ", ".join(map(repr, signatures)) or "none"
        index = 0
        if signature is not None:
            if signature not in signatures:
                raise GraphError(f"the TFLite file has no signature {signature!r}; its signatures are {known}")
            index = signatures[signature]
            if not 0 <= index < subgraphs:
                raise GraphError(f"signature {signature!r} names subgraph {index}, the file has {subgraphs}")
        elif len(set(signatures.values())) > 1:
            warnings.warn(f"the TFLite file has several signatures ({known}); the network of the first subgraph is "
                          "taken, as LiteRT does. import_tflite(..., signature=...) takes another", UserWarning,
                          stacklevel=4)
        return model.Subgraphs(index)

    def count(self, value: int, what: str) -> int:
        """A vector's length: an element takes at least 4 bytes, so more than fit in the file is damage."""
        if value * 4 > len(self.data):
            raise GraphError(f"the TFLite file is corrupt: {value} {what} in a file of {len(self.data)} bytes")
        return value

    def code(self, code: Any) -> str:
        """The operator's name. Older files have its code in an int8 field, newer ones in an int32 field, or in both.

        LiteRT takes the larger (GetBuiltinCode). The fields are read here, since the package's accessor
        `BuiltinCode` gives the older field for every code below 127.
        """
        table = code._tab
        offset = table.Offset(_BUILTIN_CODE)
        new = table.Get(self.number_types.Int32Flags, offset + table.Pos) if offset else 0
        offset = table.Offset(_DEPRECATED_BUILTIN_CODE)
        old = table.Get(self.number_types.Int8Flags, offset + table.Pos) if offset else 0
        name = self.operators.get(max(new, old))
        if name is None or name == _PLACEHOLDER:
            raise GraphError(f"the TFLite file is corrupt or newer than this program: operator code {max(new, old)} "
                             f"is unknown (builtin_code {new}, deprecated_builtin_code {old})")
        return f"CUSTOM {self.text(code.CustomCode())!r}" if name == "CUSTOM" else name

    def buffer(self, buffer: Any, index: int) -> np.ndarray | None:
        if buffer.Offset() > 1 or buffer.Size() > 1:
            raise GraphError(f"buffer {index} lies outside the flatbuffer (files over 2 GiB): not supported")
        return buffer.DataAsNumpy() if buffer.DataLength() else None

    def tensor(self, tensor: Any, index: int, buffers: list) -> RawTensor:
        name = self.text(tensor.Name()) or f"tensor_{index}"
        if not 0 <= tensor.Buffer() < len(buffers):
            raise GraphError(f"tensor {name!r} names buffer {tensor.Buffer()}, the file has {len(buffers)}")
        shape = self.vector(tensor.ShapeAsNumpy())
        signature = self.vector(tensor.ShapeSignatureAsNumpy())
        return RawTensor(name, shape, signature, self.types.get(tensor.Type(), f"TYPE {tensor.Type()}"),
                         buffers[tensor.Buffer()], self.quantization(tensor), tensor.IsVariable(),
                         tensor.Sparsity() is not None)

    def quantization(self, tensor: Any) -> RawQuantization | None:
        q = tensor.Quantization()
        if q is None or not (q.ScaleLength() or q.ZeroPointLength() or q.DetailsType()):
            return None
        scale = q.ScaleAsNumpy() if q.ScaleLength() else np.empty(0, np.float32)
        zero_point = q.ZeroPointAsNumpy() if q.ZeroPointLength() else np.empty(0, np.int64)
        return RawQuantization(scale, zero_point, q.QuantizedDimension(), bool(q.DetailsType()))

    def operator(self, operator: Any, index: int, codes: list[str], tensors: int) -> RawOperator:
        if not 0 <= operator.OpcodeIndex() < len(codes):
            raise GraphError(f"operator {index} has the code index {operator.OpcodeIndex()}, the file has {len(codes)} "
                             "codes")
        name = codes[operator.OpcodeIndex()]
        where = f"operator {index} ({name})"
        return RawOperator(name, self.indices(operator.InputsAsNumpy(), tensors, f"{where} inputs", absent=True),
                           self.indices(operator.OutputsAsNumpy(), tensors, f"{where} outputs"),
                           self.options(operator, name, where),
                           self.indices(operator.IntermediatesAsNumpy(), tensors, f"{where} intermediates"))

    def options(self, operator: Any, name: str, where: str) -> dict | None:
        """The fields of the operator's table of options.

        Without the table, or with another operator's, every field is 0, as LiteRT reads such files
        (flatbuffer_conversions.cc); operators in `NEEDED` cannot run so.
        """
        if name in {f"CUSTOM {custom!r}" for custom in CUSTOM}:
            return self.custom_options(operator, where)
        if name not in OPTIONS:
            return None
        table, fields = OPTIONS[name]
        kind = operator.BuiltinOptionsType()
        union = operator.BuiltinOptions()
        if union is None or self.option_types.get(kind) != table:
            found = self.option_types.get(kind, f"table {kind}") if union is not None and kind else ""
            if name in NEEDED:
                raise GraphError(f"{where} must have {table}, not {found}" if found else f"{where} has no {table}")
            if found:
                warnings.warn(f"{where} has {found} where {table} belong; they are ignored, as LiteRT does",
                              UserWarning, stacklevel=6)
            return {key: self.enums[key][0] if key in self.enums else () if field.endswith("AsNumpy") else 0
                    for key, field in fields.items()}
        options = getattr(self.tflite, table)()
        options.Init(union.Bytes, union.Pos)
        values = {key: getattr(options, method)() for key, method in fields.items()}
        values |= {key: self.vector(values[key]) for key, method in fields.items() if method.endswith("AsNumpy")}
        values |= {key: self.text(value) for key, value in values.items() if value is None or isinstance(value, bytes)}
        for key, names in self.enums.items():
            if key in values:
                if values[key] not in names:
                    raise GraphError(f"{where} has the unknown {key} {values[key]}")
                values[key] = names[values[key]]
        return values

    def custom_options(self, operator: Any, where: str) -> dict:
        """The fields of a custom operator's options, numbers and booleans only."""
        data = operator.CustomOptionsAsNumpy()
        if isinstance(data, int) or not len(data):
            return {}
        self.spend(len(data))
        try:
            values = self.flexbuffers.Loads(data.tobytes())
        except Exception as error:  # the decoder raises arbitrary exceptions on damaged bytes
            raise GraphError(f"{where} has options that are no flexbuffers map: {error}") from None
        if not isinstance(values, dict):
            raise GraphError(f"{where} has options that are no flexbuffers map")
        return {str(key): value for key, value in values.items() if isinstance(value, int | float)}

    def spend(self, elements: int) -> None:
        self.budget -= elements
        if self.budget < 0:
            raise GraphError(f"the TFLite file is corrupt: its parts overlap ({len(self.data)} bytes)")

    def text(self, value: bytes | None) -> str:
        self.spend(len(value or b""))
        return (value or b"").decode("utf-8", "replace")

    def vector(self, values: Any) -> tuple[int, ...]:
        if isinstance(values, int):  # 0: the field is absent
            return ()
        self.spend(len(values))
        return tuple(values.tolist())

    def indices(self, values: Any, tensors: int, what: str, absent: bool = False) -> tuple[int, ...]:
        result = self.vector(values)
        for value in result:
            if not (0 <= value < tensors or (absent and value == -1)):
                raise GraphError(f"{what} name tensor {value}, the file has {tensors}")
        return result
