"""Whole networks on the RTL: every byte equal to the golden model's, every output to LiteRT's."""

import lepton.device
import lepton.models
import networks
import numpy as np
import pytest
from lepton.compiler import compile_graph
from lepton.frontends import import_tflite
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


def test_mobilenet_v2_of_a_converter():
    """Legacy uint8 edges, 1.6 million cycles; every output LiteRT's."""
    path = networks.DATA / "imagenet" / "mobilenet_v2_1.0_224_ptq.tflite"
    if not path.exists():
        pytest.skip(f"{path} is not there")
    model = compile_graph(import_tflite(path), "base")
    assert [tensor.name for tensor in model.inputs] == ["input"] and model.inputs[0].dtype == "uint8"
    grid = np.add.outer(np.arange(224), np.arange(224))
    image = np.stack([(grid * step) % 256 for step in (1, 3, 7)], -1).astype(np.uint8)[None]
    memory = {"memory_bytes": 1 << 25}
    with (lepton.device.open("rtl", config="base", **memory) as rtl,
          lepton.device.open("golden", config="base", **memory) as golden,
          ComparingSession(model, rtl, golden) as session):
        compared = session.run(image)
    assert not compared.differences, str(compared.differences[0])
    (output,) = compared.result.outputs.values()
    np.testing.assert_array_equal(output, networks.litert(path, image))
