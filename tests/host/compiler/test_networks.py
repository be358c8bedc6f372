"""Whole networks on the golden model, which checks every program for races."""

from pathlib import Path

import numpy as np
import pytest
from lepton.arch import PRESETS

from tests.host.compiler.compiler_graphs import CRAMPED, Builder, golden, litert, litert_file, random_inputs
from tests.host.compiler.compiler_random import network
from tests.host.compiler.compiler_reference import reference

SHARED = Path(__file__).parents[4] / "shared" / "data"
FILES = {"resnet8": (SHARED / "ic" / "resnet8_int8.tflite", SHARED / "ic" / "ic01_100.npz"),
         "kws": (SHARED / "kws" / "kws_ref_model.tflite", SHARED / "kws" / "kws01_500.npz")}


@pytest.mark.parametrize("config", ["tiny", "base", *CRAMPED])
@pytest.mark.parametrize("seed", range(12))
def test_random_networks(seed, config):
    graph = network(seed)
    inputs = random_inputs(graph, seed)
    # the golden model takes the engines' turns at random, another way for each seed
    outputs, _ = golden(graph, CRAMPED.get(config, config), inputs, seed)
    for name, expected in reference(graph, inputs).items():
        np.testing.assert_array_equal(outputs[name], expected)


@pytest.mark.parametrize("config", ["tiny", "base"])
@pytest.mark.parametrize("name", FILES)
def test_published_networks(name, config):
    interpreter = pytest.importorskip("ai_edge_litert.interpreter")
    file, samples = FILES[name]
    if not file.exists():
        pytest.skip(f"{file.name} is not there: ../shared is absent")
    from lepton.frontends import import_tflite
    graph = import_tflite(file)
    # the scores before the softmax too: after it most of them are -128 or 127
    softmax = graph.nodes[-1]
    graph.outputs = [*softmax.outputs, *softmax.inputs]
    data = np.load(samples)
    images = data[data.files[0]]
    shape = graph.tensors[graph.inputs[0]].shape
    inputs = [random_inputs(graph, 1)]
    if images.dtype == np.int8 and images[0].size == np.prod(shape):
        inputs += [{graph.inputs[0]: images[i].reshape(shape)} for i in (0, 1)]
    for values in inputs:
        outputs, model = golden(graph, config, values)
        one = type(graph)(graph.name, graph.tensors, graph.nodes, graph.inputs, softmax.outputs)
        expected = litert_file(file.read_bytes(), values, one, interpreter)
        np.testing.assert_array_equal(outputs[softmax.outputs[0]], expected[softmax.outputs[0]])
        assert len(model.steps) == 2, "one job, then softmax on the host"


@pytest.mark.parametrize("config", ["small", "base"])
def test_first_layers_of_a_large_network(config):
    """Activations many times the scratchpad: stripes through memory, depthwise layers and a shortcut."""
    b = Builder((1, 96, 96, 3), 7)
    x = b.conv("image", 32, (3, 3), stride=(2, 2), padding=((0, 1), (0, 1)))
    x = b.conv(b.depthwise(x, (3, 3), padding=((1, 1), (1, 1))), 48, (1, 1))
    y = b.conv(x, 160, (1, 1))
    y = b.conv(b.depthwise(y, (3, 3), padding=((1, 1), (1, 1))), 48, (1, 1))
    x = b.max_pool(b.add(x, y), kernel=(2, 2))
    graph = b.done(b.dense(b.mean(x), 10), x)
    inputs = random_inputs(graph, 1)
    outputs, model = golden(graph, config, inputs, 3)
    assert model.steps[0].scratch_size > PRESETS[config].scratchpad_bytes
    for name, expected in litert(graph, inputs).items():
        np.testing.assert_array_equal(outputs[name], expected)


def test_reshapes_and_host_operators_in_the_middle():
    b = Builder((1, 6, 5, 8), 2)
    x = b.conv("image", 12, (3, 3))
    x = b.softmax(x)  # on the host of a chip without ROWS, so that the rest is another job
    x = b.reshape(x, (1, 6, 6, 4))  # changes the channels: the host lays it out so
    x = b.conv(x, 9, (3, 3))
    x = b.reshape(b.reshape(x, (1, 1, 16, 9)), (1, 2, 8, 9))  # keeps them: costs nothing
    x = b.conv(x, 6, (2, 2))
    graph = b.done(b.dense(b.reshape(x, (1, 42)), 5))
    inputs = random_inputs(graph, 1)
    outputs, model = golden(graph, PRESETS["tiny"].with_(name="no_rows", row_lanes=0), inputs)
    assert [type(s).__name__ for s in model.steps] == ["ChipStep", "HostStep", "ChipStep"]
    for name, expected in litert(graph, inputs).items():
        np.testing.assert_array_equal(outputs[name], expected)


def test_inputs_seen_in_two_shapes_and_several_inputs():
    b = Builder((1, 4, 6, 16), 4)
    b._activation("second", (1, 4, 6, 16))
    b.graph.inputs.append("second")
    x = b.add("image", "second")
    y = b.conv(b.reshape("image", (1, 6, 4, 16)), 16, (1, 1))
    graph = b.done(x, b.dense(y, 7))
    inputs = random_inputs(graph, 1)
    outputs, _ = golden(graph, "tiny", inputs)
    for name, expected in reference(graph, inputs).items():
        np.testing.assert_array_equal(outputs[name], expected)
