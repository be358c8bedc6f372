"""Pools of any geometry, and QLinearSoftmax, give ONNX Runtime's bytes."""

import numpy as np
import pytest
from lepton.frontends.onnx import import_onnx
from lepton.graph import GraphError

from tests.host.frontends.onnx.onnx_models import Net, array, difference, feeds_for, operators, reference, run

REFUSED = ("does not fit the input", "or windows would be empty", "nothing but padding")


def pool(kind, op, shape, opset=17, dtype=np.int8, **attributes):
    """On floats, on 8-bit values with a float result, or between 8-bit values of two scales; zero points in the middle
    of the range make ties."""
    net = Net(opset)
    x = net.input(shape)
    if kind == "float":
        return net.model(net(op, x, **attributes), net.qdq(net.input((1, 4)), 0.5, 0))
    y = net(op, net.qdq(x, 0.05, 77, dtype), **attributes)
    return net.model(y if kind == "half" else net.qdq(y, 0.05 if op == "MaxPool" else 0.04, 77, dtype))


GEOMETRIES = {
    "ceil, padding counts": ((1, 3, 3, 5), {"kernel_shape": [2, 3], "strides": [2, 2], "pads": [0, 1, 1, 1],
                                            "ceil_mode": 1, "count_include_pad": 1}),
    "ceil, nothing to count": ((1, 3, 5, 4), {"kernel_shape": [2, 3], "strides": [2, 3], "ceil_mode": 1,
                                              "count_include_pad": 1}),
    # Paddings below 0, which ONNX Runtime's MlasPool of opset 17 does not take
    "same, strides above the kernel": ((2, 3, 6, 5), {"kernel_shape": [1, 2], "strides": [3, 4],
                                                      "auto_pad": "SAME_UPPER"}),
    "same, lower": ((1, 3, 6, 7), {"kernel_shape": [2, 1], "strides": [3, 3], "auto_pad": "SAME_LOWER"}),
    "whole image": ((1, 4, 4, 3), {"kernel_shape": [4, 3]}),
    "whole line": ((2, 3, 5), {"kernel_shape": [5], "strides": [2]}),
    "one pixel": ((1, 3, 1, 1), {"kernel_shape": [1, 1], "strides": [2, 2], "count_include_pad": 1}),
    "a kernel above the image": ((1, 3, 2, 7), {"kernel_shape": [3, 3], "strides": [2, 3], "count_include_pad": 1}),
}


@pytest.mark.parametrize("opset", (17, 19))
@pytest.mark.parametrize("kind", ("float", "half", "whole"))
@pytest.mark.parametrize("name", GEOMETRIES)
def test_averages(name, kind, opset):
    shape, attributes = GEOMETRIES[name]
    if opset == 17 and kind != "whole" and "auto_pad" in attributes:
        pytest.skip("ONNX Runtime has no kernel for it")
    for dtype in (np.int8, np.uint8):
        model = pool(kind, "AveragePool", shape, opset, dtype, **attributes)
        assert difference(model, np.random.default_rng(1), runs=4, low=-3, high=3) == 0


@pytest.mark.parametrize("kind", ("float", "half", "whole"))
def test_automatic_padding_does_not_know_of_dilations(kind):
    for automatic in ("SAME_UPPER", "SAME_LOWER"):
        model = pool(kind, "MaxPool", (1, 3, 6, 7), kernel_shape=[3, 2], dilations=[2, 3], strides=[2, 1],
                     auto_pad=automatic)
        assert difference(model, np.random.default_rng(2)) == 0


def test_averages_take_nothing_behind_a_padding_below_0():
    model = pool("float", "AveragePool", (1, 3, 4, 3), 21, kernel_shape=[3, 2], strides=[3, 3], dilations=[1, 2],
                 auto_pad="SAME_UPPER")
    assert difference(model, np.random.default_rng(6)) == 0


def test_one_window_over_the_whole_image_is_a_global_average():
    """Whose rounding is not that of smaller windows."""
    model = pool("whole", "AveragePool", (1, 8, 7, 7), kernel_shape=[7, 7])
    assert "Mean" in operators(model)
    assert difference(model, np.random.default_rng(3), runs=20, low=-3, high=3) == 0
    assert "AveragePool2D" in operators(pool("whole", "AveragePool", (1, 8, 7, 7), kernel_shape=[7, 6]))


def test_a_window_that_sees_nothing_is_refused():
    model = pool("half", "MaxPool", (1, 3, 1), kernel_shape=[4], pads=[3, 3], dilations=[2], strides=[3])
    with pytest.raises(GraphError, match=r"kernel 4 and dilation 2 would see nothing but padding \(3, 3\)"):
        import_onnx(model)


def random_pool(rng):
    extents = [int(n) for n in rng.choice([1, 2, 3, 4, 5, 7], int(rng.integers(1, 3)))]
    kernel = [int(n) for n in rng.integers(1, 5, len(extents))]
    attributes = {"kernel_shape": kernel, "strides": [int(n) for n in rng.integers(1, 4, len(extents))],
                  "ceil_mode": int(rng.integers(2))}
    op = str(rng.choice(["AveragePool", "AveragePool", "MaxPool"]))
    if op == "AveragePool":
        attributes["count_include_pad"] = int(rng.integers(2))
    opset = int(rng.choice([11, 13, 17, 19, 21]))
    if op == "MaxPool" or opset >= 19:
        attributes["dilations"] = [int(n) for n in rng.choice([1, 1, 2, 3], len(extents))]
    if rng.random() < 0.3:
        attributes["auto_pad"] = str(rng.choice(["SAME_UPPER", "SAME_LOWER", "VALID"]))
    elif rng.random() < 0.7:
        attributes["pads"] = [int(rng.integers(0, k)) for k in (*kernel, *kernel)]
    return pool(str(rng.choice(["float", "half", "whole"])), op, (int(rng.integers(1, 3)), 3, *extents),
                opset, rng.choice([np.int8, np.uint8]), **attributes)


@pytest.mark.parametrize("seed", range(4))
def test_random_pools(seed):
    rng = np.random.default_rng(seed)
    same = 0
    for _ in range(60):
        try:
            model = random_pool(rng)
            feeds = feeds_for(model, rng, -4, 4)
            wanted = reference(model, feeds)
        except Exception:  # ONNX Runtime's have no common base; what it does not take is not valid
            continue
        try:
            got = run(import_onnx(model), feeds)
        except GraphError as error:
            assert any(text in str(error) for text in REFUSED), error
            continue
        for a, b in zip(got, wanted, strict=True):
            np.testing.assert_array_equal(a, b, str(model.graph.node))
        same += 1
    assert same > 30


@pytest.mark.parametrize("dtype", (np.int8, np.uint8))
@pytest.mark.parametrize("columns,steps", ((1, 255), (1, 200), (2, 500), (2, 298), (4, 596), (8, 1184), (5, 745),
                                           (7, 256)))
def test_shares_of_few_values_and_fine_scales(columns, steps, dtype):
    """Exponentials times the steps of 1 are beyond float32 there, which ONNX Runtime does not see."""
    rng = np.random.default_rng(columns)
    zero = 0 if dtype == np.uint8 else -128
    for scale in (0.2, 0.004, 0.0004):
        net = Net()
        x = net.input((5000, columns), dtype)
        y = net("Softmax", net("DequantizeLinear", x, array(scale, np.float32), array(0, dtype)))
        model = net.model(net.quantize(y, np.float32(1 / steps), zero, dtype))
        assert difference(model, rng, runs=1) == 0
