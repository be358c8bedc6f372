"""Products of two computed tensors on the RTL: attention's, with weights from memory, against golden and kernels."""

import numpy as np
import pytest
from lepton.arch import PRESETS
from lepton.compiler import compile_graph
from lepton.graph import interpret
from lepton.runtime import ComparingSession

from tests.host.compiler.compiler_attention import attention
from tests.host.compiler.compiler_graphs import random_inputs


@pytest.mark.parametrize("sizes", [(10, 13, 2, 16, 2, (5, -7, 0)), (33, 21, 3, 5, 3, (-128, 9, -128)),
                                   (40, 37, 3, 8, 7, (0, 3, 0), True)])
def test_attention_on_the_rtl(boards, sizes):
    """Heads of whole blocks and not, zero points of both operands, softmax during products; predicted within 8 %."""
    graph = attention(*sizes)
    model = compile_graph(graph, "tiny")
    inputs = random_inputs(graph, 1)
    with ComparingSession(model, boards("tiny"), boards.golden(PRESETS["tiny"])) as session:
        compared = session.run(inputs)
    assert not compared.differences
    wanted = interpret.evaluate(graph, inputs)
    for name in graph.outputs:
        np.testing.assert_array_equal(compared.result.outputs[name], wanted[name])
    assert model.cycles == pytest.approx(compared.result.report.cycles, rel=0.08)
