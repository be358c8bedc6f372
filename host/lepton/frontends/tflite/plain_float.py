"""Float16 and dynamic-range TFLite files as plain float32 ones, with one network and one signature.

Converters store weights in float16 with a DEQUANTIZE after them, or in int8 while activations are float (dynamic
range). The quantizer needs float32 weights, tensors with distinct names, and a signature that names inputs and outputs.
"""

from types import ModuleType
from typing import Any

import numpy as np

from lepton.graph import GraphError

SIGNATURE = "main"


def plain_float(schema: ModuleType, data: bytes, signature: str | None, names: list[str]) -> bytes:
    """The file with float32 constants wherever a float operator reads a constant of another type.

    `schema` is the object API of TFLite's schema, `names` a distinct name for each tensor of the network. Raises
    GraphError for a sparse constant.
    """
    model = schema.ModelT.InitFromObj(schema.Model.GetRootAs(data, 0))
    index = next((entry.subgraphIndex for entry in model.signatureDefs or () if signature is not None and
                  entry.signatureKey in (signature, signature.encode())), 0)
    graph = model.subgraphs[index]
    model.subgraphs = [graph]
    model.signatureDefs = [_signature(schema, graph)]
    for tensor, name in zip(graph.tensors, names, strict=True):
        tensor.name = name
    _fold_dequantize(schema, model, graph)
    _float_constants(schema, model, graph)
    return _packed(model)


def rename_outputs(schema: ModuleType, data: bytes, names: list[str]) -> bytes:
    """The file with `names` for the network's outputs; what had such a name inside the network is marked."""
    model = schema.ModelT.InitFromObj(schema.Model.GetRootAs(data, 0))
    graph = model.subgraphs[0]
    for tensor in graph.tensors:
        text = tensor.name.decode() if isinstance(tensor.name, bytes) else tensor.name
        tensor.name = f"{text}@int8" if text in names else text
    for index, name in zip(graph.outputs, names, strict=True):
        graph.tensors[index].name = name
    return _packed(model)


def _packed(model: Any) -> bytes:
    import flatbuffers

    builder = flatbuffers.Builder(1024)
    builder.Finish(model.Pack(builder), b"TFL3")
    return bytes(builder.Output())


def input_name(position: int) -> str:
    """The signature's name of an input of the network."""
    return f"input_{position}"


def _signature(schema: ModuleType, graph: Any) -> Any:
    def named(prefix: str, indices: Any) -> list:
        entries = []
        for position, index in enumerate(indices):
            entry = schema.TensorMapT()
            entry.name = f"{prefix}_{position}"
            entry.tensorIndex = int(index)
            entries.append(entry)
        return entries

    made = schema.SignatureDefT()
    made.signatureKey = SIGNATURE
    made.subgraphIndex = 0
    made.inputs = named("input", graph.inputs)
    made.outputs = named("output", graph.outputs)
    return made


def _fold_dequantize(schema: ModuleType, model: Any, graph: Any) -> None:
    """A DEQUANTIZE of a constant becomes a float32 constant."""
    kept = []
    for operator in graph.operators:
        source = graph.tensors[operator.inputs[0]] if len(operator.inputs) else None
        data = None if source is None else _constant(model, source)
        if _code(model, operator) != schema.BuiltinOperator.DEQUANTIZE or data is None:
            kept.append(operator)
            continue
        _set(schema, model, graph.tensors[operator.outputs[0]], _reals(schema, source, data))
    graph.operators = kept


def _float_constants(schema: ModuleType, model: Any, graph: Any) -> None:
    """Constants in int8 or float16 that an operator on float32 values reads become float32."""
    quantized = (schema.TensorType.INT8, schema.TensorType.UINT8, schema.TensorType.FLOAT16)
    for operator in graph.operators:
        operands = [graph.tensors[i] for i in operator.inputs if i >= 0]
        if not any(t.type == schema.TensorType.FLOAT32 and _constant(model, t) is None for t in operands):
            continue
        for tensor in operands:
            data = _constant(model, tensor)
            if data is not None and tensor.type in quantized:
                _set(schema, model, tensor, _reals(schema, tensor, data))


def _code(model: Any, operator: Any) -> int:
    code = model.operatorCodes[operator.opcodeIndex]
    return max(code.builtinCode, code.deprecatedBuiltinCode)


def _constant(model: Any, tensor: Any) -> np.ndarray | None:
    data = model.buffers[tensor.buffer].data
    return None if data is None or not len(data) else np.asarray(data, np.uint8)


def _reals(schema: ModuleType, tensor: Any, data: np.ndarray) -> np.ndarray:
    """The float32 values of a constant in float16 or with a quantization."""
    name = tensor.name.decode() if isinstance(tensor.name, bytes) else tensor.name
    if tensor.sparsity is not None:
        raise GraphError(f"tensor {name!r} is sparse; only dense tensors are supported")
    shape = tuple(tensor.shape) if tensor.shape is not None else ()
    types = {schema.TensorType.FLOAT16: "<f2", schema.TensorType.INT8: "i1", schema.TensorType.UINT8: "u1",
             schema.TensorType.FLOAT32: "<f4"}
    dtype = types.get(tensor.type)
    if dtype is None or data.size != np.dtype(dtype).itemsize * int(np.prod(shape, dtype=np.int64)):
        raise GraphError(f"constant {name!r} of shape {shape} must be float16, float32, int8 or uint8, and not of "
                         f"{data.size} bytes")
    values = np.frombuffer(data.tobytes(), dtype).reshape(shape).astype(np.float32)
    if dtype in ("<f2", "<f4"):
        return values
    q = tensor.quantization
    if q is None or q.scale is None or not len(q.scale):
        raise GraphError(f"constant {name!r} is {np.dtype(dtype)} without a scale")
    scale = np.asarray(q.scale, np.float32)
    zero = np.zeros(scale.size, np.float32) if q.zeroPoint is None else np.asarray(q.zeroPoint, np.float32)
    along = [1] * len(shape)
    if scale.size > 1:
        along[q.quantizedDimension] = -1
        scale = scale.reshape(along)
        zero = zero.reshape(along)
    return ((values - zero) * scale).astype(np.float32)


def _set(schema: ModuleType, model: Any, tensor: Any, values: np.ndarray) -> None:
    """Makes `tensor` the float32 constant `values`, in a buffer of its own."""
    buffer = schema.BufferT()
    buffer.data = np.frombuffer(values.astype("<f4").tobytes(), np.uint8)
    model.buffers.append(buffer)
    tensor.buffer = len(model.buffers) - 1
    tensor.type = schema.TensorType.FLOAT32
    tensor.quantization = None
    tensor.sparsity = None
