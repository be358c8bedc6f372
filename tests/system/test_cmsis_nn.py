"""Conformance with the CMSIS-NN test vectors: all that the operator list covers on golden, a sample on RTL."""

import lepton.device
import numpy as np
import pytest
from lepton.compiler import compile_graph
from lepton.program import ChipStep
from lepton.runtime import Session

from tests.system import cmsis_nn

FILES = cmsis_nn.files()
pytestmark = pytest.mark.skipif(not FILES, reason="../shared/data/cmsis_nn is absent")
COVERED = [path for path in FILES if cmsis_nn.covered(path)]
ON_RTL = ("avgpooling_2", "basic", "conv_1_x_n_2", "conv_2x3_dilation", "depthwise_2", "depthwise_kernel_3x3",
          "fully_connected", "fc_per_ch", "grouped_conv_4", "conv_3", "maxpooling_3", "conv_out_activation",
          "stride2pad1", "depthwise_x_stride", "add")


def run(path, device_name: str) -> None:
    case = cmsis_nn.load(path)
    model = compile_graph(case.graph, "tiny")
    if device_name == "rtl":
        assert any(isinstance(step, ChipStep) for step in model.steps), "nothing of it runs on the chip"
    inputs = dict(zip(case.graph.inputs, case.inputs, strict=True))
    with lepton.device.open(device_name, config="tiny") as device, Session(model, device) as session:
        (output,) = session.run(inputs).outputs.values()
    np.testing.assert_array_equal(output, case.expected)


@pytest.mark.parametrize("path", COVERED, ids=lambda path: path.stem)
def test_on_the_golden_device(path):
    run(path, "golden")


@pytest.mark.parametrize("path", [path for path in FILES if path.stem in ON_RTL], ids=lambda path: path.stem)
def test_a_sample_on_rtl(path):
    run(path, "rtl")


def test_most_files_are_covered():
    assert len(COVERED) >= 90 and len(FILES) == 108
