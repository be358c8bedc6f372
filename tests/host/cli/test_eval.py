"""`lepton eval` on the shipped network, on a float one, and what it refuses."""

import json

import lepton.models
import numpy as np
import pytest
from lepton.cli import main
from lepton.cli.status import EXIT_USER_ERROR
from lepton.evaluation import Reference, layer_noise
from lepton.graph import Graph, MaxPool2D, Quantization, Quantize
from lepton.graph.builder import GraphBuilder

MODEL = lepton.models.load("mnist")
COUNT = 6


@pytest.fixture(autouse=True)
def data(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    np.save("x.npy", MODEL.inputs[:COUNT])
    np.save("y.npy", np.where(np.arange(COUNT) == 2, (MODEL.labels[:COUNT] + 1) % 10, MODEL.labels[:COUNT]))


def evaluated(capsys, *arguments):
    assert main(["eval", *map(str, arguments), "--input", "x.npy", "--labels", "y.npy", "--json"]) == 0
    return json.loads(capsys.readouterr().out)


def test_an_int8_file(capsys):
    """One of the labels is wrong."""
    found = evaluated(capsys, MODEL.path, "--config", "tiny")
    assert found["accuracy"] == dict.fromkeys(("LiteRT", "int8, on the CPU", "chip, device golden"), 5 / 6)
    assert found["inputs"] == COUNT and np.sum(found["confusion"]) == COUNT
    assert found["confusion"][(MODEL.labels[2] + 1) % 10][MODEL.labels[2]] == 1
    assert found["notes"] == ["6 of 6 outputs of the chip equal those of int8 on the CPU in every bit"]


def test_a_compiled_file_has_the_device_alone(capsys):
    assert main(["compile", str(MODEL.path), "-o", "net.lepton", "--config", "tiny"]) == 0
    capsys.readouterr()
    assert evaluated(capsys, "net.lepton")["accuracy"] == {"chip, device golden": 5 / 6}
    assert main(["eval", "net.lepton", "--input", "x.npy", "--labels", "y.npy", "--config", "tiny"]) == EXIT_USER_ERROR
    assert "is compiled already; --calibration, --shape, --state and --config are for" in capsys.readouterr().err


def test_a_float_network_has_its_noise(capsys, tmp_path):
    onnx = pytest.importorskip("onnx")
    rng = np.random.default_rng(3)
    helper = onnx.helper
    weights = rng.normal(0, 1, (5, 8)).astype(np.float32)
    nodes = [helper.make_node("Gemm", ["x", "w"], ["hidden"], "first", transB=1),
             helper.make_node("Relu", ["hidden"], ["positive"], "relu"),
             helper.make_node("Gemm", ["positive", "v"], ["y"], "second", transB=1)]
    graph = helper.make_graph(nodes, "net", [helper.make_tensor_value_info("x", 1, (1, 8))],
                              [helper.make_tensor_value_info("y", 1, (1, 3))],
                              [onnx.numpy_helper.from_array(weights, "w"),
                               onnx.numpy_helper.from_array(weights[:3, :5].copy(), "v")])
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)]), "net.onnx")
    x = rng.normal(0, 1, (40, 8)).astype(np.float32)
    real = np.maximum(x @ weights.T, 0) @ weights[:3, :5].T
    np.save("x.npy", x)
    np.save("y.npy", real.argmax(1))
    found = evaluated(capsys, "net.onnx", "--calibration", "x.npy", "--config", "tiny")
    assert found["accuracy"]["float, ONNX Runtime"] == 1
    assert found["accuracy"]["chip, device golden"] == found["accuracy"]["int8, on the CPU"] >= 0.95
    assert {entry["value"] for entry in found["noise_db"]} == {"first", "second"}
    assert all(25 < entry["db"] < 80 for entry in found["noise_db"])
    assert main(["eval", "net.onnx", "--calibration", "x.npy", "--config", "tiny", "--input", "x.npy", "--labels",
                 "y.npy"]) == 0
    out = capsys.readouterr().out
    for text in ("computed by", "float, ONNX Runtime      100.00  40 of 40", "confusion of the chip, device golden",
                 "signal-to-noise of int8 against float", "calibration, 40 of 40 inputs"):
        assert text in out, out


@pytest.mark.parametrize(("name", "array", "text"), [
    ("y.npy", np.zeros(COUNT, np.float32), "labels must be 6 whole numbers from 0, one for each input, not float32"),
    ("y.npy", np.zeros(COUNT - 1, int), "labels must be 6 whole numbers from 0"),
    ("y.npy", -np.ones(COUNT, int), "labels must be 6 whole numbers from 0"),
    ("x.npy", MODEL.inputs[:COUNT].astype(np.float32), "must have type int8, not float32; quantize it"),
])
def test_what_does_not_fit_is_refused(capsys, name, array, text):
    np.save(name, array)
    arguments = [str(MODEL.path), "--config", "tiny", "--input", "x.npy", "--labels", "y.npy"]
    assert main(["eval", *arguments]) == EXIT_USER_ERROR
    assert text in capsys.readouterr().err


def test_files_that_are_no_arrays(capsys, tmp_path):
    (tmp_path / "y.npy").write_bytes(b"1,2,3")
    assert main(["eval", str(MODEL.path), "--input", "x.npy", "--labels", "y.npy"]) == EXIT_USER_ERROR
    assert "y.npy: --labels must be a .npy file with one array" in capsys.readouterr().err
    np.savez("y.npz", a=np.zeros(2), b=np.zeros(2))
    assert main(["eval", str(MODEL.path), "--input", "x.npy", "--labels", "y.npz"]) == EXIT_USER_ERROR
    assert "must hold one array, not 2 (a, b)" in capsys.readouterr().err


class Swapped(Reference):
    """A framework whose channels come first, and as many as there are rows and columns."""

    framework = "swapped"

    def run(self, inputs):
        raise NotImplementedError

    def values(self, inputs):
        return {"relu": np.moveaxis(np.maximum(inputs["x"], 0), -1, 1), "x": inputs["x"]}


def test_the_layout_of_a_value_is_found_where_its_shape_does_not_say():
    b = GraphBuilder(Graph("net"))
    q = Quantization(np.float32([0.05]), np.int32([0]))
    codes = b.emit(Quantize(), [b.input("x", (1, 4, 4, 4), np.float32)], "x/int8", q)
    positive = b.emit(MaxPool2D(kernel=(1, 1), stride=(1, 1), clamp=(0, 127)), [codes], "relu/nhwc")
    b.output(positive, "y")
    x = np.random.default_rng(8).normal(0, 1, (1, 4, 4, 4)).astype(np.float32)
    found = layer_noise(b.graph, Swapped(), [{"x": x}])
    assert [noise.operator for noise in found] == ["Quantize", "MaxPool2D"]
    assert all(30 < noise.decibels < 50 for noise in found)
