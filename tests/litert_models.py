"""TFLite models of one operator or more, and what LiteRT's reference kernels make of them."""

from collections.abc import Callable
from dataclasses import dataclass, field

import flatbuffers
import numpy as np
import tflite
from ai_edge_litert import schema_py_generated as schema
from ai_edge_litert.interpreter import Interpreter, OpResolverType

_DTYPES = {np.dtype(t): getattr(tflite.TensorType, t.upper())
           for t in ("int8", "uint8", "int16", "int32", "int64", "float32", "bool")}


class Tensor:
    """A tensor of the model: `data` for constants, `shape` for inputs and outputs.

    One scale, one per channel along `axis`, or none for values that are not quantized.
    """

    def __init__(self, scale=(), zero=0, *, data=None, shape=None, axis=0, dtype=np.int8):
        self.data = None if data is None else np.array(data, order="C")
        self.shape = tuple(shape) if data is None else self.data.shape
        self.dtype = np.dtype(dtype) if data is None else self.data.dtype
        self.scale = np.atleast_1d(np.asarray(scale, np.float32))
        self.zero = np.full(len(self.scale), zero, np.int64)
        self.axis = axis


def _quantization(builder, tensor: Tensor) -> int:
    if not tensor.scale.size:
        tflite.QuantizationParametersStart(builder)
        return tflite.QuantizationParametersEnd(builder)
    scale = builder.CreateNumpyVector(tensor.scale)
    zero = builder.CreateNumpyVector(tensor.zero)
    tflite.QuantizationParametersStart(builder)
    tflite.QuantizationParametersAddScale(builder, scale)
    tflite.QuantizationParametersAddZeroPoint(builder, zero)
    tflite.QuantizationParametersAddQuantizedDimension(builder, tensor.axis)
    return tflite.QuantizationParametersEnd(builder)


def _tensor(builder, tensor: Tensor, buffer: int) -> int:
    shape = builder.CreateNumpyVector(np.asarray(tensor.shape, np.int32))
    quantization = _quantization(builder, tensor)
    tflite.TensorStart(builder)
    tflite.TensorAddShape(builder, shape)
    tflite.TensorAddType(builder, _DTYPES[tensor.dtype])
    tflite.TensorAddBuffer(builder, buffer)
    tflite.TensorAddQuantization(builder, quantization)
    return tflite.TensorEnd(builder)


def _buffer(builder, data) -> int:
    vector = None if data is None else builder.CreateNumpyVector(data.reshape(-1).view(np.uint8))
    tflite.BufferStart(builder)
    if vector is not None:
        tflite.BufferAddData(builder, vector)
    return tflite.BufferEnd(builder)


def _offsets(builder, start, offsets) -> int:
    start(builder, len(offsets))
    for offset in reversed(offsets):
        builder.PrependUOffsetTRelative(offset)
    return builder.EndVector()


@dataclass(frozen=True)
class Operator:
    """One operator of a model; `options` are the fields of its options table."""

    name: str
    version: int
    inputs: list[Tensor]
    outputs: list[Tensor]
    options_name: str = ""
    options: dict = field(default_factory=dict)


def build(operator: str, inputs: list[Tensor], output: Tensor | list[Tensor], version: int, options_name: str = "",
          **options) -> bytes:
    """A model with one operator; its inputs are the operands that are not constant."""
    outputs = output if isinstance(output, list) else [output]
    only = Operator(operator, version, inputs, outputs, options_name, options)
    return build_network([only], [t for t in inputs if t.data is None], outputs)


def build_network(operators: list[Operator], inputs: list[Tensor], outputs: list[Tensor]) -> bytes:
    """A model of several operators, in the order of execution."""
    builder = flatbuffers.Builder(1024)
    found = {id(t): t for t in inputs} | {id(t): t for o in operators for t in (*o.inputs, *o.outputs)}
    found |= {id(t): t for t in outputs}
    place = {key: i for i, key in enumerate(found)}
    tensors = list(found.values())
    buffers = [_buffer(builder, None)] + [_buffer(builder, tensor.data) for tensor in tensors]
    tables = [_tensor(builder, tensor, i + 1) for i, tensor in enumerate(tensors)]

    def indices(some: list[Tensor]) -> int:
        return builder.CreateNumpyVector(np.array([place[id(t)] for t in some], np.int32))

    made = [_operator(builder, i, operator, indices) for i, operator in enumerate(operators)]
    made = _offsets(builder, tflite.SubGraphStartOperatorsVector, made)
    ins = indices(inputs)
    outs = indices(outputs)
    table = _offsets(builder, tflite.SubGraphStartTensorsVector, tables)
    tflite.SubGraphStart(builder)
    tflite.SubGraphAddTensors(builder, table)
    tflite.SubGraphAddInputs(builder, ins)
    tflite.SubGraphAddOutputs(builder, outs)
    tflite.SubGraphAddOperators(builder, made)
    graphs = _offsets(builder, tflite.ModelStartSubgraphsVector, [tflite.SubGraphEnd(builder)])
    codes = _offsets(builder, tflite.ModelStartOperatorCodesVector, [_code(builder, o) for o in operators])
    all_buffers = _offsets(builder, tflite.ModelStartBuffersVector, buffers)
    tflite.ModelStart(builder)
    tflite.ModelAddVersion(builder, 3)
    tflite.ModelAddOperatorCodes(builder, codes)
    tflite.ModelAddSubgraphs(builder, graphs)
    tflite.ModelAddBuffers(builder, all_buffers)
    builder.Finish(tflite.ModelEnd(builder), b"TFL3")
    return bytes(builder.Output())


def edited(model: bytes, change: Callable) -> bytes:
    """`model` after `change` has been applied to it as an object (`schema.ModelT`)."""
    tree = schema.ModelT.InitFromObj(schema.Model.GetRootAs(model, 0))
    change(tree)
    builder = flatbuffers.Builder(1024)
    builder.Finish(tree.Pack(builder), b"TFL3")
    return bytes(builder.Output())


def _operator(builder, code: int, operator: Operator, indices) -> int:
    name = operator.options_name
    if name:
        getattr(tflite, f"{name}Start")(builder)
        for key, value in operator.options.items():
            getattr(tflite, f"{name}Add{key}")(builder, value)
        options = getattr(tflite, f"{name}End")(builder)
    ins = indices(operator.inputs)
    outs = indices(operator.outputs)
    tflite.OperatorStart(builder)
    tflite.OperatorAddOpcodeIndex(builder, code)
    tflite.OperatorAddInputs(builder, ins)
    tflite.OperatorAddOutputs(builder, outs)
    if name:
        tflite.OperatorAddBuiltinOptionsType(builder, getattr(tflite.BuiltinOptions, name))
        tflite.OperatorAddBuiltinOptions(builder, options)
    return tflite.OperatorEnd(builder)


def _code(builder, operator: Operator) -> int:
    code = getattr(tflite.BuiltinOperator, operator.name)
    tflite.OperatorCodeStart(builder)
    tflite.OperatorCodeAddDeprecatedBuiltinCode(builder, min(code, 127))
    tflite.OperatorCodeAddBuiltinCode(builder, code)
    tflite.OperatorCodeAddVersion(builder, operator.version)
    return tflite.OperatorCodeEnd(builder)


def reference(model: bytes, *values: np.ndarray) -> np.ndarray:
    """The model's first output under the reference kernels, not the default ones (which differ)."""
    return references(model, *values)[0]


def references(model: bytes, *values: np.ndarray, optimized: bool = False) -> list[np.ndarray]:
    """All outputs of the model under the reference kernels, or the `optimized` ones where those lack or spoil one."""
    resolver = OpResolverType.BUILTIN_WITHOUT_DEFAULT_DELEGATES if optimized else OpResolverType.BUILTIN_REF
    interpreter = Interpreter(model_content=model, experimental_op_resolver_type=resolver)
    interpreter.allocate_tensors()
    for detail, value in zip(interpreter.get_input_details(), values, strict=True):
        interpreter.set_tensor(detail["index"], value)
    interpreter.invoke()
    return [interpreter.get_tensor(detail["index"]) for detail in interpreter.get_output_details()]
