"""Every operator of the front end's table is compared with a foreign implementation: by ONNX's own cases
(`test_onnx_node_cases`), or here by ONNX Runtime. An operator without either fails the first test."""

import numpy as np
import pytest
from lepton.frontends.onnx.convert import CONVERTERS

from tests.host.frontends.onnx.onnx_models import Net, array, difference, exact_products
from tests.host.frontends.onnx.test_onnx_node_cases import PASS
from tests.seeds import seeds

MICROSOFT = {"domain": "com.microsoft"}
INTEGER = ("Conv", "DynamicQuantizeMatMul", "Gemm", "MatMul", "MatMulIntegerToFloat", "QGemm")


def floats(rng, *shape):
    return rng.normal(size=shape).astype(np.float32)


def codes(rng, *shape, dtype=np.int8):
    info = np.iinfo(dtype)
    return rng.integers(info.min, info.max + 1, shape).astype(dtype)


def parameters(scale, zero, dtype=np.int8):
    return array(scale, np.float32), array(zero, dtype)


def quantized(net, x):
    """An 8-bit value and its parameters."""
    return net.quantize(x, 0.05, 3), *parameters(0.05, 3)


def layer(operator, *shape, **attributes):
    """With weights of `shape`, between DequantizeLinear and QuantizeLinear."""
    def build(net, x, rng):
        weights = net.weights(codes(rng, *shape).clip(-127), 0.01)
        return net.qdq(net(operator, net.qdq(x, 0.05, 3), weights, **attributes), 0.3, 5)
    return build


def plain(operator, *constants, **attributes):
    """`constants`: the shapes of random ones behind the operand."""
    def build(net, x, rng):
        return net(operator, x, *(floats(rng, *shape) for shape in constants), **attributes)
    return build


def on_codes(operator, *more, scale=0.1, zero=7, **attributes):
    def build(net, x, rng):
        y = net(operator, *quantized(net, x), *more, *parameters(scale, zero), **attributes, **MICROSOFT)
        return net.dequantize(y, scale, zero)
    return build


def of_two(operator):
    def build(net, x, rng):
        y = net(operator, *quantized(net, x), *quantized(net, net("Neg", x)), *parameters(0.1, 7), **MICROSOFT)
        return net.dequantize(y, 0.1, 7)
    return build


def concat(net, x, rng):
    y = net("QLinearConcat", *parameters(0.1, 7), *quantized(net, x), *quantized(net, net("Neg", x)), axis=1,
            **MICROSOFT)
    return net.dequantize(y, 0.1, 7)


def gemm(net, x, rng):
    y = net("QGemm", *quantized(net, x), codes(rng, 6, 5), *parameters(0.01, 0), codes(rng, 5).astype(np.int32),
            *parameters(0.3, 5), **MICROSOFT)
    return net.dequantize(y, 0.3, 5)


def dynamic(net, x, rng):
    return net("DynamicQuantizeMatMul", x, codes(rng, 6, 5), *parameters(0.01, 2), floats(rng, 5), **MICROSOFT)


def integer_to_float(net, x, rng):
    value, scale, zero = quantized(net, x)
    return net("MatMulIntegerToFloat", value, codes(rng, 6, 5), scale, array(0.01, np.float32), zero, array(2, np.int8),
               **MICROSOFT)


def softmax(net, x, rng):
    of_x = parameters(0.05, 99, np.uint8)
    result = 1 / 256, 0, np.uint8
    y = net("QLinearSoftmax", net.quantize(x, 0.05, 99, np.uint8), *of_x, *parameters(*result), axis=-1, opset=13,
            **MICROSOFT)
    return net.dequantize(y, *result)


def quantized_elsewhere(net):
    """Another output: float layers are taken in a quantized network only."""
    return net.qdq(net.input((1, 4), name="side"), 0.1, 0)


def transposed(net, x, rng):
    # Of int8 operands ONNX Runtime's float sums may be a step off (`layers.IN_FLOAT`).
    return net("ConvTranspose", x, floats(rng, 4, 5, 3, 3), strides=[2, 2]), quantized_elsewhere(net)


def blocks(net, x, rng):
    y = net("MatMulNBits", x, codes(rng, 8, 2, 16, dtype=np.uint8), np.abs(floats(rng, 16)), K=64, N=8, bits=4,
            block_size=32, **MICROSOFT)
    return y, quantized_elsewhere(net)


IMAGE = (1, 4, 6, 7)
# operator: the shape of its operand, what computes it, the opset
CASES = {
    "BiasGelu": ((2, 3, 4), plain("BiasGelu", (4,), **MICROSOFT), 17),
    "Cast": ((2, 3, 4), lambda net, x, rng: net("Cast", x, to=6), 17),
    "Conv": (IMAGE, layer("Conv", 5, 4, 3, 3), 17),
    "ConvTranspose": (IMAGE, transposed, 17),
    "DynamicQuantizeMatMul": ((3, 6), dynamic, 17),
    "Einsum": ((3, 6), plain("Einsum", (6, 5), equation="ij,jk->ik"), 17),
    "FastGelu": ((2, 3, 4), plain("FastGelu", (4,), **MICROSOFT), 17),
    "Gemm": ((3, 6), layer("Gemm", 5, 6, transB=1), 17),
    "LayerNormalization": ((2, 3, 8), plain("LayerNormalization", (8,), (8,)), 17),
    "MatMul": ((3, 6), layer("MatMul", 6, 5), 17),
    "MatMulIntegerToFloat": ((3, 6), integer_to_float, 17),
    "MatMulNBits": ((3, 64), blocks, 21),
    "Not": ((2, 3, 4), lambda net, x, rng: net("Not", net("Greater", x, array(0.5, np.float32))), 17),
    "QGemm": ((3, 6), gemm, 17),
    "QLinearAdd": (IMAGE, of_two("QLinearAdd"), 17),
    "QLinearAveragePool": (IMAGE, on_codes("QLinearAveragePool", kernel_shape=[3, 2], pads=[1, 0, 1, 1]), 17),
    "QLinearConcat": (IMAGE, concat, 17),
    "QLinearGlobalAveragePool": (IMAGE, on_codes("QLinearGlobalAveragePool"), 17),
    "QLinearLeakyRelu": (IMAGE, on_codes("QLinearLeakyRelu", alpha=0.2), 17),
    "QLinearMul": (IMAGE, of_two("QLinearMul"), 17),
    "QLinearSigmoid": (IMAGE, on_codes("QLinearSigmoid", scale=1 / 256, zero=-128), 17),
    "QLinearSoftmax": ((2, 3, 40), softmax, 17),
    "QuickGelu": ((2, 3, 4), plain("QuickGelu", alpha=1.3, **MICROSOFT), 17),
    "RMSNormalization": ((2, 3, 8), plain("RMSNormalization", (8,)), 23),
    "ReduceLogSumExp": ((2, 3, 8), plain("ReduceLogSumExp", axes=[-1]), 17),
    "SimplifiedLayerNormalization": ((2, 3, 8), plain("SimplifiedLayerNormalization", (8,), axis=-1), 17),
    "SkipLayerNormalization": ((2, 3, 8), plain("SkipLayerNormalization", (2, 3, 8), (8,), (8,), **MICROSOFT), 17),
}


def test_every_operator_of_the_table_has_a_case():
    assert set(CONVERTERS) == {name for name, passed in PASS.items() if passed} | set(CASES)


@pytest.mark.parametrize("seed", seeds())
@pytest.mark.parametrize("operator", [pytest.param(name, marks=exact_products) if name in INTEGER else name
                                      for name in CASES])
def test_operator(operator, seed):
    rng = np.random.default_rng(seed)
    shape, build, opset = CASES[operator]
    net = Net(opset)
    made = build(net, net.input(shape), rng)
    model = net.model(*made if isinstance(made, tuple) else [made])
    assert operator in {node.op_type for node in model.graph.node}
    assert difference(model, rng, low=-3, high=3) == 0


@pytest.mark.parametrize("seed", seeds())
@pytest.mark.parametrize("shape", [(2, 6), (1, 6, 5), (2, 6, 4, 3), (1, 6, 2, 3, 2)])
@pytest.mark.parametrize("groups", [1, 2, 6])
def test_group_normalization_of_any_rank(shape, groups, seed):
    rng = np.random.default_rng(seed)
    net = Net(21)
    y = net("GroupNormalization", net.input(shape), floats(rng, 6), floats(rng, 6), num_groups=groups, epsilon=1e-3)
    assert difference(net.model(y), rng) == 0
