"""Quantized networks on the golden model, against ONNX Runtime."""

import lepton.device
import numpy as np
from lepton.compiler import compile_graph
from lepton.frontends.onnx import import_onnx
from lepton.runtime import Session

from tests.host.frontends.onnx.onnx_models import reference


def compare(model, config, samples):
    """Runs the samples on the golden model; returns the compiled program."""
    compiled = compile_graph(import_onnx(model), config)
    name = compiled.inputs[0].name
    with lepton.device.open("golden", config=compiled.config) as device, Session(compiled, device) as session:
        for sample in samples:
            outputs = session.run({name: sample}).outputs
            wanted = reference(model, {name: sample})
            for value, want in zip(model.graph.output, wanted, strict=True):
                np.testing.assert_array_equal(outputs[value.name], want, value.name)
    return compiled
