"""Random small networks on chips of several shapes and memories of several speeds.

Every byte that programs write must be the golden model's, which also checks for races; outputs must be those of
LiteRT's reference kernels, or of the kernels written out in `compiler_reference` where a TFLite file cannot say
what the graph does.
"""

import zlib

import lepton.device
import numpy as np
import pytest
from lepton.compiler import compile_graph
from lepton.graph import GraphError
from lepton.runtime import ComparingSession

from tests.host.compiler import compiler_random
from tests.host.compiler.compiler_graphs import Builder, litert, random_inputs
from tests.host.compiler.compiler_reference import reference
from tests.system.random_configs import CONFIGS, MEMORIES

ROUNDS = 3  # of one graph with every operator, and a network


def graphs(config, memory):
    """Other graphs for every configuration and memory, always the same ones."""
    base = zlib.crc32(f"{config} {memory}".encode()) % 100_000
    for i, kind in enumerate((*compiler_random.OPERATORS, "network") * ROUNDS):
        seed = 100 * base + i
        yield seed, compiler_random.network(seed) if kind == "network" else compiler_random.single(kind, seed)


def expected(graph, inputs):
    """(who says so, outputs)"""
    try:
        return "LiteRT", litert(graph, inputs)
    except GraphError:  # clamps and paddings that TFLite has no words for
        return "written out", reference(graph, inputs)


def check(board, golden, graph, seed):
    """Run a graph on both devices; returns the reference that it was compared with."""
    model = compile_graph(graph, board.config)
    inputs = random_inputs(graph, seed)
    with ComparingSession(model, board, golden) as session:
        compared = session.run(inputs)
    assert not compared.differences, (graph, compared.differences)
    report = compared.result.report
    assert sum(report.causes.values()) == report.cycles
    # The host takes a fully connected layer that rounds in a way of its own (docs/decisions/09).
    assert report.cycles or {type(step).__name__ for step in model.steps} == {"HostStep"}
    source, outputs = expected(graph, inputs)
    for name, wanted in outputs.items():
        np.testing.assert_array_equal(compared.result.outputs[name], wanted, err_msg=f"{source}, seed {seed}")
    return source


@pytest.mark.parametrize("memory", MEMORIES)
@pytest.mark.parametrize("config", CONFIGS)
def test_random_graphs(boards, config, memory):
    chip = CONFIGS[config]
    # Its own board: with random stalls, what comes before would change what a graph meets.
    with lepton.device.open("rtl", config=chip, memory=memory, memory_bytes=boards.MEMORY_BYTES) as board:
        held = [check(board, boards.golden(chip), graph, seed) for seed, graph in graphs(config, memory)]
    assert held.count("LiteRT") >= 5 and held.count("written out") >= 2, held


def extreme_graphs():
    """Corners that random shapes seldom meet."""
    for weights in (True, False):  # all -127, and random
        b = Builder((1, 3, 3, 19), 5)
        b.conv("image", 21, (3, 3), padding=((1, 1), (1, 1)), extreme=weights)
        yield "sums as large as they get" if weights else "the same, random", b.done()
    b = Builder((1, 1, 1, 1), 6)
    b.dense(b.conv("image", 1, (1, 1)), 1)
    yield "one pixel, one channel", b.done()
    b = Builder((1, 1, 40, 5), 7)
    b.conv(b.conv("image", 7, (1, 9), stride=(1, 3)), 9, (1, 3), dilation=(1, 4))
    yield "one row", b.done()
    b = Builder((1, 40, 1, 17), 8)
    b.depthwise(b.max_pool("image", kernel=(3, 1), stride=(2, 1)), (5, 1), multiplier=1, stride=(3, 1),
                padding=((2, 2), (0, 0)))
    yield "one column", b.done()
    b = Builder((1, 2, 2, 3), 9)
    b.conv("image", 4, (3, 3), padding=((2, 2), (2, 2)), dilation=(2, 2))
    yield "mostly padding", b.done()
    b = Builder((1, 6, 6, 12), 10)
    b.add(b.conv("image", 12, (1, 1), groups=4), "image")
    yield "grouped shortcut", b.done()


@pytest.mark.parametrize("values", [-128, 127])
@pytest.mark.parametrize("config", ["tiny", "small", "base"])
def test_extreme_graphs(boards, config, values):
    for name, graph in extreme_graphs():
        model = compile_graph(graph, config)
        inputs = {"image": np.full(graph.tensors["image"].shape, values, np.int8)}
        with ComparingSession(model, boards(CONFIGS[config]), boards.golden(CONFIGS[config])) as session:
            compared = session.run(inputs)
        assert not compared.differences, (name, compared.differences)
        wanted = expected(graph, inputs)[1][graph.outputs[0]]
        np.testing.assert_array_equal(compared.result.outputs[graph.outputs[0]], wanted, err_msg=name)
