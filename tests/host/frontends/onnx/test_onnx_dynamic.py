"""Dynamic quantization against ONNX Runtime: files of its `quantize_dynamic`, and each operator alone."""

import numpy as np
import onnx
import pytest
from lepton.frontends.onnx import import_onnx
from lepton.graph import GraphError
from onnx import TensorProto, helper, numpy_helper

from tests.host.frontends.onnx.golden_runs import compare
from tests.host.frontends.onnx.onnx_models import Net, array, difference, exact_products, feeds_for, reference, run
from tests.seeds import seeds

BYTES = (np.uint8, np.int8)
pytest.importorskip("onnxruntime.quantization")


def float_model(nodes, shape, constants, rng) -> onnx.ModelProto:
    graph = helper.make_graph(
        nodes, "net", [helper.make_tensor_value_info("x", TensorProto.FLOAT, shape)],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, None)],
        [numpy_helper.from_array(rng.normal(size=size).astype(np.float32), name) for name, size in constants.items()])
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)


def convolutional(rng) -> onnx.ModelProto:
    node = helper.make_node
    return float_model([
        node("Conv", ["x", "w", "b"], ["c"], pads=[1, 1, 1, 1], strides=[2, 1]), node("Relu", ["c"], ["r"]),
        node("Conv", ["r", "d"], ["e"], group=6), node("GlobalAveragePool", ["e"], ["g"]),
        node("Flatten", ["g"], ["f"]), node("Gemm", ["f", "v", "o"], ["y"]),
    ], [1, 3, 8, 9], {"w": (6, 3, 3, 3), "b": (6,), "d": (6, 1, 3, 3), "v": (6, 5), "o": (5,)}, rng)


def dense(rng) -> onnx.ModelProto:
    node = helper.make_node
    return float_model([
        node("MatMul", ["x", "w"], ["c"]), node("Add", ["c", "b"], ["d"]), node("Softmax", ["d"], ["s"]),
        node("MatMul", ["s", "v"], ["y"]),
    ], [2, 4, 16], {"w": (16, 12), "b": (12,), "v": (12, 5)}, rng)


@exact_products
@pytest.mark.parametrize("make", [convolutional, dense])
@pytest.mark.parametrize("per_channel", [False, True])
@pytest.mark.parametrize("dtype", ["QInt8", "QUInt8"])
@pytest.mark.filterwarnings("ignore")
def test_files_of_quantize_dynamic(make, per_channel, dtype, tmp_path):
    from onnxruntime.quantization import QuantType, quantize_dynamic

    rng = np.random.default_rng(3)
    onnx.save(make(rng), tmp_path / "float.onnx")
    quantize_dynamic(tmp_path / "float.onnx", tmp_path / "dynamic.onnx", per_channel=per_channel,
                     weight_type=getattr(QuantType, dtype), op_types_to_quantize=["Conv", "MatMul", "Gemm"])
    model = onnx.load(tmp_path / "dynamic.onnx")
    kinds = {node.op_type for node in model.graph.node}
    assert {"DynamicQuantizeLinear", "MatMulInteger"} <= kinds and ("ConvInteger" in kinds) == (make is convolutional)
    samples = [next(iter(feeds_for(model, rng).values())) for _ in range(3)]
    compare(model, "tiny", samples)


@pytest.mark.parametrize("values", [
    np.zeros((2, 3)), np.full((4,), 3.5), np.full((4,), -1e-3), [[7.0]], [-1.0, 1.0], [1e30, -1e30, 0.5],
    np.linspace(-0.37, 0.11, 257), [127.5, -127.5, 0.5, 1.5]])
def test_the_range_of_the_values(values):
    values = np.asarray(values, np.float32)
    net = Net()
    x = net.input(values.shape)
    codes, scale, zero = net("DynamicQuantizeLinear", x, outputs=3)
    model = net.model(codes, scale, zero, net("DequantizeLinear", codes, scale, zero))
    for got, want in zip(run(import_onnx(model), {x: values}), reference(model, {x: values}), strict=True):
        assert got.dtype == want.dtype and got.shape == want.shape
        np.testing.assert_array_equal(got, want)


@pytest.mark.parametrize("seed", seeds())
def test_random_ranges(seed):
    rng = np.random.default_rng(seed)
    for _ in range(20):
        net = Net()
        x = net.input((3, int(rng.integers(1, 70))))
        outputs = net("DynamicQuantizeLinear", x, outputs=3)
        low = float(rng.normal() * 10.0 ** rng.integers(-3, 4))
        assert difference(net.model(*outputs), rng, 1, low, low + float(rng.exponential(abs(low)))) == 0


def zero_point(net, rng, dtype, shape):
    info = np.iinfo(dtype)
    return net.constant(rng.integers(info.min, info.max + 1, shape), dtype)


@exact_products
@pytest.mark.parametrize("seed", seeds())
@pytest.mark.parametrize("b_dtype", BYTES)
@pytest.mark.parametrize("left,right", [
    ((3, 20), (20, 7)), ((2, 3, 20), (20, 7)), ((2, 3, 20), (2, 20, 7)), ((20,), (20, 7)), ((3, 20), (20,)),
    ((1, 1), (1, 1)), ((2, 300), (300, 4))])
def test_integer_products(left, right, b_dtype, seed):
    rng = np.random.default_rng(seed)
    columns = right[-1:] if len(right) == 2 else (*right[:-2], 1, right[-1])
    for constant in (True, False):
        for zeros in ((), ("a",), ("a", "b"), ("a", "columns")):
            if "columns" in zeros and len(right) == 1:
                continue
            net = Net()
            a = net.input(left, np.uint8)
            b = net.constant(feeds(rng, right, b_dtype)) if constant else net.input(right, b_dtype)
            operands = [zero_point(net, rng, np.uint8, ())] if zeros else []
            if len(zeros) > 1:
                operands.append(zero_point(net, rng, b_dtype, columns if "columns" in zeros else ()))
            assert difference(net.model(net("MatMulInteger", a, b, *operands)), rng, 1) == 0


def feeds(rng, shape, dtype):
    info = np.iinfo(dtype)
    return rng.integers(info.min, info.max + 1, shape).astype(dtype)


@exact_products
@pytest.mark.parametrize("seed", seeds())
@pytest.mark.parametrize("shape,kernel,attributes", [
    ((1, 3, 8, 9), (6, 3, 3, 3), {"pads": [1, 0, 2, 1]}), ((2, 4, 7, 5), (6, 2, 3, 2), {"group": 2}),
    ((1, 5, 9, 9), (5, 1, 3, 3), {"group": 5, "strides": [2, 3], "dilations": [2, 1]}),
    ((1, 2, 6, 6), (3, 2, 3, 3), {"auto_pad": "SAME_UPPER", "strides": [2, 2]}),
    ((1, 3, 11), (4, 3, 3), {"pads": [2, 1]}), ((1, 40, 1, 1), (3, 40, 1, 1), {})])
def test_integer_convolutions(shape, kernel, attributes, seed):
    rng = np.random.default_rng(seed)
    for zeros in (0, 1, 2):
        net = Net()
        x = net.input(shape, np.uint8)
        operands = [net.constant(feeds(rng, kernel, np.uint8))]
        operands += [zero_point(net, rng, np.uint8, ()) for _ in range(zeros)]
        assert difference(net.model(net("ConvInteger", x, *operands, **attributes)), rng, 1) == 0


@exact_products
@pytest.mark.parametrize("columns", [False, True])
@pytest.mark.parametrize("bias", [False, True])
def test_fused_products(columns, bias):
    """What ONNX Runtime makes of them when it optimizes a model and saves it."""
    rng = np.random.default_rng(8)
    for constant in (True, False):
        net = Net()
        x = net.input((2, 3, 20))
        weights = net.constant(feeds(rng, (20, 7), np.int8)) if constant else net.input((20, 7), np.int8)
        scale = net.constant(rng.uniform(0.01, 0.02, 7 if columns else ()), np.float32)
        zero = net.constant(np.zeros(7 if columns else (), np.int8))
        more = [net.constant(rng.normal(size=7), np.float32)] if bias else []
        codes, of_x, zero_of_x = net("DynamicQuantizeLinear", x, outputs=3)
        model = net.model(
            net("DynamicQuantizeMatMul", x, weights, scale, zero, *more, domain="com.microsoft"),
            net("MatMulIntegerToFloat", codes, weights, of_x, scale, zero_of_x, zero, *more, domain="com.microsoft"))
        assert difference(model, rng) == 0


def refused(model, text):
    with pytest.raises(GraphError, match=text):
        import_onnx(model)


def test_refusals():
    net = Net()
    x = net.input((3, 4), np.uint8)
    refused(net.model(net("MatMulInteger", x, np.ones((4, 5), np.int8), array(0, np.uint8), array([0] * 3, np.int8))),
            r"of shape \(3,\) do not fit .* of shape \(4, 5\)")
    net = Net()
    x = net.input((3, 4), np.uint8)
    refused(net.model(net("MatMulInteger", x, np.ones((4, 5), np.int8), array(0, np.int8))),
            "zero point of operand 0 must be uint8 like the operand, not int8|ONNX Runtime cannot load the model")
    net = Net()
    x = net.input((1, 4, 3))
    codes, _, zero = net("DynamicQuantizeLinear", x, outputs=3)
    scales = net("ReduceMax", net.input((4, 3)), axes=[1], keepdims=0)
    refused(net.model(net("DequantizeLinear", codes, scales, zero)), "a computed scale must be a single number")
