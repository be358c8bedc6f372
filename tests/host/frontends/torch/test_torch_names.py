"""What layers are called: by their place in the module, and by the operator where that is only a number."""

import torch
from lepton.frontends.torch import quantize
from lepton.graph import Conv2D, FullyConnected
from torch import nn


def names(module, shape):
    graph = quantize(module.eval(), [torch.rand(4, *shape)])
    return [node.name for node in graph.nodes if isinstance(node.op, Conv2D | FullyConnected)]


def test_layers_of_a_sequential_say_what_they_are():
    inner = nn.Sequential(nn.Conv2d(2, 3, 1), nn.ReLU())
    module = nn.Sequential(nn.Conv2d(1, 2, 3), nn.ReLU(), inner, nn.Flatten(), nn.Linear(27, 4))
    assert names(module, (1, 5, 5)) == ["0.conv2d", "2.0.conv2d", "4.linear"]


def test_named_layers_keep_their_names():
    module = nn.Sequential()
    module.add_module("first", nn.Linear(6, 5))
    module.add_module("second", nn.Linear(5, 4))
    assert names(module, (6,)) == ["first", "second"]
