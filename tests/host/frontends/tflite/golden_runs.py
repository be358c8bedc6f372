"""Networks run on the golden device and compared with LiteRT's reference kernels; short names for their tensors."""

import numpy as np
from lepton.compiler import compile_graph
from lepton.device import open as open_device
from lepton.frontends import import_tflite
from lepton.runtime import Session

from tests.litert_models import Tensor, references


def run(model: bytes, *inputs: np.ndarray) -> list[np.ndarray]:
    graph = import_tflite(model)
    compiled = compile_graph(graph, "tiny")
    with open_device("golden", config="tiny") as device, Session(compiled, device) as session:
        outputs = session.run(dict(zip(graph.inputs, inputs, strict=True))).outputs
    return [outputs[name] for name in graph.outputs]


def same(model: bytes, *inputs: np.ndarray, tolerance: float = 0, optimized: bool = False) -> None:
    for got, wanted in zip(run(model, *inputs), references(model, *inputs, optimized=optimized), strict=True):
        assert got.dtype == wanted.dtype and got.shape == wanted.shape
        np.testing.assert_allclose(got, wanted, rtol=tolerance, atol=tolerance)


def quantized(*shape, scale=0.05, zero=3) -> Tensor:
    return Tensor(scale, zero, shape=shape)


def of(dtype, *shape) -> Tensor:
    return Tensor(shape=shape, dtype=dtype)


def constant(values, dtype=np.int32) -> Tensor:
    return Tensor(data=np.array(values, dtype))
