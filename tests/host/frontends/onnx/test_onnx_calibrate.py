"""Float networks: calibrated by us, then exact against ONNX Runtime's result for the quantized network."""


import numpy as np
import onnx
import pytest
from lepton.frontends.onnx import import_onnx, load_onnx, quantize_onnx
from lepton.graph import GraphError

from tests.host.frontends.onnx.float_networks import DATA, float_network, images, retina_patches
from tests.host.frontends.onnx.onnx_models import exact_products, reference, run


@exact_products
@pytest.mark.parametrize("method", ("minmax", "percentile", "entropy"))
def test_a_quantized_network_is_exact_and_near_the_float_one(method, capsys):
    model = float_network()
    quantized = quantize_onnx(model, images(8), method=method, progress=print)
    assert capsys.readouterr().out.splitlines() == [f"{i} 8" for i in range(1, 9)]
    graph = import_onnx(quantized)
    assert {"Conv2D", "Add", "Table", "Mean", "FullyConnected"} <= {type(node.op).__name__ for node in graph.nodes}
    signal = noise = 0.0
    for x in np.split(images(6, seed=3), 6):
        want, = reference(quantized, {"x0": x})
        got, = run(graph, {"x0": x})
        assert np.array_equal(got, want)
        exact, = reference(model, {"x0": x})
        signal = signal + np.sum(exact**2)
        noise = noise + np.sum((exact - got)**2)
    assert 10 * np.log10(signal / noise) > 20  # dB


def test_older_opsets_get_scales_for_channels():
    graph = import_onnx(quantize_onnx(float_network(11), images(2)))
    weights = [graph.tensors[node.inputs[1]] for node in graph.nodes if type(node.op).__name__ == "Conv2D"]
    assert [w.quantization.scale.size for w in weights] == [8, 8, 16]


def test_calibration_from_files_batches_and_loaders(tmp_path):
    model = float_network()
    data = images(4)
    np.save(tmp_path / "a.npy", data)
    np.savez(tmp_path / "b.npz", x0=data)
    onnx.save(model, tmp_path / "net.onnx")
    loader = ((data[i:i + 2], np.zeros(2)) for i in (0, 2))  # inputs and labels
    made = [load_onnx(tmp_path / "net.onnx", calibration) for calibration in (
        tmp_path / "a.npy", str(tmp_path / "b.npz"), loader, [{"x0": image[None]} for image in data], list(data))]
    scales = [[t.quantization.scale.tolist() for t in graph.tensors.values() if t.quantization] for graph in made]
    assert all(s == scales[0] for s in scales) and made[0].name == "net"


@pytest.mark.parametrize("calibration, text", [
    (np.zeros((2, 3, 12, 11), np.float32), r"must have the shape \(1, 3, 12, 12\), or several of it"),
    (np.zeros((2, 3, 12, 12), np.uint8), "must be float32, not uint8"),
    (np.full((1, 3, 12, 12), np.nan, np.float32), "not finite"),
    ({"y": np.zeros((1, 3, 12, 12), np.float32)}, "must have the inputs x0, not y"),
    ([], "there are no calibration data"),
])
def test_calibration_data_that_do_not_fit(calibration, text):
    with pytest.raises(GraphError, match=text):
        quantize_onnx(float_network(), calibration)


def test_wrong_requests(tmp_path):
    with pytest.raises(GraphError, match="method must be one of minmax, percentile, entropy, not 'best'"):
        quantize_onnx(float_network(), images(1), method="best")
    with pytest.raises(GraphError, match="percentile must be above 50"):
        quantize_onnx(float_network(), images(1), method="percentile", percentile=3)
    with pytest.raises(GraphError, match="quantized already; compile it without calibration"):
        quantize_onnx(quantize_onnx(float_network(), images(1)), images(1))
    with pytest.raises(GraphError, match="works on float32 values; quantize the network first"):
        load_onnx(float_network())
    (tmp_path / "bad.npy").write_bytes(b"no array")
    with pytest.raises(GraphError, match="file of calibration data"):
        quantize_onnx(float_network(), tmp_path / "bad.npy")


# Networks from ../shared/data

@exact_products
def test_retina_u_net():
    path = DATA / "segmentation" / "retina_unet_48x48.onnx"
    if not path.exists():
        pytest.skip(f"{path} is not there")
    data = np.load(path.parent / "drive_test_6.npz")["x"]
    quantized = quantize_onnx(path, retina_patches(data[:3], 32, 4))
    graph = import_onnx(quantized)
    found = [type(node.op).__name__ for node in graph.nodes]
    assert found.count("Conv2D") == 11 and found.count("Transpose") == 1 and found.count("Quantize") == 1
    for x in np.split(retina_patches(data[4:], 2, 5), 2):
        want, = reference(quantized, {"x": x})
        got, = run(graph, {"x": x})
        assert np.array_equal(got, want)
        assert np.abs(got - reference(onnx.load(path), {"x": x})[0]).max() < 0.1  # probabilities


@exact_products
def test_fastest_det():
    path = DATA / "detection" / "FastestDet.onnx"
    if not path.exists():
        pytest.skip(f"{path} is not there")
    rng = np.random.default_rng(6)
    data = np.kron(rng.random((4, 3, 11, 11)), np.ones((32, 32))).astype(np.float32)
    quantized = quantize_onnx(path, data[:3])
    graph = import_onnx(quantized)
    found = [type(node.op).__name__ for node in graph.nodes]
    assert found.count("Conv2D") + found.count("DepthwiseConv2D") == 70
    assert found.count("Transpose") == 2 and "Reshape" not in found  # the input's and the output's
    want, = reference(quantized, {"input.1": data[3:]})
    got, = run(graph, {"input.1": data[3:]})
    assert np.array_equal(got, want)
