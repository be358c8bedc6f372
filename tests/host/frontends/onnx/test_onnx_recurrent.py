"""LSTM, GRU and RNN of ONNX: in float in a QDQ network, with all their options, against ONNX Runtime's own kernels;
quantized with calibration data, on the chip."""

import numpy as np
import onnx
import onnxruntime
import pytest
from lepton.compiler import compile_graph
from lepton.frontends.onnx import import_onnx, quantize_onnx
from lepton.graph import GraphError
from lepton.graph.interpret import evaluate
from onnx import TensorProto, helper, numpy_helper

from tests.seeds import seeds

STEPS, BATCH, INPUTS, SIZE = 4, 2, 3, 5
GATES = {"LSTM": 4, "GRU": 3, "RNN": 1}
CASES = [
    ("LSTM", {}), ("LSTM", {"direction": "bidirectional"}), ("LSTM", {"input_forget": 1, "direction": "reverse"}),
    ("LSTM", {"clip": 0.5, "activations": ["HardSigmoid", "ScaledTanh", "Affine"],
              "activation_alpha": [0.3, 0.9, 0.8], "activation_beta": [0.4, 1.1, 0.1]}),
    ("GRU", {}), ("GRU", {"linear_before_reset": 1, "direction": "bidirectional"}),
    ("GRU", {"activations": ["HardSigmoid", "Softsign"]}), ("RNN", {"activations": ["Relu"]}),
    ("RNN", {"direction": "bidirectional", "activations": ["Elu", "LeakyRelu"], "activation_alpha": [0.7, 0.2]}),
    ("RNN", {"direction": "reverse"})]


def network(op: str, options: dict[str, object], rng: np.random.Generator, given: bool,
            lengths: list[int] | None = None) -> onnx.ModelProto:
    """`given`: with biases, initial states and (LSTM) peepholes; lengths: of the images."""
    sides = 2 if options.get("direction") == "bidirectional" else 1
    gates = GATES[op]
    shapes = {"W": (sides, gates * SIZE, INPUTS), "R": (sides, gates * SIZE, SIZE)}
    if given:
        shapes |= {"B": (sides, 2 * gates * SIZE), "h": (sides, BATCH, SIZE)}
        shapes |= {"c": (sides, BATCH, SIZE), "P": (sides, 3 * SIZE)} if op == "LSTM" else {}
    constants = [numpy_helper.from_array(rng.normal(0, 0.7, shape).astype(np.float32), name)
                 for name, shape in shapes.items()]
    if lengths:
        constants.append(numpy_helper.from_array(np.array(lengths, np.int32), "lengths"))
    inputs = [name if name in {c.name for c in constants} else "" for name in ("W", "R", "B", "lengths", "h", "c", "P")]
    outputs = ["y", "y_h", "y_c"][:3 if op == "LSTM" else 2]
    constants += [numpy_helper.from_array(np.array(0.02, np.float32), "scale"),
                  numpy_helper.from_array(np.array(3, np.int8), "zero")]
    edges = [helper.make_node("QuantizeLinear", ["x", "scale", "zero"], ["codes"]),
             helper.make_node("DequantizeLinear", ["codes", "scale", "zero"], ["values"])]
    node = helper.make_node(op, ["values", *inputs][:8 if op == "LSTM" else 6], outputs, "cell", hidden_size=SIZE,
                            **options)
    graph = helper.make_graph([*edges, node], "cell", [
        helper.make_tensor_value_info("x", TensorProto.FLOAT, (STEPS, BATCH, INPUTS))],
        [onnx.ValueInfoProto(name=name) for name in outputs], constants)
    for value in graph.output:
        value.type.tensor_type.elem_type = TensorProto.FLOAT
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 14)], ir_version=8)


@pytest.mark.parametrize("seed", seeds())
@pytest.mark.parametrize("op, options", CASES)
def test_results_are_those_of_onnx_runtime(op: str, options: dict[str, object], seed: int) -> None:
    rng = np.random.default_rng(seed)
    for given, lengths in ((False, None), (True, None), (True, [3, 3])):
        model = network(op, options, rng, given, lengths)
        x = rng.normal(0, 1, (STEPS, BATCH, INPUTS)).astype(np.float32)
        wanted = onnxruntime.InferenceSession(model.SerializeToString()).run(None, {"x": x})
        graph = import_onnx(model)
        values = evaluate(graph, {graph.inputs[0]: x})
        for name, theirs in zip(graph.outputs, wanted, strict=True):
            np.testing.assert_allclose(values[name], theirs, rtol=0, atol=4e-6)


@pytest.mark.parametrize("op", ["LSTM", "GRU"])
def test_a_float_network_is_quantized_with_calibration_data(op: str) -> None:
    rng = np.random.default_rng(5)
    model = network(op, {"linear_before_reset": 1} if op == "GRU" else {}, rng, False)
    del model.graph.node[:2]  # the quantization of the input
    model.graph.node[0].input[0] = "x"
    x = rng.normal(0, 1, (6, STEPS, BATCH, INPUTS)).astype(np.float32)
    quantized = quantize_onnx(model, [{"x": one} for one in x])
    graph = import_onnx(quantized)
    made = evaluate(graph, {"x": x[0]})[graph.outputs[0]]
    theirs, real = (onnxruntime.InferenceSession(m.SerializeToString()).run(None, {"x": x[0]})[0]
                    for m in (quantized, model))
    step = np.diff(np.unique(made)).min()
    assert np.abs(made - theirs).max() <= 1.01 * step
    assert (made * real).sum() >= 0.99 * np.sqrt((made ** 2).sum() * (real ** 2).sum())
    placed = compile_graph(graph, "tiny").placement
    products = [row for row in placed if row.macs and row.op != "MatMul"]
    assert products and all(row.where == "chip" for row in products)


def test_what_cannot_be_expanded_is_named() -> None:
    rng = np.random.default_rng(1)
    with pytest.raises(GraphError, match=r"GRU 'cell': sequence_lens \[2, 3\] must be one length in 1..4 for all"):
        import_onnx(network("GRU", {}, rng, True, [2, 3]))
    with pytest.raises(GraphError, match="GRU 'cell': the activation 'swish' is not supported"):
        import_onnx(network("GRU", {"activations": ["Swish", "Tanh"]}, rng, False))
    model = network("RNN", {}, rng, False)
    del model.graph.initializer[1]
    model.graph.input.append(helper.make_tensor_value_info("R", TensorProto.FLOAT, (1, SIZE, SIZE)))
    with pytest.raises(GraphError, match="RNN 'cell': its R must be constant"):
        import_onnx(model)
