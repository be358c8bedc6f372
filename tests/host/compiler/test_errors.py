"""What cannot be compiled is refused with the operator, the value and what would do."""

import re

import numpy as np
import pytest
from lepton.arch import PRESETS, ConfigError
from lepton.compiler import compile_graph
from lepton.graph import GraphError, Node, Op

from tests.host.compiler.compiler_graphs import Builder


def one_conv(**attributes):
    b = Builder((1, 8, 8, 4))
    b.conv("image", 8, (3, 3), **attributes)
    return b.done()


def refused(graph, text, config="tiny"):
    with pytest.raises(GraphError, match=text):
        compile_graph(graph, config)


def test_unknown_configuration():
    with pytest.raises(ConfigError, match="config must be one of tiny, small, base, large or a ChipConfig, not 'huge'"):
        compile_graph(one_conv(), "huge")


def test_unknown_operator():
    class Tanh(Op):
        def infer(self, inputs):
            return inputs[0].shape, np.dtype(np.int8)

        def compute(self, call):
            return np.tanh(call.values[0])

    graph = one_conv()
    graph.nodes.append(Node(Tanh(), ["t0"], ["t0"], "squash"))
    refused(graph, "Tanh 'squash': operator Tanh is not supported; supported are .*Conv2D, DepthwiseConv2D, ")


def test_batch():
    graph = one_conv()
    graph.tensors["image"].shape = (2, 8, 8, 4)
    refused(graph, "Conv2D 'n0': 't0' must have shape \\(2, 6, 6, 8\\), not \\(1, 6, 6, 8\\)")


def test_data_type():
    graph = one_conv()
    graph.tensors["image"].dtype = np.dtype(np.float32)
    refused(graph, "Conv2D 'n0': 'image' must be int8, not float32; quantize the network to int8")


def test_weights():
    graph = one_conv()
    graph.tensors["w0"].quantization.zero_point[3] = 200
    refused(graph, "Conv2D 'n0': the zero point of 'w0' must be in -128..127, not 200")
    graph = one_conv()
    graph.tensors["w0"].data = None
    refused(graph, "weights 'w0' must be constant; computed weights are not supported")


def test_shapes():
    graph = one_conv()
    graph.tensors["t0"].shape = (1, 8, 8, 8)
    refused(graph, r"'t0' must have shape \(1, 6, 6, 8\), not \(1, 8, 8, 8\)")
    b = Builder((1, 4, 4, 4))
    b._activation("other", (1, 1, 1, 4))
    b.graph.inputs.append("other")
    b.add("image", "other")
    b.graph.tensors["t0"].shape = (1, 2, 4, 4)
    refused(b.done(), r"Add 'n0': 't0' must have shape \(1, 4, 4, 4\), not \(1, 2, 4, 4\)")
    b.graph.tensors["other"].shape = (1, 3, 1, 4)
    refused(b.done(), r"shapes \(1, 4, 4, 4\) and \(1, 3, 1, 4\) do not broadcast")


def test_order_and_names():
    graph = one_conv()
    graph.nodes[0].inputs[0] = "nowhere"
    refused(graph, "tensor 'nowhere' is not in the graph")
    graph = one_conv()
    graph.inputs = ["w0b"]
    refused(graph, "input 'w0b' must not be a constant")
    graph = one_conv()
    graph.outputs = ["w0"]
    refused(graph, "nothing produces output 'w0'")


def on_host(graph, text, config="tiny"):
    """The graph compiles, with its only node on the host for the reason given."""
    model = compile_graph(graph, config)
    (row,) = model.placement
    assert row.where == "host" and re.search(text, row.reason), row
    assert len(model.steps) == 1 and not model.layers
    return row


def test_limits_of_commands():
    b = Builder((1, 1, 300, 4))
    b.conv("image", 4, (1, 300))
    row = on_host(b.done(), r"kernel \(1, 300\) is above 255")
    assert row.macs == 4 * 4 * 300
    b = Builder((1, 300, 1, 4))
    b.max_pool("image", kernel=(1, 1), stride=(256, 1))
    on_host(b.done(), r"stride \(256, 1\) is above 255")


def test_a_network_larger_than_the_memory_map():
    b = Builder((1, 32000, 32000, 8))
    b.max_pool("image", kernel=(1, 1), stride=(255, 255))
    refused(b.done(), "network 'network' needs 8192000000 bytes in region INPUT; a region has at most 4294967295 "
            "bytes: use smaller images or split the network")


def test_a_window_of_nothing_but_padding():
    b = Builder((1, 4, 4, 4))
    b.average_pool("image", kernel=(2, 2), stride=(1, 1), padding=((2, 0), (0, 0)))
    refused(b.done(), r"padding \(\(2, 0\), \(0, 0\)\) must be less than the kernel \(2, 2\), "
            "or a window lies wholly in the padding")


def test_a_layer_that_does_not_fit():
    b = Builder((1, 60, 60, 4))
    b.mean("image")
    chip = PRESETS["tiny"].with_(name="toy", scratchpad_kib=8)
    on_host(b.done(), r"layer 'n0' \(Mean, \(1, 60, 60, 4\) to \(1, 1, 1, 4\)\) does not fit chip 'toy': its smallest "
            "tiles need 14404 bytes and the scratchpad has 8192; .* compile for a larger configuration", chip)
    chip = PRESETS["base"].with_(name="toy", lanes=64, columns=64, weight_kib=8)
    on_host(one_conv(), "one tile of weights need 4736 bytes and half of the weight memory has 4096", chip)
