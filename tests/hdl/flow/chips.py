"""The Verilog of the tests' chip, made once a process, and MNIST on it."""

from functools import cache

import numpy as np
from lepton import models
from lepton.arch import PRESETS
from lepton.compiler import compile_graph
from lepton.runtime import Session
from lepton_hdl.flow.verilog import Sources, sources
from lepton_sim.rtl_device import RtlDevice

CONFIG = PRESETS["tiny"]


@cache
def tiny() -> Sources:
    """The Verilog of `tiny`."""
    return sources(CONFIG)


def mnist(device: RtlDevice, images: int) -> list[tuple[int, np.ndarray]]:
    """Cycles and output of each image; the device's memory is written."""
    model = models.load("mnist")
    with Session(compile_graph(model.graph(), CONFIG), device) as session:
        results = [session.run(model.inputs[i:i + 1]) for i in range(images)]
    for i, result in enumerate(results):
        (output,) = result.outputs.values()
        assert np.array_equal(output.ravel(), model.outputs[i].ravel()), f"image {i} differs from LiteRT's output"
    return [(result.report.cycles, output) for result in results for output in result.outputs.values()]
