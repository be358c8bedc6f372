"""Tables of 256 entries against LiteRT's reference kernels, over random scales and zero points."""

import numpy as np
import pytest
from lepton.frontends import import_tflite
from lepton.graph import GraphError, Table

pytest.importorskip("ai_edge_litert")
from tests.litert_models import Tensor, build, reference

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


def test_legacy_uint8_to_int8():
    x = Tensor(0.02, 120, shape=(1, 256), dtype=np.uint8)
    for zero in (-8, 3):  # the same reals, and others
        model = build("QUANTIZE", [x], Tensor(0.02, zero, shape=(1, 256)), 2, "QuantizeOptions")
        graph = import_tflite(model)
        assert [type(n.op).__name__ for n in graph.nodes] == ["Recenter", "Table"]
        assert graph.tensors[graph.inputs[0]].dtype == np.uint8
        np.testing.assert_array_equal(np.frombuffer(graph.nodes[1].op.values, np.int8),
                                      reference(model, (EVERY + 128).astype(np.uint8)[None])[0])


@pytest.mark.parametrize(("operator", "y", "text"), [
    ("LOGISTIC", (0.1, 0), r"\(LOGISTIC\): the output must have scale 1/256 and zero point -128, not 0.1"),
    ("TANH", (1 / 128, 3), r"\(TANH\): the output must have scale 1/128 and zero point 0"),
    ("NEG", (0.1, 0), "only float32 is supported"),
])
def test_refused(operator, y, text):
    with pytest.raises(GraphError, match=text):
        import_tflite(one(operator, (0.1, 0), y, 2))
