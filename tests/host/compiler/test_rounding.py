"""LiteRT's reference kernels round fully connected layers once, convolutions twice; both come out exactly."""

import numpy as np
import pytest

from tests.host.compiler.compiler_graphs import Builder, golden, litert


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("kind", ["dense", "dense per channel", "conv"])
def test_rounding_is_litert_s(kind, seed):
    """Few inputs and many outputs: the other rounding would show in about one of a thousand values."""
    b = Builder((1, 1, 1, 16), seed)
    if kind == "conv":
        b.conv("image", 1500, (1, 1))
    else:
        b.dense("image", 1500, per_channel=kind != "dense")
    graph = b.done()
    inputs = {"image": np.random.default_rng(seed).integers(-128, 128, (1, 1, 1, 16)).astype(np.int8)}
    outputs, _ = golden(graph, "base", inputs)
    for name, wanted in litert(graph, inputs).items():
        np.testing.assert_array_equal(outputs[name], wanted)
