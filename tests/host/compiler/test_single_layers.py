"""Random layers of every kind on the golden model against the reference kernels, pixel by pixel and in LiteRT."""

import numpy as np
import pytest

from tests.host.compiler.compiler_graphs import CRAMPED, Builder, golden, litert, random_inputs
from tests.host.compiler.compiler_random import OPERATORS, single
from tests.host.compiler.compiler_reference import reference


def same(graph, config, seed, expected):
    outputs, _ = golden(graph, config, random_inputs(graph, seed), seed)
    for name in graph.outputs:
        np.testing.assert_array_equal(outputs[name], expected[name], err_msg=f"{graph.nodes[0].op}")


@pytest.mark.parametrize("config", ["tiny", "small", "base", "large", *CRAMPED])
@pytest.mark.parametrize("kind", OPERATORS)
def test_random_layers(kind, config):
    for seed in range(8):
        graph = single(kind, seed)
        same(graph, CRAMPED.get(config, config), seed, reference(graph, random_inputs(graph, seed)))


def _layers():
    pads = ((1, 0), (1, 1))
    yield "conv", lambda b: b.conv("image", 24, (3, 3), stride=(2, 1), padding=pads)
    yield "conv_dilated", lambda b: b.conv("image", 7, (2, 3), dilation=(2, 2))
    yield "conv_groups", lambda b: b.conv("image", 12, (3, 3), groups=3)
    yield "depthwise", lambda b: b.depthwise("image", (3, 3), stride=(2, 2), padding=pads)
    yield "depthwise_multiplier", lambda b: b.depthwise("image", (3, 3), multiplier=3)
    yield "dense", lambda b: b.dense("image", 33)
    yield "dense_per_channel", lambda b: b.dense("image", 33, per_channel=True)
    yield "average_padded", lambda b: b.average_pool("image", kernel=(3, 3), stride=(1, 1), padding=((1, 1), (1, 1)))
    yield "average_global", lambda b: b.average_pool("image", kernel=(9, 8), stride=(1, 1))
    yield "max", lambda b: b.max_pool("image", kernel=(3, 2), stride=(2, 2))
    yield "mean", lambda b: b.mean("image")
    yield "add", lambda b: b.add(b.conv("image", 21, (1, 1)), "image")
    yield "softmax", lambda b: b.softmax("image", 0.7)


@pytest.mark.parametrize("name,layer", list(_layers()), ids=[name for name, _ in _layers()])
def test_against_litert(name, layer):
    for seed in range(4):
        b = Builder((1, 9, 8, 21), seed)
        layer(b)
        graph = b.done()
        same(graph, "tiny", seed, litert(graph, random_inputs(graph, seed)))


@pytest.mark.parametrize("zero_point", [-128, 127])
def test_extreme_sums_wrap_nowhere(zero_point):
    """All weights -127 on inputs at the end of their range, the zero point at the other: the largest sums there are."""
    b = Builder((1, 6, 6, 256), 3)
    b.conv("image", 16, (3, 3), extreme=True, padding=((1, 1), (1, 1)))
    graph = b.done()
    graph.tensors["image"].quantization.zero_point[0] = zero_point
    inputs = {"image": np.full((1, 6, 6, 256), -1 - zero_point, np.int8)}
    outputs, _ = golden(graph, "base", inputs)
    np.testing.assert_array_equal(outputs["t0"], reference(graph, inputs)["t0"])


@pytest.mark.parametrize("channels,config", [(1, "tiny"), (3, "base"), (4, "large"), (2, "small")])
@pytest.mark.parametrize("stride,pad", [(1, 1), (2, 0), (2, 3)])
def test_few_input_channels_are_folded(channels, config, stride, pad):
    b = Builder((1, 19, 23, channels), 5)
    b.conv("image", 20, (5, 7), stride=(stride, stride), padding=((pad, pad), (pad, 1)))
    graph = b.done()
    inputs = random_inputs(graph, 1)
    outputs, model = golden(graph, config, inputs, 1)
    assert type(model.steps[0].inputs[0].layout).__name__ == "Rows"
    np.testing.assert_array_equal(outputs["t0"], reference(graph, inputs)["t0"])
