import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from lepton.frontends import export_tflite, import_tflite
from lepton.frontends.tflite import importer
from lepton.frontends.tflite.reader import read_tflite
from lepton.frontends.tflite.records import RawQuantization
from lepton.graph import (
    Add,
    AveragePool2D,
    Conv2D,
    DepthwiseConv2D,
    FullyConnected,
    GraphError,
    MaxPool2D,
    Pad,
    Reshape,
    Softmax,
)

from tests.host.frontends.frontend_graphs import Builder, difference, every_operator

DATA = Path(__file__).parents[5] / "shared/data"


def shared(name: str) -> Path:
    if not (DATA / name).is_file():
        pytest.skip(f"../shared/data/{name} is absent")
    return DATA / name


@pytest.fixture(scope="module")
def model() -> bytes:
    return export_tflite(every_operator())


@pytest.fixture
def change(model, monkeypatch):
    """Imports the model with its records changed: change(tensors={name: fields}, operators={name: fields}, ...)."""
    def run(tensors=(), operators=(), **fields):
        raw = read_tflite(model)
        ts = [replace(t, **dict(tensors).get(t.name, {})) for t in raw.tensors]
        ops = list(raw.operators)
        for name, new in dict(operators).items():
            index = next(i for i, op in enumerate(ops) if op.name == name)
            new = dict(new)
            options = new.pop("options", None)
            ops[index] = replace(ops[index], **new)
            if options:
                ops[index] = replace(ops[index], options=ops[index].options | options)
        raw = replace(raw, tensors=ts, operators=ops, **fields)
        monkeypatch.setattr(importer, "read_tflite", lambda data, signature: raw)
        return import_tflite(b"")
    return run


def index(model: bytes, name: str) -> int:
    return next(i for i, t in enumerate(read_tflite(model).tensors) if t.name == name)


# What is read


def test_resnet8():
    graph = import_tflite(shared("ic/resnet8_int8.tflite"))
    assert graph.name == "resnet8_int8"
    assert [type(n.op) for n in graph.nodes] == [
        Conv2D, Conv2D, Conv2D, Add, Conv2D, Conv2D, Conv2D, Add, Conv2D, Conv2D, Conv2D, Add, AveragePool2D, Reshape,
        FullyConnected, Softmax]
    assert graph.nodes[4].op == Conv2D(stride=(2, 2), padding=((0, 1), (0, 1)))
    assert graph.nodes[4].name == "conv_2d_4"
    weights = graph.tensors[graph.nodes[0].inputs[1]]
    assert weights.shape == (16, 3, 3, 3)
    assert weights.quantization.scale.shape == (16,) and weights.quantization.axis == 0
    assert not weights.data.flags.writeable
    assert graph.tensors[graph.inputs[0]].quantization.zero_point.tolist() == [-128]


def test_keyword_spotting():
    graph = import_tflite(shared("kws/kws_ref_model.tflite").read_bytes())
    assert sum(isinstance(n.op, DepthwiseConv2D) for n in graph.nodes) == 4
    assert graph.nodes[0].op == Conv2D(stride=(2, 2), padding=((4, 5), (1, 1)))
    assert graph.tensors[graph.nodes[1].inputs[1]].quantization.axis == 3
    assert graph.tensors[graph.outputs[0]].shape == (1, 12)


def test_mobilenet_v2_of_a_converter():
    graph = import_tflite(shared("imagenet/mobilenet_v2_1.0_224_ptq.tflite"))
    assert sum(isinstance(n.op, Conv2D | DepthwiseConv2D) for n in graph.nodes) == 53
    assert not any(isinstance(n.op, Pad) for n in graph.nodes)


def test_fused_activations_become_clamp_ranges(model):
    clamps = {n.name: n.op.clamp for n in import_tflite(model).nodes if hasattr(n.op, "clamp")}
    assert clamps["same"] == (-5, 127) and clamps["add"] == (-5, 115) and clamps["odd"] == (-128, 127)


def test_pad_becomes_a_convolutions_padding(model):
    node = next(n for n in import_tflite(model).nodes if n.name == "odd")
    assert node.op.padding == ((2, 0), (1, 1)) and node.inputs[0] == "same"


def test_name_may_be_given_and_duplicate_tensor_names_are_told_apart(change, model):
    assert import_tflite(model, "mine").name == "mine"
    graph = change(tensors={"max": {"name": "add"}})
    assert len(graph.tensors) == len(import_tflite(model).tensors)
    assert any(name.startswith("add#") for name in graph.tensors)


def test_bias_with_the_weights_quantized_dimension_is_taken_with_a_warning(change, model):
    bias = next(t for t in read_tflite(model).tensors if t.name == "same.bias")
    with pytest.warns(UserWarning, match=r"'same.bias' of shape \(8,\) has quantized_dimension 3; taken as 0"):
        graph = change(tensors={"same.bias": {"quantization": replace(bias.quantization, dimension=3)}})
    assert difference(graph, every_operator()) == ""


def test_bias_scale_that_contradicts_the_weights_is_warned_about(change, model):
    bias = next(t for t in read_tflite(model).tensors if t.name == "odd.bias")
    wrong = replace(bias.quantization, scale=bias.quantization.scale * 2)
    with pytest.warns(UserWarning, match="the scale of bias 'odd.bias' is not input scale times weight scale"):
        change(tensors={"odd.bias": {"quantization": wrong}})


def test_open_batch_dimension_is_one(change, model):
    assert difference(change(tensors={"image": {"signature": (-1, 9, 8, 3)}}), every_operator()) == ""


# What is refused


@pytest.mark.parametrize("data", [b"", b"TFL3", b"\x00" * 100, b"PK\x03\x04 not a model at all"])
def test_other_files_are_refused(data):
    with pytest.raises(GraphError, match="not a TFLite file: bytes 4 to 8 must be b'TFL3'"):
        import_tflite(data)


def test_truncated_file_is_refused(model):
    for length in (8, 20, 100, len(model) // 2, len(model) - 1000):
        with pytest.raises(GraphError):
            import_tflite(model[:length])


def test_missing_file(tmp_path):
    with pytest.raises(FileNotFoundError):
        import_tflite(tmp_path / "none.tflite")


def test_missing_package_says_what_to_install(model, monkeypatch):
    from lepton.frontends.tflite import schema as tflite_schema

    tflite_schema.load_schema.cache_clear()
    monkeypatch.setitem(sys.modules, "tflite", None)
    remedy = r"package 'tflite', which is not installed: pip install 'lepton-chip\[tflite\]'"
    with pytest.raises(ModuleNotFoundError, match=remedy):
        import_tflite(model)


@pytest.mark.parametrize(("fields", "text"), [
    ({"tensors": {"image": {"dtype": "INT16"}}}, "tensor 'image' has the data type INT16, supported here is INT8"),
    ({"tensors": {"image": {"dtype": "FLOAT32"}}},
     r"operator 0 \(CONV_2D\) computes with float32 values. Quantize the network when it is compiled"),
    ({"tensors": {"same.weight": {"dtype": "INT4"}}}, "tensor 'same.weight' has the data type INT4"),
    ({"tensors": {"same.bias": {"dtype": "INT64"}}}, "'same.bias' has the data type INT64, supported here is INT32"),
    ({"tensors": {"image": {"shape": (2, 9, 8, 3)}}},
     r"output 'same' is declared as \(1, 9, 8, 8\), the operator makes \(2, 9, 8, 8\)"),
    ({"tensors": {"image": {"signature": (1, -1, 8, 3)}}}, r"'image' has the dynamic shape \(1, -1, 8, 3\)"),
    ({"tensors": {"image": {"variable": True}}}, "'image' is a variable"),
    ({"tensors": {"same.weight": {"sparse": True}}}, "'same.weight' is sparse"),
    ({"tensors": {"same.weight": {"data": None}}}, "'same.weight' must be a constant"),
    ({"tensors": {"same.weight": {"data": np.zeros(5, np.uint8)}}},
     "'same.weight' of shape .* must have 216 bytes of data, the file has 5"),
    ({"tensors": {"same": {"shape": (1, 9, 8, 7)}}},
     r"output 'same' is declared as \(1, 9, 8, 7\), the operator makes \(1, 9, 8, 8\)"),
    ({"tensors": {"mean": {"shape": (1, 7)}}}, r"output 'mean' is declared as \(1, 7\), the operator makes \(1, 6\)"),
    ({"tensors": {"same": {"quantization": None}}}, "output 'same' must be quantized per tensor"),
    ({"tensors": {"flat": {"quantization": None}}},
     r"operator 8 \(RESHAPE\): output 'flat' must have the quantization of the operator's input"),
    ({"operators": {"CONV_2D": {"name": "CUSTOM 'Magic'"}}},
     "^operator CUSTOM 'Magic' is not supported; docs/operators.md lists those that are$"),
    ({"operators": {"CONV_2D": {"options": {"stride_x": 0}}}}, r"stride must lie in 1..65535, not \(1, 0\)"),
    ({"operators": {"CONV_2D": {"options": {"activation": "TANH"}}}}, "fused activation must be one of NONE, RELU"),
    ({"operators": {"DEPTHWISE_CONV_2D": {"options": {"multiplier": 3}}}}, "depth multiplier 3 does not match weights"),
    ({"operators": {"FULLY_CONNECTED": {"options": {"weights_format": 1}}}}, "shuffled weights are not supported"),
    ({"operators": {"SOFTMAX": {"options": {"beta": float("nan")}}}}, "beta must be positive and finite, not nan"),
    ({"operators": {"ADD": {"inputs": (0, 0)}}}, r"output 'add' is declared as .* the operator makes \(1, 9, 8, 3\)"),
    ({"operators": {"ADD": {"inputs": (-1, 0)}}}, r"\(ADD\): an input is missing"),
    ({"operators": {"ADD": {"outputs": ()}}}, "has 2 inputs and 0 outputs; supported are 2 inputs and 1 output"),
    ({"operators": {"AVERAGE_POOL_2D": {"options": {"kernel_y": 9}}}}, "is larger than the input"),
    ({"operators": {"MEAN": {"options": {"keep_dims": True}}}},
     r"\(MEAN\): output 'mean' is declared as \(1, 6\), the operator makes \(1, 1, 1, 6\)"),
    ({"inputs": ()}, "'image' must be a constant, or be computed by an operator"),
    ({"operators": {"CONV_2D": {"inputs": (0,)}}},
     "has 1 inputs and 1 outputs; supported are 2 or 3 inputs and 1 output"),
])
def test_refused_with_the_reason(change, fields, text):
    with pytest.raises(GraphError, match=text):
        change(**fields)


@pytest.mark.parametrize(("tensor", "scale", "zero_point", "dimension", "text"), [
    ("same", [np.nan], [0], 0, "'same' has scales that are not finite and at least 0"),
    ("same", [-0.1], [0], 0, "'same' has scales that are not finite and at least 0"),
    ("same", [0.0], [0], 0, "output 'same' has the scale 0, in which no value can be expressed"),
    ("same", [0.1], [200], 0, r"'same' \(INT8\) has zero points outside \(-128, 127\)"),
    ("same", [0.1], [], 0, "'same' has 1 scales and 0 zero points"),
    ("same", [0.1] * 8, [0] * 8, 3, "output 'same' must be quantized per tensor"),
    ("same.weight", [0.1] * 3, [0] * 3, 3, r"along axis 0 \(output channels\), not axis 3"),
    ("same.weight", [0.1] * 4, [0] * 4, 0, "has 4 scales along dimension 0"),
    ("same.bias", [0.1], [1], 0, r"\(INT32\) has zero points outside \(0, 0\)"),
    ("max", [0.7], [3], 0, "'dilated' and 'max' must have the same scale and zero point, not 0.5, 3 and 0.7, 3"),
    ("add", [1e-8], [0], 0, "output scale .* less than .* inputs'"),
    ("probabilities", [0.1], [0], 0, "the output must have scale 1/256 and zero point -128"),
])
@pytest.mark.filterwarnings("ignore:.*the scale of bias:UserWarning")  # of the changed scale, not the point here
def test_quantization_refused(change, tensor, scale, zero_point, dimension, text):
    raw = RawQuantization(np.array(scale, np.float32), np.array(zero_point, np.int64), dimension, False)
    with pytest.raises(GraphError, match=text):
        change(tensors={tensor: {"quantization": raw}})


@pytest.mark.filterwarnings("ignore:.*the scale of bias:UserWarning")  # of the changed scale, not the point here
def test_operators_out_of_order_are_refused(change, model):
    first = read_tflite(model).operators[0]
    text = r"operator 0 \(CONV_2D\): reads 'probabilities' before any operator has computed it"
    with pytest.raises(GraphError, match=text):
        change(operators={"CONV_2D": {"inputs": (index(model, "probabilities"), *first.inputs[1:])}},
               tensors={"probabilities": {"shape": (1, 9, 8, 3)}})


def test_unsupported_builtin_in_the_bytes_is_named(model):
    schema = pytest.importorskip("tflite")
    data = bytearray(model)
    code = schema.Model.GetRootAs(data, 0).OperatorCodes(0)
    for slot in (4, 10):  # the deprecated and the present field
        data[code._tab.Pos + code._tab.Offset(slot)] = schema.BuiltinOperator.LSTM
    with pytest.raises(GraphError, match=r"^operator LSTM is not supported; docs/operators.md lists those that are$"):
        import_tflite(bytes(data))


def test_two_inputs_are_read():
    b = Builder()
    b.activation("second", (1, 9, 8, 3))
    b.graph.inputs.append("second")
    b.node("sum", Add(), ["image", "second"], (1, 9, 8, 3))
    b.node("max", MaxPool2D(), ["sum"], (1, 4, 4, 3))
    assert import_tflite(export_tflite(b.done())).inputs == ["image", "second"]
