"""Float functions of one int8 value between Dequantize and Quantize become tables with the same results."""

import numpy as np
from lepton.graph import Add, Dequantize, Graph, Mul, Node, Prelu, Quantization, Quantize, Table, Tensor, Unary
from lepton.graph.interpret import evaluate
from lepton.graph.passes.remove_unused import remove_unused
from lepton.graph.passes.tabulate_floats import tabulate_floats
from lepton.graph.verify import verify

EVERY = np.arange(-128, 128).astype(np.int8).reshape(1, 16, 16)


class Floats:
    """A network of float operators on one int8 input `x`."""

    def __init__(self):
        self.graph = Graph("floats", inputs=["x"])
        self.int8("x", 0.05, 7)

    def int8(self, name: str, scale: float, zero: int) -> str:
        q = Quantization(np.array([scale], np.float32), np.array([zero], np.int32))
        self.graph.tensors[name] = Tensor(name, EVERY.shape, np.dtype(np.int8), q)
        return name

    def number(self, name: str, value, shape=()) -> str:
        data = np.full(shape, value, np.float32)
        self.graph.tensors[name] = Tensor(name, shape, data.dtype, None, data)
        return name

    def __call__(self, op, *inputs: str, output: str = "") -> str:
        name = output or f"t{len(self.graph.tensors)}"
        if name not in self.graph.tensors:
            self.graph.tensors[name] = Tensor(name, EVERY.shape, np.dtype(np.float32))
        self.graph.nodes.append(Node(op, list(inputs), [name], name))
        return name

    def done(self, *outputs: str) -> tuple[Graph, Graph]:
        self.graph.outputs = list(outputs)
        return verify(self.graph), verify(remove_unused(tabulate_floats(self.graph)))


def operators(graph: Graph) -> list[type]:
    return [type(node.op) for node in graph.nodes]


def same(before: Graph, after: Graph) -> None:
    given = {"x": EVERY}
    name = before.outputs[0]
    np.testing.assert_array_equal(evaluate(after, given)[name], evaluate(before, given)[name])


def test_a_chain_with_branches_and_numbers():
    f = Floats()
    real = f(Dequantize(), "x")
    gate = f(Unary("sigmoid"), f(Mul(), real, f.number("beta", 1.7)))
    bent = f(Prelu(), f(Add(), f(Mul(), real, gate), f.number("shift", -0.3, (1, 1))), f.number("slope", 0.2))
    before, after = f.done(f(Quantize(), bent, output=f.int8("y", 0.03, -100)))
    assert operators(after) == [Table]
    same(before, after)


def test_what_others_read_stays():
    f = Floats()
    real = f(Unary("exp"), f(Dequantize(), "x"))
    y = f(Quantize(), real, output=f.int8("y", 0.03, -100))
    before, after = f.done(y, real)
    assert operators(after) == [Dequantize, Unary, Table]
    same(before, after)


def test_functions_of_more_than_one_value_or_number_stay():
    f = Floats()
    f.int8("z", 0.1, 0)
    f.graph.inputs.append("z")
    two = f(Add(), f(Dequantize(), "x"), f(Dequantize(), "z"))
    many = f(Mul(), two, f.number("row", 2.0, (16,)))
    _, after = f.done(f(Quantize(), two, output=f.int8("y", 0.1, 0)), f(Quantize(), many, output=f.int8("w", 0.1, 0)))
    assert Table not in operators(after)
