"""Random valid networks of any rank give LiteRT's bytes on the golden device, whatever their inputs and outputs are."""

from itertools import cycle

import pytest

pytest.importorskip("ai_edge_litert")

import lepton.device
import numpy as np
from lepton.compiler import compile_graph
from lepton.frontends import import_tflite
from lepton.runtime import Session

from tests.host.frontends.tflite.random_attention import RandomAttention
from tests.host.frontends.tflite.random_graphs import RandomGraph
from tests.litert_models import references
from tests.seeds import FIXED, seeds


def check(network: RandomGraph, config: str = "tiny") -> set[str]:
    """Compare a network with LiteRT; the operators that the chip computed."""
    graph = import_tflite(network.model)
    compiled = compile_graph(graph, config)
    with lepton.device.open("golden", config=config) as device, Session(compiled, device) as session:
        got = session.run(dict(zip(graph.inputs, network.inputs, strict=True))).outputs
    for name, wanted in zip(graph.outputs, references(network.model, *network.inputs), strict=True):
        assert got[name].dtype == wanted.dtype
        np.testing.assert_array_equal(got[name], wanted, name)
    return {row.op for row in compiled.placement if row.where == "chip"}


@pytest.mark.parametrize("seed", range(60))
def test_any_valid_network(seed):
    check(RandomGraph(seed))


@pytest.mark.parametrize("seed", seeds())
def test_attention_gates_and_norms(seed):
    on_chip: set[str] = set()
    for part, config in zip(range(40), cycle(("tiny", "base", "small"))):
        try:
            on_chip |= check(RandomAttention([seed, part]), config)
        except AssertionError as error:
            raise AssertionError(f"network {part} of seed {seed}") from error
    assert seed != FIXED or on_chip >= {"HeadProduct", "Softmax", "Mul", "Table"}
