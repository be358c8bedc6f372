"""What `lepton compile` predicts a layer to cost, against the chip's own counters: design's default chip and memory."""

import pytest
from lepton.compiler import compile_graph
from lepton.models import topologies
from lepton.runtime import Session

SMALL = 140  # cycles: layers so short that waiting for the layer before shows


@pytest.mark.parametrize("name", ["tiny_ic", "tiny_vww", "tiny_kws", "tiny_ad", "mobilenet_v1", "mobilenet_v2"])
def test_layers_take_what_was_predicted(boards, name):
    graph = topologies.build(name)
    model = compile_graph(graph, "base")
    with Session(model, boards("base")) as session:
        report = session.run(topologies.random_inputs(graph)).report
    rows = [row for row in report.rows if row.op]
    predicted = {layer.name: layer.plan.cycles for layer in model.layers}
    assert [row.name for row in rows] == list(predicted)
    off = {row.name: (predicted[row.name], row.cycles) for row in rows
           if abs(predicted[row.name] - row.cycles) > max(0.05 * row.cycles, SMALL)}
    assert not off, f"(predicted, counted): {off}"
    assert sum(predicted.values()) == pytest.approx(report.cycles, rel=0.02)
