"""float32, float16 and dynamic-range networks with calibration data: exact against LiteRT on the file that is made, and
near the float network."""

import sys

import numpy as np
import pytest

pytest.importorskip("ai_edge_litert")
pytest.importorskip("ai_edge_quantizer")

from lepton.compiler import compile_graph
from lepton.frontends import import_tflite, load, quantize_tflite
from lepton.frontends.tflite import quantize
from lepton.graph import GraphError
from lepton.graph.interpret import evaluate

from tests.litert_models import Operator, Tensor, build, build_network, edited, references, schema

SIZE = 16


def reals(*shape) -> Tensor:
    return Tensor(shape=shape, dtype=np.float32)


def float_network(seed: int = 0) -> bytes:
    """A small residual network; LEAKY_RELU is one that the quantizer leaves in float."""
    random = np.random.default_rng(seed)

    def constant(*shape) -> Tensor:
        fan_in = np.prod(shape[1:]) if len(shape) > 1 else 1
        return Tensor(data=(random.normal(0, 1, shape) / np.sqrt(fan_in)).astype(np.float32))

    x, wide, small, leaky, total = (reals(1, n, n, c) for n, c in ((SIZE, 3), (SIZE, 8), (8, 8), (8, 8), (8, 8)))
    mean = reals(1, 8)
    scores = reals(1, 10)
    same = {"Padding": 0, "DilationHFactor": 1, "DilationWFactor": 1}
    operators = [
        Operator("CONV_2D", 1, [x, constant(8, 3, 3, 3), constant(8)], [wide], "Conv2DOptions",
                 {**same, "StrideH": 1, "StrideW": 1, "FusedActivationFunction": 3}),
        Operator("DEPTHWISE_CONV_2D", 1, [wide, constant(1, 3, 3, 8), constant(8)], [small], "DepthwiseConv2DOptions",
                 {**same, "StrideH": 2, "StrideW": 2, "DepthMultiplier": 1}),
        Operator("LEAKY_RELU", 1, [small], [leaky], "LeakyReluOptions", {"Alpha": 0.1}),
        Operator("ADD", 1, [small, leaky], [total], "AddOptions", {}),
        Operator("MEAN", 1, [total, Tensor(data=np.array([1, 2], np.int32))], [mean], "ReducerOptions", {}),
        Operator("FULLY_CONNECTED", 1, [mean, constant(10, 8), constant(10)], [scores], "FullyConnectedOptions", {}),
    ]
    return build_network(operators, [x], [scores])


def constants(tree):
    """(operator, position of the operand, tensor, buffer) of each float32 constant."""
    graph = tree.subgraphs[0]
    for operator in graph.operators:
        for position, index in enumerate(operator.inputs):
            tensor = graph.tensors[index]
            buffer = tree.buffers[tensor.buffer]
            if tensor.type == schema.TensorType.FLOAT32 and buffer.data is not None and len(buffer.data):
                yield operator, position, tensor, buffer


def values(tensor, buffer) -> np.ndarray:
    return np.frombuffer(np.asarray(buffer.data, np.uint8).tobytes(), np.float32).reshape(tensor.shape)


def float16(tree) -> None:
    """Weights in float16, each behind a DEQUANTIZE, as converters write them."""
    graph = tree.subgraphs[0]
    code = schema.OperatorCodeT()
    code.builtinCode = code.deprecatedBuiltinCode = schema.BuiltinOperator.DEQUANTIZE
    tree.operatorCodes.append(code)
    added = []
    for operator, position, tensor, buffer in list(constants(tree)):
        buffer.data = np.frombuffer(values(tensor, buffer).astype(np.float16).tobytes(), np.uint8)
        tensor.type = schema.TensorType.FLOAT16
        full = schema.TensorT()
        dequantize = schema.OperatorT()
        full.shape = tensor.shape
        full.type = schema.TensorType.FLOAT32
        full.buffer = 0
        full.name = b"full"
        graph.tensors.append(full)
        dequantize.opcodeIndex = len(tree.operatorCodes) - 1
        dequantize.inputs = [int(operator.inputs[position])]
        dequantize.outputs = [len(graph.tensors) - 1]
        operator.inputs = [len(graph.tensors) - 1 if i == position else int(n) for i, n in enumerate(operator.inputs)]
        added.append(dequantize)
    graph.operators = added + list(graph.operators)


def dynamic_range(tree) -> None:
    """Weights in int8 with a scale for each channel, biases and activations in float32."""
    for operator, position, tensor, buffer in list(constants(tree)):
        if position != 1:
            continue
        data = values(tensor, buffer)
        code = tree.operatorCodes[operator.opcodeIndex].builtinCode
        axis = 3 if code == schema.BuiltinOperator.DEPTHWISE_CONV_2D else 0
        scale = np.abs(data).max(axis=tuple(a for a in range(data.ndim) if a != axis), keepdims=True) / 127
        buffer.data = np.frombuffer(np.rint(data / scale).astype(np.int8).tobytes(), np.uint8)
        tensor.type = schema.TensorType.INT8
        tensor.quantization = schema.QuantizationParametersT()
        tensor.quantization.scale = scale.ravel().astype(np.float32)
        tensor.quantization.zeroPoint = np.zeros(scale.size, np.int64)
        tensor.quantization.quantizedDimension = axis


def images(count: int, seed: int = 5) -> np.ndarray:
    return np.random.default_rng(seed).normal(0, 1, (count, SIZE, SIZE, 3)).astype(np.float32)


@pytest.mark.parametrize("change", [None, float16, dynamic_range])
def test_exact_on_the_quantized_file_and_near_the_float_network(change):
    model = float_network() if change is None else edited(float_network(), change)
    with pytest.raises(GraphError, match=r"\(CONV_2D\) computes with float32 values. Quantize the network when it is"):
        import_tflite(model)
    steps = []
    quantized = quantize_tflite(model, images(60), progress=lambda done, total: steps.append((done, total)))
    assert steps == [(i, 60) for i in range(1, 61)]
    graph = import_tflite(quantized)
    assert graph.outputs == import_tflite(quantize_tflite(model, images(1))).outputs == ["tensor_13"]
    assert {graph.tensors[name].dtype for name in (*graph.inputs, *graph.outputs)} == {np.dtype(np.float32)}
    signal = 0.0
    noise = 0.0
    for image in images(20, seed=6):
        got = evaluate(graph, {graph.inputs[0]: image[None]})[graph.outputs[0]]
        np.testing.assert_array_equal(got, references(quantized, image[None])[0])
        wanted = references(float_network(), image[None])[0]
        signal = signal + float((wanted**2).sum())
        noise = noise + float(((got - wanted) ** 2).sum())
    decibels = 10 * np.log10(signal / noise)
    assert decibels > 35, f"signal to noise {decibels:.1f} dB"


def test_all_layers_run_on_the_chip_and_a_float_function_between_them_is_a_table():
    placement = compile_graph(import_tflite(quantize_tflite(float_network(), images(4))), "tiny").placement
    assert [p.op for p in placement if p.where == "chip"] == ["Conv2D", "DepthwiseConv2D", "Table", "Add", "Mean",
                                                             "FullyConnected"]
    assert [p.op for p in placement if p.where == "host"] == ["Quantize", "Dequantize"]


def test_files_and_forms_of_calibration_data(tmp_path):
    network = tmp_path / "net.tflite"
    data = images(4)
    network.write_bytes(float_network())
    np.save(tmp_path / "x.npy", data)
    np.savez(tmp_path / "x.npz", tensor_0=data)
    expected = quantize_tflite(network, data)
    for calibration in (tmp_path / "x.npy", str(tmp_path / "x.npz"), list(data), ((x[None],) for x in data),
                        [{"tensor_0": data}]):
        assert quantize_tflite(network, calibration) == expected
    assert load(network, calibration=data).nodes[0].name == import_tflite(expected).nodes[0].name


@pytest.mark.parametrize(("calibration", "text"), [
    ([], "there are no calibration data: at least one input is needed"),
    (images(2)[:, :8], r"for input 'tensor_0' must have the shape \(1, 16, 16, 3\), or several of it along the first"),
    ({"image": images(2)}, "calibration data must have the inputs tensor_0, not image"),
    (images(2).astype(np.int8), "calibration data for input 'tensor_0' must be float32, not int8"),
    (images(2) * np.nan, "calibration data for input 'tensor_0' hold values that are not finite"),
])
def test_calibration_data_that_do_not_fit(calibration, text):
    with pytest.raises(GraphError, match=text):
        quantize_tflite(float_network(), calibration)


def test_an_int8_network_takes_no_calibration_data():
    x = Tensor(0.1, 0, shape=(1, 8))
    with pytest.raises(GraphError, match="quantized already; compile it without calibration data"):
        quantize_tflite(build("ADD", [x, x], Tensor(0.2, 0, shape=(1, 8)), 2, "AddOptions"), np.zeros((1, 8), np.int8))


def test_the_missing_package_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "ai_edge_quantizer", None)
    remedy = r"'ai_edge_quantizer', which is not installed: pip install 'lepton-chip\[tflite-float\]'"
    with pytest.raises(ModuleNotFoundError, match=remedy):
        quantize.quantize_tflite(float_network(), images(1))
