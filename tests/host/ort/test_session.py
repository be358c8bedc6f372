"""`lepton.ort.InferenceSession` does what ONNX Runtime's does: the same script and results."""

from pathlib import Path

import numpy as np
import pytest

onnx = pytest.importorskip("onnx")
onnxruntime = pytest.importorskip("onnxruntime")

from lepton import ort  # noqa: E402
from lepton.frontends.onnx.calibrate import quantize_onnx  # noqa: E402
from lepton.graph import GraphError  # noqa: E402

DATA = Path(__file__).parents[4] / "shared" / "data"


def network(batch="n"):
    """A float network: an image convolved, pooled and classified; `batch` names the open first dimension."""
    random = np.random.default_rng(2)
    helper = onnx.helper
    constants = {"w": random.normal(0, 0.4, (6, 2, 3, 3)), "v": random.normal(0, 0.3, (5, 6)),
                 "b": random.normal(0, 0.1, 5)}
    nodes = [helper.make_node("Conv", ["x", "w"], ["c"], pads=[1, 1, 1, 1]), helper.make_node("Relu", ["c"], ["r"]),
             helper.make_node("GlobalAveragePool", ["r"], ["p"]), helper.make_node("Flatten", ["p"], ["f"]),
             helper.make_node("Gemm", ["f", "v", "b"], ["y"], transB=1)]
    graph = helper.make_graph(nodes, "net", [helper.make_tensor_value_info("x", 1, (batch, 2, 8, 8))],
                              [helper.make_tensor_value_info("y", 1, (batch, 5))],
                              [onnx.numpy_helper.from_array(v.astype(np.float32), k) for k, v in constants.items()])
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)


def images(count):
    return np.random.default_rng(3).normal(0, 1, (count, 2, 8, 8)).astype(np.float32)


@pytest.fixture(scope="module")
def quantized():
    """Its batch is open again, which the quantizer fixes."""
    model = quantize_onnx(network().SerializeToString(), images(20))
    del model.graph.value_info[:]
    for value in (*model.graph.input, *model.graph.output):
        value.type.tensor_type.shape.dim[0].dim_param = "n"
    return model.SerializeToString()


def both(source):
    return (ort.InferenceSession(source, ort.SessionOptions(), providers=["CPUExecutionProvider"], device="golden",
                                 config="tiny"),
            onnxruntime.InferenceSession(source, onnxruntime.SessionOptions(), providers=["CPUExecutionProvider"]))


def described(session):
    return [(arg.name, arg.type, arg.shape) for arg in (*session.get_inputs(), *session.get_outputs())]


def test_one_script_for_both(quantized):
    ours, theirs = both(quantized)
    assert described(ours) == described(theirs) == [("x", "tensor(float)", ["n", 2, 8, 8]),
                                                    ("y", "tensor(float)", ["n", 5])]
    for count in (1, 4):
        x = images(count)
        for names in (None, ["y"]):
            (mine,) = ours.run(names, {"x": x})
            (other,) = theirs.run(names, {"x": x})
            assert mine.dtype == other.dtype and mine.shape == other.shape == (count, 5)
            np.testing.assert_array_equal(mine, other)


@pytest.mark.parametrize("file", ("detection/FastestDet.onnx", "segmentation/retina_unet_48x48.onnx"))
def test_inputs_and_outputs_of_real_files(file):
    path = DATA / file
    if not path.exists():
        pytest.skip(f"needs {path.name} of ../shared/data")
    theirs = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    session = ort.InferenceSession.__new__(ort.InferenceSession)
    session._read(path)
    assert described(session) == described(theirs)


def test_a_real_file():
    path = DATA / "segmentation" / "retina_unet_48x48.onnx"
    if not path.exists():
        pytest.skip(f"needs {path.name} of ../shared/data")
    x = np.random.default_rng(0).random((2, 1, 48, 48)).astype(np.float32)
    quantized = quantize_onnx(path, x).SerializeToString()
    ours = ort.InferenceSession(quantized, device="golden")
    theirs = onnxruntime.InferenceSession(quantized)
    (mine,) = ours.run(None, {"x": x[:1]})
    (other,) = theirs.run(None, {"x": x[:1]})
    assert mine.shape == other.shape == (1, 2, 48, 48)
    assert np.abs(mine - other).max() <= 4e-6


def test_the_same_mistakes_have_the_same_words(quantized):
    ours, theirs = both(quantized)
    for names, feed in ((None, {}), (None, {"z": images(1)}), (None, {"x": images(1).astype(float)}),
                        (["q"], {"x": images(1)}), (None, {"x": images(1)[0]}), (None, {"x": images(1)[..., :7]})):
        texts = []
        for session in (ours, theirs):
            with pytest.raises(Exception) as error:  # ONNX Runtime's have no common base
                session.run(names, feed)
            texts.append(" ".join(str(error.value).split()))
        assert texts[0] in texts[1], texts
    with pytest.raises(ort.InvalidArgument, match="Invalid input name: extra"):
        ours.run(None, {"x": images(1), "extra": images(1)})
    with pytest.raises(ort.InvalidArgument, match=r"and one at least, not \[0\]"):
        ours.run(None, {"x": images(0)})


def test_float_networks_need_calibration_data():
    model = network(1).SerializeToString()
    with pytest.raises(GraphError, match="calibration"):
        ort.InferenceSession(model, device="golden")
    session = ort.InferenceSession(model, device="golden", config="tiny", calibration=images(20))
    (made,) = session.run(None, {"x": images(1)})
    (real,) = onnxruntime.InferenceSession(model).run(None, {"x": images(1)})
    assert np.abs(made - real).max() < 0.1 * np.abs(real).max()
    assert session.report is not None and session.report.macs > 0 and session.get_providers() == [
        "LeptonExecutionProvider"] == ort.get_available_providers()


def test_open_dimensions_are_fixed_by_the_first_run(quantized):
    """Two sizes of images, of which the batch is open as well: one compilation for each shape."""
    model = onnx.load_model_from_string(quantized)
    for axis, name in ((2, "h"), (3, "w")):
        model.graph.input[0].type.tensor_type.shape.dim[axis].dim_param = name
    ours, theirs = both(model.SerializeToString())
    assert described(ours) == described(theirs)
    for size in (8, 6):
        x = images(1)[..., :size]
        np.testing.assert_array_equal(ours.run(None, {"x": x})[0], theirs.run(None, {"x": x})[0])
