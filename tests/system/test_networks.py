"""Whole networks on the RTL: every byte equal to the golden model's, every output to LiteRT's."""

import lepton.models
import networks
import numpy as np
import pytest
from lepton.compiler import compile_graph
from lepton.runtime import ComparingSession


def compare(boards, graph, config, samples):
    """Outputs of the only output tensor, int8 (N, ...), after holding the board against the golden model."""
    model = compile_graph(graph, config)
    outputs = []
    with ComparingSession(model, boards(config), boards.golden(config)) as session:
        for sample in samples:
            compared = session.run(sample[None])
            assert not compared.differences, "\n".join(map(str, compared.differences))
            assert compared.bytes_compared >= sum(
                step.output_size + step.scratch_size for step in model.steps if hasattr(step, "program")) > 0
            outputs.append(compared.result.outputs[model.outputs[0].name][0])
            check_report(compared.result.report, model)
    return np.array(outputs)


def check_report(report, model):
    """The causes add up, in total and for every layer, and nothing is counted twice."""
    assert sum(report.causes.values()) == report.cycles
    for row in report.rows:
        assert sum(row.causes.values()) == row.cycles, row.name
    assert sum(row.cycles for row in report.rows) == report.cycles
    assert [row.name for row in report.rows if row.op] == [layer.name for layer in model.layers]
    assert sum(row.macs for row in report.rows) == model.macs
    assert report.causes["COMPUTE"] * model.config.macs_per_cycle >= model.macs


@pytest.mark.parametrize(("config", "images"), [("tiny", range(3)), ("small", range(3, 6)), ("base", range(8))])
def test_the_shipped_network(boards, config, images):
    model = lepton.models.load("mnist")
    images = list(images)
    outputs = compare(boards, model.graph(), config, model.inputs[images])
    np.testing.assert_array_equal(outputs, model.outputs[images])
    assert (outputs.argmax(1) == model.labels[images]).all()


@pytest.mark.parametrize(("name", "config", "count"), [
    ("resnet8", "base", 3), ("resnet8", "tiny", 1), ("kws", "base", 3), ("kws", "small", 1)])
def test_networks_of_mlperf_tiny(boards, name, config, count):
    graph, x, labels, path = networks.load(name)
    samples = x[:count]
    outputs = compare(boards, graph, config, samples)
    np.testing.assert_array_equal(outputs, networks.litert(path, samples))
    assert (outputs.argmax(1) == labels[:count]).mean() >= 0.5, "labels do not fit: were the inputs quantized wrongly?"
