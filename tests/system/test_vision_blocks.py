"""Blocks of vision networks from PyTorch: one job without a step on the host, on the RTL as on the golden model."""

import numpy as np
import pytest
from lepton.arch import PRESETS
from lepton.compiler import compile_graph
from lepton.program import ChipStep
from lepton.runtime import ComparingSession

torch = pytest.importorskip("torch")
pytest.importorskip("torchao")

from lepton.frontends.torch import convert, import_converted  # noqa: E402

from tests.host.frontends.torch.vision_blocks import BLOCKS  # noqa: E402

EDGES = {"Quantize", "Dequantize", "Transpose", "Reshape"}


@pytest.mark.parametrize("name", BLOCKS)
def test_a_block_is_one_job(boards, name):
    torch.manual_seed(5)
    torch.set_num_threads(1)
    module = BLOCKS[name]().eval()
    converted, example = convert(module, [torch.randn(1, 8, 8, 8) for _ in range(4)])
    graph = import_converted(converted, (example,), name)
    model = compile_graph(graph, "tiny")
    assert len([step for step in model.steps if isinstance(step, ChipStep)]) == 1
    assert {row.op for row in model.placement if row.where == "host"} <= EDGES
    image = torch.randn(1, 8, 8, 8)
    with ComparingSession(model, boards(PRESETS["tiny"]), boards.golden(PRESETS["tiny"])) as session:
        compared = session.run({graph.inputs[0]: image.numpy()})
    assert not compared.differences, compared.differences
    with torch.no_grad():
        theirs = converted(image).numpy().ravel()
        real = module(image).numpy().ravel()
    made = compared.result.outputs[graph.outputs[0]].ravel()
    for other, least in ((theirs, 0.998), (real, 0.99)):
        cosine = float(made @ other / np.linalg.norm(made) / np.linalg.norm(other))
        assert cosine > least, f"{name}: {cosine}"
