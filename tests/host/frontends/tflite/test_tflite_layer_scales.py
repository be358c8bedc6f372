"""Layers with weights, matrix products and pools over scales that are far apart or have few decimals, as in
`test_tflite_scales`."""

import numpy as np
import pytest

pytest.importorskip("ai_edge_litert")

from tests.host.frontends.tflite.random_scales import CASES, Draw, check, fused
from tests.litert_models import Tensor, build

WINDOW = {"Padding": 0, "StrideH": 1, "StrideW": 1}
DILATION = {"DilationHFactor": 1, "DilationWFactor": 1}


def layer(draw: Draw, kind: str) -> tuple[bytes, list[np.ndarray]]:
    """A layer with weights whose scales have nothing to do with each other."""
    legacy = draw.dtype == np.uint8
    outputs = 6
    x = draw.tensor((1, 5, 4, 3) if kind != "FULLY_CONNECTED" else (7, 30))
    shape, axis = {"CONV_2D": ((outputs, 3, 2, 3), 0), "DEPTHWISE_CONV_2D": ((1, 3, 2, outputs), 3),
                   "TRANSPOSE_CONV": ((outputs, 3, 2, 3), 0), "FULLY_CONNECTED": ((outputs, 30), 0)}[kind]
    per_channel = not legacy and bool(draw.random.integers(2))
    scale = [draw.scale(0.01) for _ in range(outputs)] if per_channel else [draw.scale(0.01)]
    data = draw.random.integers(draw.info.min + (not legacy), draw.info.max + 1, shape).astype(draw.dtype)
    weights = Tensor(scale, draw.zero() if legacy else 0, data=data, axis=axis if per_channel else 0)
    bias = Tensor(np.float32(scale) * x.scale[0], data=draw.random.integers(-2**20, 2**20, outputs, dtype=np.int32))
    made = {"FULLY_CONNECTED": (7, outputs)}.get(kind, (1, 5, 4, outputs))
    y = draw.tensor(made, float(x.scale[0]) * scale[0] * 1000)
    if kind == "FULLY_CONNECTED":  # products beyond int32 are undefined in LiteRT and saturate in Lepton
        y.scale = np.maximum(y.scale, np.float32(x.scale[0] * max(scale) / 1000))
    values = [draw.values(x.shape)]
    if kind == "FULLY_CONNECTED":
        return build(kind, [x, weights, bias], y, 1 if legacy else 5, "FullyConnectedOptions", **fused(draw)), values
    if kind == "TRANSPOSE_CONV":
        return build(kind, [Tensor(data=np.array(made, np.int32)), weights, x, bias], y, 3, "TransposeConvOptions",
                     **WINDOW, **fused(draw)), values
    more = {"DepthMultiplier": 2} if kind == "DEPTHWISE_CONV_2D" else {}
    options = "Conv2DOptions" if kind == "CONV_2D" else "DepthwiseConv2DOptions"
    return build(kind, [x, weights, bias], y, 1 if legacy else 3, options, **WINDOW, **DILATION, **more,
                 **fused(draw)), values


@pytest.mark.parametrize("dtype", [np.int8, np.uint8])
@pytest.mark.parametrize("kind", ["CONV_2D", "DEPTHWISE_CONV_2D", "TRANSPOSE_CONV", "FULLY_CONNECTED"])
def test_layers(kind, dtype):
    draw = Draw(len(kind), dtype)
    check([layer(draw, kind) for _ in range(CASES)])


def test_matrix_products():
    draw = Draw(5)
    models = []
    for _ in range(CASES):
        a = draw.tensor((2, 5, 9))
        b = draw.tensor((2, 9, 7))
        y = draw.tensor((2, 5, 7), float(a.scale[0] * b.scale[0] * 100))
        models.append((build("BATCH_MATMUL", [a, b], y, 2, "BatchMatMulOptions"), [draw.values(a.shape),
                                                                                draw.values(b.shape)]))
    check(models)


@pytest.mark.parametrize("dtype", [np.int8, np.uint8])
@pytest.mark.parametrize("operator", ["MAX_POOL_2D", "AVERAGE_POOL_2D"])
def test_pools(operator, dtype):
    draw = Draw(6, dtype)
    models = []
    for _ in range(CASES // 2):
        x = draw.tensor((1, 6, 5, 3))
        y = Tensor(x.scale, int(x.zero[0]), shape=(1, 3, 3, 3), dtype=dtype)
        models.append((build(operator, [x], y, 1 if dtype == np.uint8 else 2, "Pool2DOptions", Padding=0, StrideH=2,
                             StrideW=2, FilterHeight=3, FilterWidth=2, **fused(draw)), [draw.values(x.shape)]))
    check(models)
