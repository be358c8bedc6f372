"""Layers of floats have every bit of ONNX Runtime's, which packs weights that it has when it loads the network.

It adds then in another order than with weights behind a DequantizeLinear, which it does not fold, or with computed
ones: convolutions of many channels, and products of one row.
"""

import numpy as np
import pytest
from lepton.frontends.onnx import import_onnx
from lepton.graph import (
    Arithmetic,
    FloatConv,
    FloatGemm,
    Graph,
    GraphError,
    MatMul,
    MatMulNBits,
    Node,
    OperandList,
    Tensor,
)
from lepton.graph.interpret import compute
from lepton.graph.numerics import onnxruntime_kernels
from lepton.graph.verify import verify

from tests.host.frontends.onnx.onnx_models import Net, array, feeds_for, reference, run

SOURCES = ("initializer", "quantized", "computed", "folded", "folded from quantized")


def weights(net, rng, source, *shape):
    """A float32 operand of a layer, from where `source` says."""
    values = rng.normal(0, 1, shape).astype(np.float32)
    if source == "initializer":
        return values
    if source == "folded":  # by ONNX Runtime, before it chooses kernels
        return net("Neg", values)
    codes = rng.integers(-127, 128, shape).astype(np.int8)
    if source == "quantized":
        return net.weights(codes, 0.0173)
    if source == "folded from quantized":  # at import only
        return net("Neg", net.weights(codes, 0.0173))
    return net.input(shape)


def same(build, source, seed):
    """The imported network of one layer, whose results must be ONNX Runtime's."""
    rng = np.random.default_rng(seed)
    net = Net(21)
    side = net.qdq(net.input((1, 4)), 0.1, 0)  # so that the network counts as quantized
    model = net.model(build(net, rng, source), side)
    graph = import_onnx(model)
    feeds = feeds_for(model, rng, -3, 3)
    np.testing.assert_array_equal(run(graph, feeds)[0], reference(model, feeds)[0])
    return graph


def image_layer(kind):
    def build(net, rng, source):
        axes = int(rng.choice((1, 2, 2, 2)))
        group = int(rng.choice((1, 1, 1, 2, 8)))
        each = int(rng.choice((1, 3, 4, 8, 16, 24, 32)))
        channels = min(group * each, 256)
        outputs = group * int(rng.choice((1, 4, 8, 16, 17, 32)))
        if rng.integers(5) == 0:  # depthwise
            group = channels = outputs = int(rng.choice((8, 32, 65, 256)))
        kernel = tuple(int(k) for k in rng.integers(1, 4, axes))
        x = net.input((int(rng.integers(1, 3)), channels, *(int(n) for n in rng.integers(5, 11, axes))))
        first, second = (outputs, channels) if kind == "Conv" else (channels, outputs)
        operands = [weights(net, rng, source, first, second // group, *kernel)]
        if rng.integers(2):
            operands.append(weights(net, rng, rng.choice((source, "initializer")), outputs))
        return net(kind, x, *operands, group=group, strides=[int(s) for s in rng.integers(1, 3, axes)],
                   pads=[int(p) for p in rng.integers(0, 2, 2 * axes)])
    return build


def product(net, rng, source):
    rows = int(rng.choice((1, 1, 2, 5, 33)))
    length = int(rng.choice((1, 7, 64, 129, 300, 600)))
    columns = int(rng.choice((1, 16, 33, 100)))
    before = [(), (1,), (3,)][rng.integers(3)]
    x = net.input((*before, rows, length) if rng.integers(4) else (length,))
    b = [(length, columns), (length, columns), (length,), (*before, length, columns)][rng.integers(4)]
    return net("MatMul", x, weights(net, rng, source, *b))


def gemm(net, rng, source):
    rows = int(rng.choice((1, 1, 2, 5, 33)))
    length = int(rng.choice((1, 7, 64, 129, 300, 600)))
    columns = int(rng.choice((1, 16, 33, 100)))
    over_a, over_b = (int(way) for way in rng.integers(0, 2, 2))
    x = net.input((length, rows) if over_a else (rows, length))
    operands = [weights(net, rng, source, *((columns, length) if over_b else (length, columns)))]
    bias = [None, (columns,), (1, columns), (rows, 1), (), (rows, columns)][rng.integers(6)]
    if bias is not None:
        operands.append(weights(net, rng, rng.choice((source, "initializer")), *bias))
    return net("Gemm", x, *operands, transA=over_a, transB=over_b, alpha=float(rng.choice((1, 0.7))),
               beta=float(rng.choice((1, 1.3))))


def product_and_sum(net, rng, source):
    """What ONNX Runtime makes one Gemm of, which begins its sums with the bias."""
    rows = int(rng.choice((1, 2, 5, 33)))
    length = int(rng.choice((7, 129, 300, 600, 1024)))
    columns = int(rng.choice((1, 16, 33)))
    x = net.input((*[(), (1,), (3,)][rng.integers(3)], rows, length))
    bias = [(columns,), (1, columns), (rows, columns)][rng.integers(3)]
    return net("Add", net("MatMul", x, weights(net, rng, source, length, columns)), weights(net, rng, source, *bias))


LAYERS = {"Conv": image_layer("Conv"), "ConvTranspose": image_layer("ConvTranspose"), "MatMul": product, "Gemm": gemm,
          "MatMul and Add": product_and_sum}


@pytest.mark.parametrize("seed", range(8))
@pytest.mark.parametrize("source", SOURCES)
@pytest.mark.parametrize("kind", LAYERS)
def test_random_layers_have_every_bit(kind, source, seed):
    same(LAYERS[kind], source, 100 * seed + 7)


@pytest.mark.parametrize("source,loaded", (("initializer", (1, 2)), ("quantized", ()), ("folded", (1, 2)),
                                           ("folded from quantized", ())))
def test_the_source_of_the_weights_decides(source, loaded):
    """32 channels are enough for ONNX Runtime's blocks, one row for its product of a vector."""
    graph = same(lambda net, rng, of: net("Conv", net.input((1, 32, 9, 9)), weights(net, rng, of, 32, 32, 3, 3),
                                          weights(net, rng, of, 32)), source, 1)
    assert [node.op.loaded for node in graph.nodes if isinstance(node.op, FloatConv)] == [loaded]
    graph = same(lambda net, rng, of: net("MatMul", net.input((1, 300)), weights(net, rng, of, 300, 33)), source, 2)
    made = [node.op for node in graph.nodes if isinstance(node.op, MatMul | MatMulNBits)]
    assert [op.loaded for op in made] == [loaded[:1]] if source != "quantized" else isinstance(made[0], MatMulNBits)


@pytest.mark.parametrize("zero", (None, 7))
@pytest.mark.parametrize("dtype", (np.int8, np.uint8))
@pytest.mark.parametrize("bias", (False, True))
@pytest.mark.parametrize("own", (True, False))
def test_floats_times_quantized_weights(own, bias, dtype, zero, monkeypatch):
    """ONNX Runtime brings blocks of the activations to int8 for them. In numpy a value on the border of two may go to
    the other one: that is one 254th of the largest of its block."""
    rng = np.random.default_rng(8)
    info = np.iinfo(dtype)
    codes = rng.integers(info.min, info.max + 1, (75, 33)).astype(dtype)
    net = Net(21)
    side = net.qdq(net.input((1, 4)), 0.1, 0)
    scale = rng.uniform(0.01, 0.02, 33) if zero is None else 0.013
    zeros = np.full(np.shape(scale), zero or (0 if dtype == np.int8 else 128))
    y = net("MatMul", net.input((2, 3, 75)), net.weights(codes, scale, axis=1, zero=zeros))
    model = net.model(net("Add", y, rng.normal(0, 1, 33).astype(np.float32)) if bias else y, side)
    graph = import_onnx(model)
    assert "MatMulNBits" in {type(node.op).__name__ for node in graph.nodes}
    feeds = feeds_for(model, rng, -3, 3)
    if not own:
        monkeypatch.setenv(onnxruntime_kernels.SWITCH, "0")
    got = run(graph, feeds)[0]
    want = reference(model, feeds)[0]
    if own:
        np.testing.assert_array_equal(got, want)
    else:
        assert np.abs(got - want).max() <= 1e-5 * np.abs(want).max()


def test_weights_of_4_bits():
    """Two codes in a byte; without ONNX Runtime as with it."""
    rng = np.random.default_rng(9)
    op = MatMulNBits(K=40, N=5, bits=4, block_size=16)
    constants = [rng.integers(0, 256, (5, 3, 8)).astype(np.uint8), rng.uniform(0.1, 1, 15).astype(np.float32),
                 rng.integers(0, 256, 10).astype(np.uint8)]
    x = rng.normal(0, 1, (7, 40)).astype(np.float32)
    inputs = [Tensor("x", x.shape, x.dtype)] + [
        Tensor(f"c{i}", a.shape, a.dtype, data=a) for i, a in enumerate(constants)]
    output = Tensor("y", *op.infer(OperandList(inputs)))
    made = [compute(op, arithmetic, inputs, [x, *constants], output)
            for arithmetic in (Arithmetic.FLOAT, Arithmetic.FIXED)]  # FIXED: in numpy
    np.testing.assert_allclose(*made, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("change,text", (
    ({"bits": 3}, "must have 4 or 8 bits"), ({"block_size": 24}, "blocks of a power of two"),
    ({"K": 41}, "x must have 41 columns"), ({"N": 6}, "codes must have 144 elements")))
def test_block_weights_that_do_not_fit(change, text):
    op = MatMulNBits(**{"K": 40, "N": 5, "bits": 4, "block_size": 16} | change)
    shapes = ((7, 40), np.float32), ((5, 3, 8), np.uint8), ((15,), np.float32)
    with pytest.raises(GraphError, match=text):
        op.infer(OperandList([Tensor(f"t{i}", s, np.dtype(d)) for i, (s, d) in enumerate(shapes)]))


def test_weights_in_blocks_beside_a_quantized_bias():
    """ONNX Runtime takes blocks of channels only with a constant bias."""
    same(lambda net, rng, _: net("Conv", net.input((1, 32, 9, 9)), weights(net, rng, "initializer", 32, 32, 3, 3),
                                 net.weights(array(rng.integers(-9, 9, 32), np.int8), 0.3)), "", 3)


def test_loaded_operands_must_be_constant():
    """A session would keep the first values of a computed one."""
    f32 = np.dtype(np.float32)
    tensors = {name: Tensor(name, shape, f32) for name, shape in (("a", (2, 3)), ("b", (3, 4)), ("y", (2, 4)))}
    for op, position in ((FloatGemm(loaded=(1,)), 1), (MatMul(loaded=(0,)), 0), (FloatGemm(loaded=(2,)), 2)):
        graph = Graph("net", dict(tensors), [Node(op, ["a", "b"], ["y"])], ["a", "b"], ["y"])
        with pytest.raises(GraphError, match=f"operand {position} must be constant"):
            verify(graph)
