"""Operators that ONNX Runtime takes apart come back as one step with its bytes, where nothing else reads a part."""

import numpy as np
import onnx
import pytest
from lepton.frontends.onnx import import_onnx
from lepton.frontends.onnx.restoring import restore
from onnx import helper

from tests.host.frontends.onnx.onnx_models import Net, feeds_for, reference, run

CHANNELS = np.linspace(0.5, 1.5, 8).astype(np.float32)


def node(net, kind, x):
    if kind == "GroupNormalization":
        return net(kind, x, CHANNELS, CHANNELS[::-1].copy(), num_groups=4)
    return net(kind, x)


def imported(net, *outputs):
    model = net.model(*outputs, net.qdq(net.input((1, 4)), 0.1, 0))  # the last, so that the network counts as quantized
    graph = import_onnx(model)
    feeds = feeds_for(model, np.random.default_rng())
    for got, want in zip(run(graph, feeds), reference(model, feeds), strict=True):
        np.testing.assert_array_equal(got, want)
    return [getattr(node.op, "operator", type(node.op).__name__) for node in graph.nodes]


@pytest.mark.parametrize("kind", ("GroupNormalization", "HardSwish", "Mish"))
def test_one_step_with_all_bytes(kind):
    net = Net(21)
    x = net("Neg", net.input((2, 8, 5, 6)))
    made = imported(net, net("Abs", node(net, kind, x)))
    assert kind in made and made.count("Unary") == 2 and len(made) == 3 + 2  # and two of the other output


def test_several_of_them_in_a_row():
    net = Net(21)
    x = net.input((1, 8, 5, 6))
    made = imported(net, node(net, "Mish", node(net, "HardSwish", node(net, "GroupNormalization", x))),
                    node(net, "HardSwish", x))
    assert [name for name in made if name in ("GroupNormalization", "HardSwish", "Mish")].count("HardSwish") == 2


def test_groups_of_older_opsets_stay_in_parts():
    """Their scales are those of groups."""
    net = Net(18)
    x = net.input((1, 8, 5, 6))
    assert "GroupNormalization" not in imported(net, net("GroupNormalization", x, CHANNELS[:4], CHANNELS[:4],
                                                         num_groups=4))


def test_computed_scales_stay_in_parts():
    net = Net(21)
    x = net.input((1, 8, 5, 6))
    assert "GroupNormalization" not in imported(net, net("GroupNormalization", x, net.input((8,)), CHANNELS,
                                                         num_groups=4))


def models(*prepared, outputs=("y",)):
    """A network of one HardSwish, and what it is said to have become."""
    def model(nodes):
        values = [helper.make_tensor_value_info(name, 1, (4,)) for name in ("x", *outputs)]
        return helper.make_model(helper.make_graph(nodes, "net", values[:1], values[1:]),
                                 opset_imports=[helper.make_opsetid("", 17)])
    return model([helper.make_node("HardSwish", ["x"], ["y"])]), model(list(prepared))


PARTS = (helper.make_node("HardSigmoid", ["x"], ["h"]), helper.make_node("Mul", ["x", "h"], ["y"]))


@pytest.mark.parametrize("more,outputs", (
    ([], ("y", "h")), ([helper.make_node("Abs", ["h"], ["z"])], ("y", "z"))))
def test_parts_that_others_read_stay(more, outputs):
    original, prepared = models(*PARTS, *more, outputs=outputs)
    before = prepared.SerializeToString()
    restore(original, prepared)
    assert prepared.SerializeToString() == before


def test_the_node_takes_the_place_of_its_parts():
    original, prepared = models(helper.make_node("Abs", ["x"], ["a"]), *PARTS, helper.make_node("Abs", ["y"], ["z"]),
                                outputs=("a", "z"))
    restore(original, prepared)
    assert [n.op_type for n in prepared.graph.node] == ["Abs", "HardSwish", "Abs"]
    onnx.checker.check_model(prepared)


def test_another_operand_is_not_lost():
    original, prepared = models(helper.make_node("Abs", ["x"], ["a"]), helper.make_node("Add", ["a", "b"], ["y"]))
    before = prepared.SerializeToString()
    restore(original, prepared)  # `b` is neither an operand of the node nor a constant
    assert prepared.SerializeToString() == before
