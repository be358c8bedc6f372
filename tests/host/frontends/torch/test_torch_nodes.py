"""Arguments of torch.fx nodes by the names of their operators' schemas, and the table of operators."""

import pytest

torch = pytest.importorskip("torch")

from lepton.frontends.torch.nodes import Arguments, described, name_of, overload_of, packet_of  # noqa: E402
from lepton.frontends.torch.operators import OPERATORS, Kind, kind, known  # noqa: E402
from lepton.graph import GraphError  # noqa: E402

aten = torch.ops.aten


def call(target, *args, **named):
    """A node of `target`, with a placeholder x before the other arguments."""
    graph = torch.fx.Graph()
    x = graph.placeholder("x")
    return graph.call_function(target, (x, *args), named)


def test_arguments_by_position_by_name_and_by_default():
    pool = Arguments(call(aten.avg_pool2d.default, [3, 2], ceil_mode=True))
    assert pool.integers("kernel_size") == (3, 2)
    assert pool.integers("stride") == ()  # the schema's default
    assert pool.flag("ceil_mode") is True
    assert pool.flag("count_include_pad") is True
    assert pool.optional_integer("divisor_override") is None
    assert pool.operand().name == "x"
    assert Arguments(call(aten.hardtanh.default, max_val=3)).number("max_val") == 3.0
    assert Arguments(call(aten.pad.default, [1, 1])).text("mode") == "constant"
    assert Arguments(call(aten.flip.default, 1)).integers("dims") == (1,)  # one number stands for a list
    assert not Arguments(call(aten.avg_pool1d.default, [3])).has("divisor_override")


def test_numbers_that_the_module_computes():
    graph = torch.fx.Graph()
    x = graph.placeholder("x")
    size = graph.call_function(aten.sym_size.int, (x, 0))
    node = graph.call_function(aten.select.int, (x, 0, size))
    assert Arguments(node, {size: 4}).integer("index") == 4
    with pytest.raises(GraphError, match=r"^select_int .*: the argument index must be a whole number, not sym_size"):
        Arguments(node, {}).integer("index")


@pytest.mark.parametrize(("read", "text"), [
    (lambda a: a.integer("mode"), "the argument mode must be a whole number, not 'reflect'"),
    (lambda a: a.flag("mode"), "the argument mode must be True or False, not 'reflect'"),
    (lambda a: a.number("pad"), r"the argument pad must be a number, not \[1, 1\.5\]"),
    (lambda a: a.integers("pad"), r"the argument pad must be whole numbers, not 1\.5"),
    (lambda a: a.numbers("mode"), "the argument mode must be numbers, not 'reflect'"),
    (lambda a: a.text("value"), "the argument value must be a text, not None"),
    (lambda a: a.nodes("pad"), "the argument pad must be a list of values, not 1"),
    (lambda a: a.optional_node("mode"), "the argument mode must be a value that is computed, not 'reflect'"),
    (lambda a: a.operand(2), "the argument number 2 must be a value that is computed, not 'reflect'"),
    (lambda a: a.given("stride"), "the operator has no argument 'stride'"),
    (lambda a: a.result, "'pad_default' must be a tensor, not 7"),
    (lambda a: a.results, "its results must be tensors, not 7"),
])
def test_errors_name_node_argument_and_value(read, text):
    node = call(aten.pad.default, [1, 1.5], "reflect")
    with pytest.raises(GraphError, match=rf"^pad_default \(aten\.pad\.default\): {text}"):
        read(Arguments(node, {node: 7}))


def test_what_a_node_calls():
    node = call(aten.gelu.default)
    node.meta["nn_module_stack"] = {"a": ("block", "type"), "b": ("block.act", "type")}
    assert overload_of(node) is aten.gelu.default
    assert packet_of(node) is aten.gelu
    assert name_of(node) == "gelu"
    assert described(node) == "gelu_default (aten.gelu.default of block.act)"
    assert overload_of(node.args[0]) is None


def test_the_table_says_one_thing_of_each_operator():
    """A move has one way to be emitted, and kinds and ways belong together."""
    for target, line in OPERATORS.items():
        ways = [way for way in (line.step, line.join, line.part) if way is not None]
        assert len(ways) == (line.kind in (Kind.MOVE, Kind.JOIN, Kind.SPLIT)), target
        assert line.kind is not Kind.FLOAT or line.host is not None, target
    assert kind(call(aten.linear.default)) is Kind.LINEAR
    assert known(call(aten.bitwise_not.default)).host is None
