"""Tables of 256 entries against LiteRT's reference kernels, over random scales and zero points."""

import numpy as np
import pytest
from lepton.compiler import compile_graph
from lepton.frontends import import_tflite
from lepton.graph import GraphError, Table
from lepton.graph.interpret import evaluate

pytest.importorskip("ai_edge_litert")
from tests.litert_models import Operator, Tensor, build, build_network, reference

EVERY = np.arange(-128, 128)


def one(operator, x, y, version, options="", **fields) -> bytes:
    return build(operator, [Tensor(*x, shape=(1, 256))], Tensor(*y, shape=(1, 256)), version, options, **fields)


@pytest.mark.parametrize(("operator", "version", "output", "options", "fields"), [
    ("LOGISTIC", 2, (1 / 256, -128), "", {}),
    ("TANH", 2, (1 / 128, 0), "", {}),
    ("HARD_SWISH", 1, None, "HardSwishOptions", {}),
    ("LEAKY_RELU", 2, None, "LeakyReluOptions", {"Alpha": 0.1}),
    ("LEAKY_RELU", 2, None, "LeakyReluOptions", {"Alpha": -0.3}),
    ("LEAKY_RELU", 2, None, "LeakyReluOptions", {"Alpha": 1.7}),
    ("RELU", 2, None, "", {}),
    ("RELU6", 2, None, "", {}),
    ("RELU_N1_TO_1", 1, None, "", {}),
    ("RELU_0_TO_1", 1, None, "", {}),
    ("QUANTIZE", 2, None, "QuantizeOptions", {}),
    ("GELU", 2, None, "GeluOptions", {"Approximate": True}),
    ("GELU", 2, None, "GeluOptions", {"Approximate": False}),
    ("ABS", 1, None, "AbsOptions", {}),
    ("EXP", 2, (0.05, -100), "ExpOptions", {}),
    ("LOG", 2, (0.05, 10), "", {}),
])
def test_values(operator, version, output, options, fields):
    random = np.random.default_rng(len(operator) + 31 * len(fields))
    for _ in range(12):
        scale = float(np.float32(10 ** random.uniform(-3, 0)))
        x = 0.02 if operator == "EXP" else scale, int(random.integers(-128, 128))
        y = output or (float(np.float32(scale * 10 ** random.uniform(-1, 0.7))), int(random.integers(-128, 128)))
        model = one(operator, x, y, version, options, **fields)
        (node,) = import_tflite(model).nodes
        assert isinstance(node.op, Table)
        values = np.frombuffer(node.op.values, np.int8)
        np.testing.assert_array_equal(values, reference(model, EVERY.astype(np.int8)[None])[0], f"{x} -> {y}")


def test_uint8_to_int8_with_other_reals_is_a_table():
    x = Tensor(0.02, 120, shape=(1, 256), dtype=np.uint8)
    model = build("QUANTIZE", [x], Tensor(0.02, 3, shape=(1, 256)), 2, "QuantizeOptions")
    graph = import_tflite(model)
    assert [type(n.op).__name__ for n in graph.nodes] == ["Recenter", "Table"]
    assert graph.tensors[graph.inputs[0]].dtype == np.uint8
    np.testing.assert_array_equal(np.frombuffer(graph.nodes[1].op.values, np.int8),
                                  reference(model, (EVERY + 128).astype(np.uint8)[None])[0])


def test_uint8_edges_of_an_int8_network_cost_nothing_on_the_chip():
    """QUANTIZE between uint8 and int8 of the same reals is no function: the same layers run as without it."""
    data = np.random.default_rng(1).integers(-127, 128, (8, 3, 3, 3)).astype(np.int8)
    outside = [Tensor(scale, 128, shape=(1, 12, 12, c), dtype=np.uint8) for scale, c in ((0.02, 3), (0.1, 8))]
    inside = [Tensor(t.scale, 0, shape=t.shape) for t in outside]
    bias = Tensor(0.01 * inside[0].scale[0], data=np.arange(8, dtype=np.int32))
    conv = Operator("CONV_2D", 3, [inside[0], Tensor(0.01, data=data), bias], [inside[1]], "Conv2DOptions",
                    {"Padding": 0, "StrideH": 1, "StrideW": 1, "DilationHFactor": 1, "DilationWFactor": 1})
    first, last = (Operator("QUANTIZE", 2, [x], [y]) for x, y in ((outside[0], inside[0]), (inside[1], outside[1])))
    model = build_network([first, conv, last], [outside[0]], [outside[1]])
    with_edges = compile_graph(import_tflite(model), "base")
    without = compile_graph(import_tflite(build_network([conv], [inside[0]], [inside[1]])), "base")
    plans, expected = ([(layer.op, layer.plan) for layer in model.layers] for model in (with_edges, without))
    assert plans == expected
    x = np.random.default_rng(2).integers(0, 256, (1, 12, 12, 3)).astype(np.uint8)
    graph = import_tflite(model)
    np.testing.assert_array_equal(evaluate(graph, {graph.inputs[0]: x})[graph.outputs[0]], reference(model, x))


@pytest.mark.parametrize(("operator", "y", "text"), [
    ("LOGISTIC", (0.1, 0), r"\(LOGISTIC\): the output must have scale 1/256 and zero point -128, not 0.1"),
    ("TANH", (1 / 128, 3), r"\(TANH\): the output must have scale 1/128 and zero point 0"),
    ("NEG", (0.2, 0), r"\(NEG\): input and output must have one scale and zero points of 0"),
])
def test_refused(operator, y, text):
    with pytest.raises(GraphError, match=text):
        import_tflite(one(operator, (0.1, 0), y, 2))


@pytest.mark.parametrize("odd", (1, 3, 5))
@pytest.mark.parametrize("operator,scale,zero", (("LOGISTIC", 1 / 256, -128), ("TANH", 1 / 128, 0)))
def test_round_scales_make_ties(operator, scale, zero, odd):
    """Behind TANH or LOGISTIC the scale is a power of 2; each rounding to float32 decides a half then."""
    every = np.arange(-128, 128, dtype=np.int8)[None]
    for power in range(5, 13):
        model = build(operator, [Tensor(odd / 2**power, -128, shape=(1, 256))], Tensor(scale, zero, shape=(1, 256)), 2)
        graph = import_tflite(model)
        got = evaluate(graph, {graph.inputs[0]: every})[graph.outputs[0]]
        np.testing.assert_array_equal(got, reference(model, every))


@pytest.mark.parametrize("odd", (1, 3, 5))
@pytest.mark.parametrize("approximate", (False, True))
def test_gelu_of_round_scales(approximate, odd):
    every = np.arange(-128, 128, dtype=np.int8)[None]
    for powers in ((a, b) for a in range(2, 12) for b in range(2, 12)):
        x, y = (Tensor(n / 2.0**power, -20, shape=(1, 256)) for n, power in zip((odd, 1), powers, strict=True))
        model = build("GELU", [x], y, 2, "GeluOptions", Approximate=approximate)
        graph = import_tflite(model)
        got = evaluate(graph, {graph.inputs[0]: every})[graph.outputs[0]]
        np.testing.assert_array_equal(got, reference(model, every))
