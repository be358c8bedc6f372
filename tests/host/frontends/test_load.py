"""Files go to the front end that they are for; `lepton.compile` takes what a person has."""

import lepton
import lepton.models
import numpy as np
import pytest
from lepton.frontends import load
from lepton.graph import Graph, GraphError
from lepton.program import CompiledModel

MODEL = lepton.models.load("mnist")


def test_by_suffix_and_by_contents(tmp_path):
    assert isinstance(load(MODEL.path), Graph)
    other = tmp_path / "network.bin"
    other.write_bytes(MODEL.path.read_bytes())
    assert [type(n.op) for n in load(other).nodes] == [type(n.op) for n in load(MODEL.path).nodes]


def test_other_files_are_refused(tmp_path):
    path = tmp_path / "network.h5"
    path.write_bytes(b"something else")
    with pytest.raises(GraphError, match=r"network.h5: a network must be a .tflite, .onnx, .pt2 file, not '.h5'"):
        load(path)
    with pytest.raises(FileNotFoundError):
        load(tmp_path / "none.onnx")
    with pytest.raises(GraphError, match="quantized already; compile it without calibration data"):
        load(MODEL.path, calibration=[np.zeros(1)])


def test_compile_takes_paths_and_graphs():
    model = lepton.compile(str(MODEL.path), config="tiny")
    assert isinstance(model, CompiledModel) and model.config.name == "tiny"
    assert lepton.compile(load(MODEL.path), config="tiny").source_hash == model.source_hash
    with pytest.raises(GraphError, match=r"must be a path, a torch.nn.Module or a lepton.graph.Graph, not int"):
        lepton.compile(3)


def test_an_onnx_file(tmp_path):
    onnx = pytest.importorskip("onnx")
    path = tmp_path / "broken.onnx"
    path.write_bytes(b"\x00not onnx")
    with pytest.raises(GraphError):
        load(path)
    assert onnx
