"""From ONNX through the compiler to a program: the golden model's results equal ONNX Runtime's, byte for byte."""

import numpy as np
import pytest
from lepton.frontends.onnx import quantize_onnx
from lepton.program import ChipStep

from tests.host.frontends.onnx.float_networks import DATA, float_network, images, retina_patches
from tests.host.frontends.onnx.golden_runs import compare
from tests.host.frontends.onnx.onnx_models import Net, array, exact_products

pytestmark = exact_products


@pytest.mark.parametrize("config", ("tiny", "small", "base"))
def test_a_calibrated_network(config):
    quantized = quantize_onnx(float_network(), images(4))
    compiled = compare(quantized, config, np.split(images(3, seed=5), 3))
    assert any(isinstance(step, ChipStep) for step in compiled.steps)


@pytest.mark.parametrize("dtype", (np.int8, np.uint8))
def test_everything_at_once(dtype):
    """Most kinds of operators in one network; what the chip does not take runs on the host."""
    rng = np.random.default_rng(6)
    net = Net()

    def q(x, scale=0.1, zero=7):
        return net.qdq(x, scale, zero, dtype)

    def conv(x, inputs, outputs, groups=1, **attributes):
        w = net.weights(rng.integers(-127, 128, (outputs, inputs // groups, 3, 3)).astype(np.int8),
                        rng.uniform(0.001, 0.004, outputs))
        return q(net("Conv", x, w, pads=[1, 1, 1, 1], group=groups, **attributes))

    x = q(net.input((1, 5, 10, 12)), 0.05)
    a = conv(x, 5, 20)
    b = conv(a, 20, 20, groups=20)
    c = q(net("Add", a, q(net("HardSwish", b))))
    pooled = q(net("MaxPool", c, kernel_shape=[2, 2], strides=[2, 2]))
    d = q(net("Mul", c, q(net("Sigmoid", conv(c, 20, 20)), 1 / 256, np.iinfo(dtype).min)))
    up = q(net("Resize", pooled, np.zeros(0, np.float32), array([1, 1, 2, 2], np.float32), mode="nearest",
               coordinate_transformation_mode="asymmetric", nearest_mode="floor"))
    e = q(net("Concat", up, d, axis=1))
    f = conv(e, 40, 16, strides=[2, 2], groups=2)
    left, right = net("Split", f, outputs=2, axis=1)
    g = q(net("Sub", q(left), q(right)))
    h = q(net("Transpose", g, perm=[0, 2, 3, 1]))
    y = q(net("MatMul", h, net.weights(rng.integers(-127, 128, (8, 6)).astype(np.int8), 0.01)))
    z = net.qdq(net("Softmax", y, axis=-1), 1 / 256, 0, np.uint8)
    samples = [rng.uniform(-6, 6, (1, 5, 10, 12)).astype(np.float32) for _ in range(2)]
    compare(net.model(q(net("GlobalAveragePool", f)), z), "base", samples)


def test_retina_u_net_and_fast_det():
    unet = DATA / "segmentation" / "retina_unet_48x48.onnx"
    det = DATA / "detection" / "FastestDet.onnx"
    if not unet.exists() or not det.exists():
        pytest.skip(f"{unet} or {det} is not there")
    data = np.load(unet.parent / "drive_test_6.npz")["x"]
    compare(quantize_onnx(unet, retina_patches(data[:3], 16, 7)), "base", np.split(retina_patches(data, 2, 8), 2))
    squares = np.kron(np.random.default_rng(9).random((3, 3, 11, 11)), np.ones((32, 32))).astype(np.float32)
    compare(quantize_onnx(det, squares[:2]), "base", [squares[2:]])
