"""Networks that were not made here, labelled samples of them, and LiteRT's own outputs."""

from pathlib import Path

import numpy as np
import pytest
from lepton.frontends import import_tflite

DATA = Path(__file__).resolve().parents[3] / "shared" / "data"

# MLPerf Tiny: folder, network, samples. The image network takes pixel - 128, exactly.
FILES = {
    "resnet8": ("ic", "resnet8_int8.tflite", "ic01_100.npz"),
    "kws": ("kws", "kws_ref_model.tflite", "kws01_500.npz"),
}


def load(name):
    """(graph, inputs int8, labels, path); skips the test where the files are not there."""
    folder, network, samples = FILES[name]
    path = DATA / folder / network
    if not path.exists():
        pytest.skip(f"{path} is not there: MLPerf Tiny's networks are not part of the repository")
    with np.load(path.parent / samples) as arrays:
        x = arrays["x"]
        labels = arrays["y"]
    if x.dtype == np.uint8:
        x = (x.astype(np.int16) - 128).astype(np.int8)
    return import_tflite(path), x, labels, path


def litert(path, samples):
    """Outputs of LiteRT's reference kernels for a network with one input and one output, int8 (N, ...)."""
    module = pytest.importorskip("ai_edge_litert.interpreter")
    interpreter = module.Interpreter(model_path=str(path),
                                     experimental_op_resolver_type=module.OpResolverType.BUILTIN_REF)
    interpreter.allocate_tensors()
    (taken,) = interpreter.get_input_details()
    (given,) = interpreter.get_output_details()
    outputs = []
    for sample in samples:
        interpreter.set_tensor(taken["index"], sample[None])
        interpreter.invoke()
        outputs.append(interpreter.get_tensor(given["index"])[0])
    return np.array(outputs)
