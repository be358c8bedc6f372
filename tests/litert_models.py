"""One-operator TFLite models, and what LiteRT's reference kernels make of them."""

import flatbuffers
import numpy as np
import tflite
from ai_edge_litert.interpreter import Interpreter, OpResolverType

_DTYPES = {np.dtype(t): getattr(tflite.TensorType, t.upper())
           for t in ("int8", "uint8", "int32", "int64", "float32", "bool")}


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
    scale, zero = builder.CreateNumpyVector(tensor.scale), builder.CreateNumpyVector(tensor.zero)
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


def build(operator: str, inputs: list[Tensor], output: Tensor | list[Tensor], version: int, options_name: str = "",
          **options) -> bytes:
    """A model with one operator; `options` are the fields of its options table."""
    builder = flatbuffers.Builder(1024)
    outputs = output if isinstance(output, list) else [output]
    tensors = [*inputs, *outputs]
    buffers = [_buffer(builder, None)] + [_buffer(builder, tensor.data) for tensor in tensors]
    tables = [_tensor(builder, tensor, i + 1) for i, tensor in enumerate(tensors)]
    if options_name:
        getattr(tflite, f"{options_name}Start")(builder)
        for name, value in options.items():
            getattr(tflite, f"{options_name}Add{name}")(builder, value)
        options_table = getattr(tflite, f"{options_name}End")(builder)

    ins = builder.CreateNumpyVector(np.arange(len(inputs), dtype=np.int32))
    outs = builder.CreateNumpyVector(np.arange(len(inputs), len(tensors), dtype=np.int32))
    tflite.OperatorStart(builder)
    tflite.OperatorAddOpcodeIndex(builder, 0)
    tflite.OperatorAddInputs(builder, ins)
    tflite.OperatorAddOutputs(builder, outs)
    if options_name:
        tflite.OperatorAddBuiltinOptionsType(builder, getattr(tflite.BuiltinOptions, options_name))
        tflite.OperatorAddBuiltinOptions(builder, options_table)
    operators = _offsets(builder, tflite.SubGraphStartOperatorsVector, [tflite.OperatorEnd(builder)])

    variable = builder.CreateNumpyVector(np.array([i for i, t in enumerate(inputs) if t.data is None], np.int32))
    table = _offsets(builder, tflite.SubGraphStartTensorsVector, tables)
    tflite.SubGraphStart(builder)
    tflite.SubGraphAddTensors(builder, table)
    tflite.SubGraphAddInputs(builder, variable)
    tflite.SubGraphAddOutputs(builder, outs)
    tflite.SubGraphAddOperators(builder, operators)
    graphs = _offsets(builder, tflite.ModelStartSubgraphsVector, [tflite.SubGraphEnd(builder)])

    code = getattr(tflite.BuiltinOperator, operator)
    tflite.OperatorCodeStart(builder)
    tflite.OperatorCodeAddDeprecatedBuiltinCode(builder, min(code, 127))
    tflite.OperatorCodeAddBuiltinCode(builder, code)
    tflite.OperatorCodeAddVersion(builder, version)
    codes = _offsets(builder, tflite.ModelStartOperatorCodesVector, [tflite.OperatorCodeEnd(builder)])

    all_buffers = _offsets(builder, tflite.ModelStartBuffersVector, buffers)
    tflite.ModelStart(builder)
    tflite.ModelAddVersion(builder, 3)
    tflite.ModelAddOperatorCodes(builder, codes)
    tflite.ModelAddSubgraphs(builder, graphs)
    tflite.ModelAddBuffers(builder, all_buffers)
    builder.Finish(tflite.ModelEnd(builder), b"TFL3")
    return bytes(builder.Output())


def reference(model: bytes, *values: np.ndarray) -> np.ndarray:
    """The model's first output under the reference kernels, not the default ones (which differ)."""
    return references(model, *values)[0]


def references(model: bytes, *values: np.ndarray) -> list[np.ndarray]:
    """All outputs of the model under the reference kernels."""
    interpreter = Interpreter(model_content=model, experimental_op_resolver_type=OpResolverType.BUILTIN_REF)
    interpreter.allocate_tensors()
    for detail, value in zip(interpreter.get_input_details(), values, strict=True):
        interpreter.set_tensor(detail["index"], value)
    interpreter.invoke()
    return [interpreter.get_tensor(detail["index"]) for detail in interpreter.get_output_details()]
