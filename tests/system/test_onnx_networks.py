"""Quantized ONNX networks on the RTL: every byte equal to the golden model's, every output to ONNX Runtime's."""


import numpy as np
import pytest
from lepton.compiler import compile_graph
from lepton.frontends import import_onnx, quantize_onnx
from lepton.runtime import ComparingSession

from tests.host.frontends.onnx.float_networks import DATA, float_network, images, retina_patches
from tests.host.frontends.onnx.onnx_models import integer_products_are_exact, reference

pytestmark = pytest.mark.skipif(
    not integer_products_are_exact(), reason="ONNX Runtime's integer kernels saturate on this CPU (no VNNI)")


def compare(boards, model, config, samples):
    compiled = compile_graph(import_onnx(model), config)
    name = compiled.inputs[0].name
    with ComparingSession(compiled, boards(config), boards.golden(config)) as session:
        for sample in samples:
            compared = session.run({name: sample})
            assert not compared.differences, "\n".join(map(str, compared.differences))
            for value, want in zip(model.graph.output, reference(model, {name: sample}), strict=True):
                np.testing.assert_array_equal(compared.result.outputs[value.name], want, value.name)


@pytest.mark.parametrize("config", ("tiny", "base"))
def test_a_calibrated_network(boards, config):
    compare(boards, quantize_onnx(float_network(), images(4)), config, np.split(images(2, seed=5), 2))


def test_the_retina_u_net(boards):
    path = DATA / "segmentation" / "retina_unet_48x48.onnx"
    if not path.exists():
        pytest.skip(f"{path} is not there")
    data = np.load(path.parent / "drive_test_6.npz")["x"]
    compare(boards, quantize_onnx(path, retina_patches(data[:3], 16, 7)), "base", [retina_patches(data, 1, 8)])


def test_fast_det(boards):
    path = DATA / "detection" / "FastestDet.onnx"
    if not path.exists():
        pytest.skip(f"{path} is not there")
    squares = np.kron(np.random.default_rng(9).random((3, 3, 11, 11)), np.ones((32, 32))).astype(np.float32)
    compare(boards, quantize_onnx(path, squares[:2]), "base", [squares[2:]])
