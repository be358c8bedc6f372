"""Softmax and layer normalization between two layers, on the RTL: exact, and as many cycles as predicted."""

import lepton.device
import numpy as np
import pytest
from lepton.compiler import compile_graph
from lepton.graph import Arithmetic, interpret
from lepton.program import ChipStep
from lepton.runtime import Session

from tests.host.compiler.compiler_graphs import Builder, random_inputs
from tests.host.compiler.test_rows import norm, softmax_between_layers

SHAPES = [(9, 7, 17), (12, 12, 70), (1, 40, 128), (3, 5, 4)]


@pytest.fixture(scope="module")
def board():
    with lepton.device.open("rtl", config="tiny") as device:
        yield device


def graph_of(kind, height, width, channels):
    if kind == "softmax":
        b, y = softmax_between_layers((height, width), channels, channels)
        return b.done(y)
    b = Builder((1, height, width, 5), channels)
    return b.done(b.conv(norm(b, b.conv("image", channels, (1, 1))), 6, (1, 1)))


@pytest.mark.parametrize("kind", ["softmax", "norm"])
@pytest.mark.parametrize("shape", SHAPES)
def test_rows_on_the_rtl(board, kind, shape):
    graph = graph_of(kind, *shape)
    graph.arithmetic = Arithmetic.FIXED if kind == "softmax" else Arithmetic.FLOAT
    model = compile_graph(graph, "tiny")
    (step,) = model.steps
    assert isinstance(step, ChipStep)
    with Session(model, board) as session:
        for seed in (1, 3):  # random values, and extremes
            inputs = random_inputs(graph, seed)
            result = session.run(*inputs.values())
            wanted = interpret.evaluate(graph, inputs)
            for name in graph.outputs:
                np.testing.assert_array_equal(result.outputs[name], wanted[name])
    assert abs(step.cycles / result.report.cycles - 1) < 0.08
