"""Whole networks on the RTL: every byte equal to the golden model's, every output to LiteRT's."""

import lepton.device
import lepton.models
import numpy as np
import pytest
from lepton.compiler import compile_graph
from lepton.frontends import import_tflite
from lepton.runtime import ComparingSession, Session

from tests.system import networks

ON_RTL = 200  # samples of a set; all of ResNet-8's hundred


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


@pytest.mark.parametrize(("name", "config", "count"), [("resnet8", "tiny", 1), ("kws", "small", 1)])
def test_networks_of_mlperf_tiny_on_smaller_chips(boards, name, config, count):
    graph, x, _, path = networks.load(name)
    np.testing.assert_array_equal(compare(boards, graph, config, x[:count]), networks.litert(path, x[:count]))


@pytest.mark.parametrize(("name", "least"), [("resnet8", 0.84), ("kws", 0.90)])
def test_every_labelled_sample_of_mlperf_tiny(boards, name, least):
    """Outputs are LiteRT's sample by sample, so the accuracy is: on the RTL for most of what a minute allows, on golden
    for all. `least` is what the networks reach: less would mean inputs quantized wrongly, for both alike."""
    graph, x, labels, path = networks.load(name)
    outputs = compare(boards, graph, "base", x[:ON_RTL])
    with Session(compile_graph(graph, "base"), boards.golden("base")) as session:
        outputs = np.concatenate([outputs, *(next(iter(session.run(sample[None]).outputs.values()))
                                             for sample in x[ON_RTL:])])
    wanted = networks.litert(path, x)
    assert len(outputs) == len(labels) >= 100
    differ = [i for i, (a, b) in enumerate(zip(outputs, wanted, strict=True)) if not np.array_equal(a, b)]
    assert not differ, f"{len(differ)} of {len(x)} samples differ, the first is {differ[0]}"
    assert (outputs.argmax(1) == labels).mean() == (wanted.argmax(1) == labels).mean() >= least


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
