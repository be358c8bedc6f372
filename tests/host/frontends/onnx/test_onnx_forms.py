"""Forms in which valid networks come: attributes that became inputs, odd outputs, open dimensions, unusual axes."""

import copy

import numpy as np
import pytest
from lepton.compiler import compile_graph
from lepton.frontends.onnx import import_onnx, quantize_onnx
from lepton.graph import GraphError
from onnx import TensorProto, helper, numpy_helper

from tests.host.frontends.onnx.onnx_models import (
    IMAGE,
    Net,
    array,
    difference,
    exact_products,
    feeds_for,
    operators,
    reference,
    run,
    single,
)

OPSETS = (7, 9, 10, 11, 12, 13, 15, 17, 18, 19, 20, 21)
QUANTIZED_OPSETS = [opset for opset in OPSETS if opset >= 10]  # QuantizeLinear is as old as that


def stated(name, values, since):
    """An operator whose `name` is an attribute below opset `since`, an int64 input from there on."""
    def build(op, **attributes):
        def made(net, x):
            if net.opset < since:
                return net(op, x, **{name: values}, **attributes)
            return net(op, x, array(values, np.int64), **attributes)
        return made
    return build


AXES = {
    "ReduceMean over the image": (stated("axes", [2, 3], 18)("ReduceMean"), ["Mean"]),
    "ReduceMean from the end": (stated("axes", [-1, -2], 18)("ReduceMean", keepdims=0), ["Mean"]),
    "ReduceMean of channels": (stated("axes", [1], 18)("ReduceMean"), ["Reduce"]),
    "ReduceMax": (stated("axes", [2], 18)("ReduceMax", keepdims=0), ["Reduce"]),
    "ReduceMin": (stated("axes", [1, 3], 18)("ReduceMin"), ["Reduce"]),
    "ReduceSum": (stated("axes", [1], 13)("ReduceSum"), ["Reduce"]),
    "ReduceL1": (stated("axes", [1], 18)("ReduceL1"), ["Reduce"]),
    "ReduceL2": (stated("axes", [-3], 18)("ReduceL2"), ["Reduce"]),
    "ReduceSumSquare": (stated("axes", [1], 18)("ReduceSumSquare", keepdims=0), ["Reduce"]),
    "Unsqueeze": (stated("axes", [0, 2], 13)("Unsqueeze"), []),
    "Squeeze": (lambda net, x: stated("axes", [0], 13)("Squeeze")(net, x), []),
    "Pad": (stated("pads", [0, 0, 1, 2, 0, 0, 2, 1], 11)("Pad"), ["Pad"]),
    "Slice": (lambda net, x: net("Slice", x, starts=[1, 0], ends=[3, 5], axes=[1, 2]) if net.opset < 10 else
              net("Slice", x, *(array(v, np.int64) for v in ([1, 0], [3, 5], [1, 2]))), ["Slice"]),
    "Clip": (lambda net, x: net("Clip", x, min=-1.0, max=2.0) if net.opset < 11 else
             net("Clip", x, array(-1, np.float32), array(2, np.float32)), ["Table"]),
    "Dropout": (lambda net, x: net("Dropout", x, ratio=0.3) if net.opset < 12 else
                net("Dropout", x, array(0.3, np.float32)), []),
    "Split": (lambda net, x: net("Concat", *net("Split", x, outputs=2, axis=1, **(
        {"num_outputs": 2} if net.opset >= 18 else {}))[::-1], axis=1), []),
}


@pytest.mark.parametrize("opset", QUANTIZED_OPSETS)
@pytest.mark.parametrize("name", AXES)
def test_every_opset_states_it_in_its_own_way(name, opset):
    build, wanted = AXES[name]
    if name in ("ReduceMax", "ReduceMin") and opset < 12:
        pytest.skip("ONNX Runtime makes the network uint8, for which the opset has no such operator")
    model = single(build, opset=opset, scales=(0.05, 0.05 if name not in ("ReduceL1", "ReduceSum") else 0.2))
    assert difference(model, np.random.default_rng(opset), runs=1) == 0
    assert set(wanted) <= set(operators(model))


def float_network(opset):
    rng = np.random.default_rng(opset)
    net = Net(opset)
    weights = [rng.standard_normal(s).astype(np.float32) for s in ((4, 3, 3, 3), (5, 4), (5,))]
    y = net("Relu", net("Conv", net.input((1, 3, 8, 8)), weights[0], pads=[1] * 4))
    y = stated("axes", [2, 3], 18)("ReduceMean", keepdims=0)(net, y)
    return net.model(net("Gemm", y, *weights[1:], transB=1))


@exact_products
@pytest.mark.parametrize("opset", OPSETS)
def test_a_float_network_with_a_mean_is_quantized_in_every_opset(opset):
    rng = np.random.default_rng(opset)
    model = quantize_onnx(float_network(opset), rng.standard_normal((4, 3, 8, 8)).astype(np.float32))
    assert difference(model, rng, runs=1) == 0
    assert "Mean" in operators(model)


def check_outputs(model, names):
    feeds = feeds_for(model, np.random.default_rng(6))
    graph = import_onnx(model)
    assert graph.outputs == names
    compile_graph(graph, "tiny")
    for name, got, want in zip(names, run(graph, feeds), reference(model, feeds), strict=True):
        assert got.dtype == want.dtype and got.shape == want.shape
        np.testing.assert_array_equal(got, feeds.get(name, want))  # ONNX Runtime spoils outputs that are inputs
    return graph


def test_outputs_that_are_inputs_or_constants_or_come_twice():
    net = Net()
    x = net.input(IMAGE)
    y = net.qdq(net("Relu", net.qdq(x, 0.05, 3)), 0.05, 3)
    model = net.model(y, net("Add", array([1, 2], np.float32), array([3, 4], np.float32)))
    model.graph.output.append(copy.deepcopy(model.graph.input[0]))
    model.graph.output.append(copy.deepcopy(model.graph.output[0]))
    model.graph.initializer.append(numpy_helper.from_array(array([[5]], np.int64), "five"))
    model.graph.output.append(helper.make_tensor_value_info("five", TensorProto.INT64, (1, 1)))
    check_outputs(model, [y, model.graph.output[1].name, "x0", y, "five"])


def test_dimensions_of_minus_one_are_open():
    net = Net()
    model = net.model(net("Relu", net.qdq(net.input((-1, 4, 5)), 0.05, 3)))
    assert import_onnx(model).tensors["x0"].shape == (1, 4, 5)
    net = Net()
    model = net.model(net("Relu", net.qdq(net.input((-1, -1, 5)), 0.05, 3)))
    with pytest.raises(GraphError, match=r"leaves dimension 1 \(unnamed\) open; .* --shape x0=1,N,5 with numbers"):
        import_onnx(model)
    assert import_onnx(model, shapes={"x0": (2, 3, 5)}).tensors["x0"].shape == (2, 3, 5)


@pytest.mark.parametrize("opset", (13, 15, 19))
def test_shapes_computed_from_an_open_batch(opset):
    """Reshape to Concat(Gather(Shape), -1) of what only an operator of ONNX Runtime's own computes, and the like."""
    net = Net(opset)
    x = net.qdq(net.input(("batch", 4, 6, 5)), 0.05, 3)
    y = net("QuickGelu", x, domain="com.microsoft")  # of which shape inference knows nothing
    batch = net("Unsqueeze", net("Gather", net("Shape", y), array(0, np.int64)), array([0], np.int64))
    half = net("Div", net("Slice", net("Shape", y), array([1], np.int64), array([2], np.int64)), array([2], np.int64))
    y = net("Reshape", y, net("Concat", batch, half, array([-1], np.int64), axis=0))
    size = net("ConstantOfShape", net("Shape", y), value=numpy_helper.from_array(np.float32([2])))
    model = net.model(net("Mul", y, net("Expand", size, net("Shape", y))))
    assert difference(model, np.random.default_rng(7)) == 0
    assert import_onnx(model).tensors[model.graph.output[0].name].shape == (1, 2, 60)


@pytest.mark.parametrize("start,end", ((-9, -2**63), (-5, -9), (9, -9), (2, -2**63)))
def test_backward_slices_that_start_outside(start, end):
    """Before the first element they start with it (Slice-13), where numpy's are empty."""
    model = single(lambda net, x: net("Slice", x, *(array([n], np.int64) for n in (start, end, 2, -1))))
    assert difference(model, np.random.default_rng(12)) == 0


WIDTHS = {"cut": [0, 0, -1, 0, 0, 0, 0, -2], "cut and pad": [0, -1, 2, -3, 0, 1, -2, 4],
          "cut channels": [0, -2, 0, 0, 0, -1, 0, 0]}


@pytest.mark.parametrize("mode", ("constant", "reflect", "edge", "wrap"))
@pytest.mark.parametrize("name", WIDTHS)
def test_pads_below_0_cut(name, mode):
    widths = WIDTHS[name] if mode == "constant" or name == "cut" else [0, 0, 2, -1, 0, 0, -1, 3]
    model = single(lambda net, x: net("Pad", x, array(widths, np.int64), mode=mode), opset=19 if mode == "wrap" else 17)
    assert difference(model, np.random.default_rng(11)) == 0


RESIZES = {  # shape, scales, attributes
    "one axis": ((1, 4, 7), [1, 1, 2], {"mode": "nearest"}), "vector": ((6,), [1.5], {"mode": "nearest"}),
    "channels": ((1, 4, 7, 6), [1, 2, 1.5, 1], {"mode": "nearest", "nearest_mode": "ceil"}),
    "volume": ((1, 2, 3, 4, 5), [1, 1, 2, 3, 0.5], {"mode": "nearest"}),
    "symmetric": ((1, 4, 7, 6), [1, 1, 1.7, 2],
                  {"mode": "nearest", "coordinate_transformation_mode": "half_pixel_symmetric"}),
    "last axes": ((2, 3, 4, 5), [2, 2], {"mode": "nearest", "axes": [2, 3]}),
}
WEIGHTED = {
    "linear, one axis": ((1, 4, 7), [1, 1, 2], {"mode": "linear"}),
    "linear, channels": ((1, 1, 4, 7, 6), [1, 1, 2, 2, 1.5], {"mode": "linear"}),
    "cubic": ((1, 4, 7, 6), [1, 1, 2, 1.5], {"mode": "cubic"}),
    "cubic, outside excluded": ((1, 4, 7, 6), [1, 1, 2, 1.5], {"mode": "cubic", "exclude_outside": 1}),
    "antialias": ((1, 4, 8, 6), [1, 1, 0.5, 0.5], {"mode": "linear", "antialias": 1}),
}


@pytest.mark.parametrize("name", (*RESIZES, *WEIGHTED))
def test_resizing_of_any_axes(name):
    """Nearest picks the same elements; weighted sums are ONNX Runtime's own."""
    shape, scales, attributes = (RESIZES | WEIGHTED)[name]
    net = Net(18)
    model = net.model(net("Resize", net.input(shape), "", array(scales, np.float32), **attributes))
    feeds = feeds_for(model, np.random.default_rng(12))
    graph = import_onnx(model)
    got = run(graph, feeds)[0]
    want = reference(model, feeds)[0]
    assert got.shape == want.shape
    np.testing.assert_array_equal(got, want)
    assert any("its weighted sums are ONNX Runtime's where that is installed" in note for note in graph.notes) == (
        name in WEIGHTED)
    if name in RESIZES:  # of 8-bit values, too
        model = single(lambda net, x: net("Resize", x, "", array(scales, np.float32), **attributes), shape, 18)
        assert difference(model, np.random.default_rng(1)) == 0
