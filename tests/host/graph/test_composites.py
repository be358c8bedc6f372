"""Composites against PyTorch: what both compute in float32 may differ in the last bits, moves may not differ."""

import numpy as np
import pytest
from lepton.graph import Arithmetic, Graph, GraphError
from lepton.graph import composites as c
from lepton.graph import moves as m
from lepton.graph.builder import GraphBuilder
from lepton.graph.interpret import evaluate
from lepton.graph.verify import verify

torch = pytest.importorskip("torch", reason="the extra torch is not installed")
F = torch.nn.functional


def computed(function, *arrays):
    b = GraphBuilder(Graph("net", arithmetic=Arithmetic.TORCH))
    values = [b.input(f"x{i}", array.shape, array.dtype) for i, array in enumerate(arrays)]
    b.label = "made"
    results = function(*values)
    for i, result in enumerate(results if isinstance(results, list) else [results]):
        b.output(result, f"y{i}")
    made = evaluate(verify(b.graph), {f"x{i}": array for i, array in enumerate(arrays)})
    return [made[name] for name in b.graph.outputs]


EXTREME = np.float32([-1000, -100, -20, -1, -1e-3, 0, 1e-3, 1, 20, 100, 1000])
ELEMENTWISE = {
    "gelu": (c.gelu, F.gelu), "gelu tanh": (lambda x: c.gelu(x, tanh=True), lambda x: F.gelu(x, approximate="tanh")),
    "leaky relu": (lambda x: c.leaky_relu(x, 0.3), lambda x: F.leaky_relu(x, 0.3)),
    "leaky relu of a computed slope": (lambda x: c.leaky_relu(x, x.sigmoid()),
                                       lambda x: x.relu() - F.relu(-x) * x.sigmoid()),
    "clamp": (lambda x: c.clamp(x, -0.5, 2.0), lambda x: x.clamp(-0.5, 2.0)),
    "clamp from below": (lambda x: c.clamp(x, -0.5, np.inf), lambda x: x.clamp(-0.5)),
    "scaled": (lambda x: c.scaled(x, 2.5, -1.0), lambda x: x * 2.5 - 1),
}


@pytest.mark.parametrize("name", ELEMENTWISE)
def test_functions_of_elements(name):
    ours, theirs = ELEMENTWISE[name]
    random = np.random.default_rng(0).normal(0, 3, (5, 7)).astype(np.float32)
    for values in (random, EXTREME):
        (got,) = computed(ours, values)
        np.testing.assert_allclose(got, theirs(torch.tensor(values)).numpy(), rtol=2e-5, atol=1e-6)


def test_moves():
    x = np.arange(2 * 8 * 4 * 6, dtype=np.int32).reshape(2, 8, 4, 6)
    t = torch.tensor(x)
    last = np.ascontiguousarray(x.transpose(0, 2, 3, 1))
    cases = [
        (lambda v: m.depth_to_space(v, 2, channels=1, columns_first=True), x, F.pixel_shuffle(t, 2)),
        (lambda v: m.space_to_depth(v, 2, channels=1, columns_first=True), x, F.pixel_unshuffle(t, 2)),
        (lambda v: m.depth_to_space(v, 2, channels=3, columns_first=True), last,
         F.pixel_shuffle(t, 2).permute(0, 2, 3, 1)),
        (lambda v: m.space_to_depth(v, 2, channels=3, columns_first=True), last,
         F.pixel_unshuffle(t, 2).permute(0, 2, 3, 1)),
        (lambda v: m.channel_shuffle(v, 4), x, F.channel_shuffle(t, 4)),
        (lambda v: m.channel_shuffle(v, 2, 3), last, F.channel_shuffle(t, 2).permute(0, 2, 3, 1)),
        (lambda v: m.tile(v, (3, 1, 1, 2, 1)), x, t.repeat(3, 1, 1, 2, 1)),
        (lambda v: m.tile(v, (2,)), x, t.repeat(1, 1, 1, 2)),
        (lambda v: m.expand(v.slice(1, 0, 1), (3, 2, 5, 4, 6)), x, t[:, :1].expand(3, 2, 5, 4, 6)),
        (lambda v: m.flip(v, (1, -1)), x, t.flip(1, 3)),
        (lambda v: m.roll(v, (3, -1), (1, 3)), x, t.roll((3, -1), (1, 3))),
        (lambda v: m.roll(v, (5,), ()), x, t.roll(5)),
        (lambda v: m.wrapped(v, ((0, 0), (0, 0), (1, 2), (3, 0))), x, F.pad(t, (3, 0, 1, 2), mode="circular")),
        (lambda v: m.select(v, 1, -2), x, t[:, -2]), (lambda v: m.unstack(v, 2), x, t.unbind(2)),
        (lambda v: m.stack(m.unstack(v, 2), -1), x, torch.stack(t.unbind(2), -1)),
        (lambda v: m.split(v, 3, (1, 5)), x, t.split((1, 5), 3)),
        (lambda v: m.concat(m.split(v, 1, (3, 5))[::-1], 1), x, torch.cat((t[:, 3:], t[:, :3]), 1)),
    ]
    for function, values, wanted in cases:
        wanted = wanted if isinstance(wanted, tuple) else (wanted,)
        for got, one in zip(computed(function, values), wanted, strict=True):
            np.testing.assert_array_equal(got, one.numpy())


def test_blocks_with_the_place_first_are_those_of_onnx():
    onnx = pytest.importorskip("onnx", reason="the extra onnx is not installed")
    from onnx.reference import ReferenceEvaluator
    x = np.arange(2 * 12 * 3 * 2, dtype=np.float32).reshape(2, 12, 3, 2)
    for columns_first, mode in ((True, "CRD"), (False, "DCR")):
        node = onnx.helper.make_node("DepthToSpace", ["x"], ["y"], blocksize=2, mode=mode)
        (wanted,) = ReferenceEvaluator(node).run(None, {"x": x})
        (got,) = computed(lambda v, first=columns_first: m.depth_to_space(v, 2, channels=1, columns_first=first), x)
        np.testing.assert_array_equal(got, wanted)
        (back,) = computed(lambda v, first=columns_first: m.space_to_depth(v, 2, channels=1, columns_first=first),
                           wanted)
        np.testing.assert_array_equal(back, x)


@pytest.mark.parametrize(("function", "text"), [
    (lambda v: m.split(v, 1, (3, 4)), r"8 elements of axis 1 cannot be split into \[3, 4\]"),
    (lambda v: m.expand(v, (2, 8, 4, 7)), r"a tensor of shape \(2, 8, 4, 6\) cannot be broadcast to \(2, 8, 4, 7\)"),
    (lambda v: m.depth_to_space(v, 3, channels=1), "8 channels cannot be split in blocks of 3"),
    (lambda v: m.space_to_depth(v, 4, channels=1), "an image of 4 x 6 pixels cannot be split in blocks of 4"),
    (lambda v: m.channel_shuffle(v, 3), "8 channels cannot be split in 3 groups"),
])
def test_refused(function, text):
    with pytest.raises(GraphError, match=text):
        computed(function, np.zeros((2, 8, 4, 6), np.float32))
