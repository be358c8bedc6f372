"""Random valid networks of any rank give LiteRT's bytes on the golden device, whatever their inputs and outputs are."""

import pytest

pytest.importorskip("ai_edge_litert")

import lepton.device
import numpy as np
from lepton.compiler import compile_graph
from lepton.frontends import import_tflite
from lepton.runtime import Session

from tests.host.frontends.tflite.random_graphs import RandomGraph
from tests.litert_models import references


@pytest.mark.parametrize("seed", range(60))
def test_any_valid_network(seed):
    network = RandomGraph(seed)
    graph = import_tflite(network.model)
    compiled = compile_graph(graph, "tiny")
    with lepton.device.open("golden", config="tiny") as device, Session(compiled, device) as session:
        got = session.run(dict(zip(graph.inputs, network.inputs, strict=True))).outputs
    for name, wanted in zip(graph.outputs, references(network.model, *network.inputs), strict=True):
        assert got[name].dtype == wanted.dtype
        np.testing.assert_array_equal(got[name], wanted, name)
