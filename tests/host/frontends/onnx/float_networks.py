"""Float networks and their inputs, for calibration."""

from functools import cache
from pathlib import Path

import numpy as np
import onnx

from tests.host.frontends.onnx.onnx_models import Net

DATA = Path(__file__).parents[5] / "shared" / "data"


@cache
def float_network(opset=17) -> onnx.ModelProto:
    """Convolutions with batch normalization and activations, a residual block, a pool and a classifier."""
    rng = np.random.default_rng(1)
    net = Net(opset)
    x = net.input((1, 3, 12, 12))

    def conv(x, inputs, outputs, kernel=3, **attributes):
        w = (rng.standard_normal((outputs, inputs, kernel, kernel)) / np.sqrt(inputs * kernel**2)).astype(np.float32)
        y = net("Conv", x, w, pads=[kernel // 2] * 4, **attributes)
        statistics = [rng.uniform(0.5, 1.5, outputs), rng.uniform(-0.3, 0.3, outputs), rng.uniform(-0.2, 0.2, outputs),
                      rng.uniform(0.5, 1.5, outputs)]
        return net("BatchNormalization", y, *[v.astype(np.float32) for v in statistics])

    a = net("Relu", conv(x, 3, 8))
    b = conv(a, 8, 8)
    c = net("Relu", net("Add", a, b))
    d = conv(c, 8, 16, strides=[2, 2])
    e = net("Mul", d, net("Sigmoid", d))
    f = net("GlobalAveragePool", e)
    y = net("Gemm", net("Flatten", f), rng.standard_normal((10, 16)).astype(np.float32),
            rng.standard_normal(10).astype(np.float32), transB=1)
    return net.model(y)


def images(count, seed=2):
    return np.random.default_rng(seed).uniform(-1, 1, (count, 3, 12, 12)).astype(np.float32)


def retina_patches(images, count, seed):
    rng = np.random.default_rng(seed)
    height, width = images.shape[1:]
    corners = zip(rng.integers(0, len(images), count), rng.integers(0, height - 48, count),
                  rng.integers(0, width - 48, count), strict=True)
    return np.stack([images[i, y:y + 48, x:x + 48] for i, y, x in corners])[:, None]
