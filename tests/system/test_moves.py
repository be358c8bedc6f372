"""Concatenations, slices and larger images on the RTL: every byte as the golden model's, outputs as the host's."""

import numpy as np
import pytest
from lepton.arch import PRESETS
from lepton.compiler import compile_graph
from lepton.graph import Arithmetic, interpret
from lepton.runtime import ComparingSession

from tests.host.compiler.compiler_graphs import Builder, random_inputs
from tests.host.compiler.compiler_moves import RESAMPLED, random_moves, resampled
from tests.host.compiler.compiler_reshapes import reshaping_network


@pytest.mark.parametrize("config", ["tiny", "base"])
@pytest.mark.parametrize("seed", range(6))
def test_random_moves(boards, config, seed):
    graph = random_moves(100 + seed)
    graph.arithmetic = list(Arithmetic)[seed % 2]
    model = compile_graph(graph, config)
    inputs = random_inputs(graph, seed)
    with ComparingSession(model, boards(PRESETS[config]), boards.golden(PRESETS[config])) as session:
        compared = session.run(inputs)
    assert not compared.differences, compared.differences
    wanted = interpret.evaluate(graph, inputs)
    for name in graph.outputs:
        np.testing.assert_array_equal(compared.result.outputs[name], wanted[name], err_msg=name)


@pytest.mark.parametrize("kind", RESAMPLED)
def test_resampled_images(boards, kind):
    """Resizes, pads that repeat pixels, and picked rows and columns, to a layer and to the host."""
    random = np.random.default_rng(8)
    b = Builder((1, 5, 4, 6), 8)
    x = resampled(b, b.conv("image", 6, (1, 1)), kind, random)
    graph = b.done(b.conv(x, 5, (1, 1)), resampled(b, "image", kind, random))
    graph.arithmetic = RESAMPLED[kind]
    model = compile_graph(graph, "tiny")
    assert all(row.where == "chip" for row in model.placement)
    inputs = random_inputs(graph, 1)
    with ComparingSession(model, boards(PRESETS["tiny"]), boards.golden(PRESETS["tiny"])) as session:
        compared = session.run(inputs)
    assert not compared.differences, compared.differences
    wanted = interpret.evaluate(graph, inputs)
    for name in graph.outputs:
        np.testing.assert_array_equal(compared.result.outputs[name], wanted[name], err_msg=name)


@pytest.mark.parametrize("config", ["tiny", "base"])
@pytest.mark.parametrize("seed", range(6))
def test_random_reshapes(boards, config, seed):
    """Tensors with other channels are written to memory and read back without unused lanes."""
    graph = reshaping_network(500 + seed)
    model = compile_graph(graph, config)
    random = np.random.default_rng(seed)
    inputs = {name: random.integers(0, 256, graph.tensors[name].shape).astype(np.uint8).view(
        graph.tensors[name].dtype) for name in graph.inputs}
    with ComparingSession(model, boards(PRESETS[config]), boards.golden(PRESETS[config])) as session:
        compared = session.run(inputs)
    assert not compared.differences, compared.differences
    wanted = interpret.evaluate(graph, inputs)
    for name in graph.outputs:
        np.testing.assert_array_equal(compared.result.outputs[name], wanted[name], err_msg=name)
