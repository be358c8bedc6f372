"""Any small graph, on any chip, in either arithmetic: chip and host together compute what the host alone does."""

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from lepton.arch import ChipConfig
from lepton.compiler import compile_graph
from lepton.graph import Arithmetic, interpret
from lepton.program import dump

from tests.host.compiler.compiler_graphs import golden, random_inputs
from tests.host.compiler.compiler_moves import random_moves
from tests.host.compiler.compiler_random import network


@st.composite
def chips(draw):
    """Odd ones: tiles of every shape, hardly any memory, no window unit."""
    lanes = draw(st.sampled_from([4, 8, 16]))
    return ChipConfig(
        "any", lanes=lanes, columns=lanes, scratchpad_kib=draw(st.sampled_from([1, 4, 16, 64])),
        weight_kib=draw(st.sampled_from([1, 4, 32])), accumulator_rows=draw(st.sampled_from([16, 64, 256])),
        bus_bytes=draw(st.sampled_from([4, 16])), window_columns=draw(st.sampled_from([0, 8, 256])))


@settings(max_examples=40, derandomize=True, deadline=None, database=None)
@given(chip=chips(), seed=st.integers(0, 10_000), moves=st.booleans(), arithmetic=st.sampled_from(list(Arithmetic)))
def test_chip_and_host_are_the_host_alone(chip, seed, moves, arithmetic):
    graph = random_moves(seed) if moves else network(seed)
    graph.arithmetic = arithmetic
    inputs = random_inputs(graph, seed)
    outputs, model = golden(graph, chip, inputs, seed)
    wanted = interpret.evaluate(graph, inputs)
    for name in graph.outputs:
        np.testing.assert_array_equal(outputs[name], wanted[name], err_msg=name)
    assert dump(compile_graph(graph, chip)) == dump(model), "the same graph must give the same bytes"
    assert len(model.placement) <= len(graph.nodes) and all(row.reason for row in model.placement if row.where == "host"
                                                           and row.op != "Reshape")
