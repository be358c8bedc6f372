"""Random modules of attention, gates and normalizations: the golden device has the bytes of the host's kernels, which
are next to those of PyTorch's quantized module."""

import warnings
from itertools import cycle

import numpy as np
import pytest

torch = pytest.importorskip("torch")

import lepton.device  # noqa: E402
from lepton.compiler import compile_graph  # noqa: E402
from lepton.frontends.torch import convert, import_converted  # noqa: E402
from lepton.graph.interpret import evaluate  # noqa: E402
from lepton.runtime import Session  # noqa: E402

from tests.host.frontends.torch.random_attention import RandomAttention  # noqa: E402
from tests.seeds import FIXED, seeds  # noqa: E402

NETWORKS = 8  # each takes half a second to be exported and calibrated


def check(network: RandomAttention, config: str) -> set[str]:
    """The operators that the chip computed."""
    converted, example = convert(network, [torch.randn(network.example) for _ in range(3)])
    graph = import_converted(converted, (example,), "random")
    x = torch.randn(tuple(graph.tensors[graph.inputs[0]].shape))
    with torch.no_grad():
        theirs = converted(x).numpy()
    feeds = {graph.inputs[0]: x.numpy()}
    ours = evaluate(graph, feeds)[graph.outputs[0]]
    model = compile_graph(graph, config)
    with lepton.device.open("golden", config=config) as device, Session(model, device) as session:
        (made,) = session.run(feeds).outputs.values()
    on_chip = {row.op for row in model.placement if row.where == "chip"}
    np.testing.assert_array_equal(made, ours)
    assert ours.shape == theirs.shape
    lengths = np.linalg.norm(ours) * np.linalg.norm(theirs)
    assert np.array_equal(ours, theirs) or np.vdot(ours, theirs) >= 0.99 * lengths
    return on_chip


@pytest.mark.parametrize("seed", seeds())
def test_random_attention(seed):
    torch.set_num_threads(1)
    on_chip: set[str] = set()
    for part, config in zip(range(NETWORKS), cycle(("tiny", "base", "small")), strict=False):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            try:
                on_chip |= check(RandomAttention([seed, part]).eval(), config)
            except AssertionError as error:
                raise AssertionError(f"network {part} of seed {seed}: {error}") from error
    assert seed != FIXED or on_chip >= {"FullyConnected", "Mul"}
