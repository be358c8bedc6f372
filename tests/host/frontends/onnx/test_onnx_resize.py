"""Resizes of any rank, mode and option give ONNX Runtime's numbers: its bytes where it is installed."""

import numpy as np
import pytest
from lepton.frontends.onnx import import_onnx
from lepton.graph import GraphError
from lepton.graph.numerics import onnxruntime_kernels

from tests.host.frontends.onnx.onnx_models import Net, array, difference, feeds_for, reference, run
from tests.seeds import seeds

NETWORKS = 60
NEAR = 2e-5  # of weighted sums that are added in another order
REFUSED = ("cannot become", "keep_aspect_ratio_policy is supported for nearest and linear resizes of images only")
COORDINATES = ("half_pixel", "asymmetric", "align_corners", "pytorch_half_pixel", "tf_crop_and_resize")


def attributes_of(rng, opset):
    given = {"mode": str(rng.choice(["nearest", "linear", "cubic"]))}
    if opset >= 11:
        given["coordinate_transformation_mode"] = str(rng.choice(
            [*COORDINATES, *(["half_pixel_symmetric"] if opset >= 19 else [])]))
        given["extrapolation_value"] = float(rng.choice([0, 0, -3.5]))
        if given["mode"] == "cubic" and rng.random() < 0.3:
            given |= {"exclude_outside": 1, "cubic_coeff_a": -0.5}
        if given["mode"] == "nearest":
            given["nearest_mode"] = str(rng.choice(["floor", "ceil", "round_prefer_floor", "round_prefer_ceil"]))
    if opset >= 18 and given["mode"] != "nearest" and rng.random() < 0.3:
        given["antialias"] = 1
    return given


def random_resize(rng):
    opset = int(rng.choice([10, 11, 13, 18, 19, 21]))
    shape = tuple(int(n) for n in rng.integers(1, 8, int(rng.choice([1, 2, 3, 4, 4, 4, 5]))))
    rank = len(shape)
    given = attributes_of(rng, opset)
    axes = [rank - 2, rank - 1] if rank > 2 and rng.random() < 0.7 else list(range(rank))
    stated = list(range(rank))
    if opset >= 18 and rng.random() < 0.5:
        given["axes"] = stated = axes
    scales = [float(rng.choice([1, 0.5, 2, 1.5, 0.7, 2.3])) if axis in axes else 1.0 for axis in stated]
    sizes = [int(rng.integers(1, 12)) if axis in axes else shape[axis] for axis in stated]
    begin = [float(rng.uniform(-0.2, 0.4)) if axis in axes else 0.0 for axis in stated]
    end = [float(rng.uniform(0.5, 1.3)) if axis in axes else 1.0 for axis in stated]
    net = Net(opset)
    x = net.input(shape)
    if opset < 11:
        return net.model(net("Resize", x, array(scales, np.float32), **given), net.qdq(net.input((1,)), 0.1, 0))
    roi = array([*begin, *end], np.float32)
    if rng.random() < 0.5:
        y = net("Resize", x, roi, array(scales, np.float32), **given)
    else:
        if opset >= 18 and rng.random() < 0.4:
            given["keep_aspect_ratio_policy"] = str(rng.choice(["not_larger", "not_smaller"]))
        y = net("Resize", x, roi, array([], np.float32), array(sizes, np.int64), **given)
    return net.model(y, net.qdq(net.input((1,)), 0.1, 0))


@pytest.mark.parametrize("seed", seeds())
def test_random_resizes(seed, monkeypatch):
    rng = np.random.default_rng(seed)
    same = 0
    for _ in range(NETWORKS):
        try:
            model = random_resize(rng)
            feeds = feeds_for(model, rng, -4, 4)
            wanted = reference(model, feeds)[0]
        except Exception:  # ONNX Runtime's have no common base; what it does not take is not valid
            continue
        try:
            graph = import_onnx(model)
        except GraphError as error:
            assert any(text in str(error) for text in REFUSED), error
            continue
        np.testing.assert_array_equal(run(graph, feeds)[0], wanted, str(model.graph.node))
        monkeypatch.setenv(onnxruntime_kernels.SWITCH, "0")
        np.testing.assert_allclose(run(graph, feeds)[0], wanted, NEAR, NEAR, err_msg=str(model.graph.node))
        monkeypatch.delenv(onnxruntime_kernels.SWITCH)
        same += 1
    assert same > NETWORKS // 3


@pytest.mark.parametrize("options", [{"mode": "cubic"}, {"mode": "linear", "antialias": 1}, {"mode": "linear"}])
def test_8_bit_values_made_of_it_are_equal(options):
    """Between layers that are integers; of a volume in the last case."""
    shape = (1, 3, 5, 6, 4) if options == {"mode": "linear"} else (1, 3, 7, 6)
    net = Net(19)
    y = net("Resize", net.qdq(net.input(shape), 0.05, 3), "", array([1, 1, *[1.7] * (len(shape) - 2)], np.float32),
            **options)
    assert difference(net.model(net.qdq(y, 0.04, -5)), np.random.default_rng(5)) == 0


def test_a_region_without_its_numbers():
    net = Net(13)
    y = net("Resize", net.input((1, 1, 4, 4)), array([0, 0, 1], np.float32), array([1, 1, 2, 2], np.float32),
            coordinate_transformation_mode="tf_crop_and_resize")
    with pytest.raises(GraphError, match=r"the region of interest must be 8 finite numbers, not|cannot load the model"):
        import_onnx(net.model(y, net.qdq(net.input((1,)), 0.1, 0)))
