"""Random tensors of models, and their execution on the golden device against LiteRT's reference kernels."""

import lepton.device
import numpy as np
from lepton.compiler import compile_graph
from lepton.frontends import import_tflite
from lepton.runtime import Session

from tests.litert_models import Tensor, references

SAME = 0
VALID = 1
RELU = 1
RELU6 = 3


def compare(model: bytes, *inputs: np.ndarray, config="tiny") -> None:
    """All outputs, byte for byte."""
    graph = import_tflite(model)
    compiled = compile_graph(graph, config)
    with lepton.device.open("golden", config=config) as device, Session(compiled, device) as session:
        got = session.run(dict(zip(graph.inputs, inputs, strict=True))).outputs
    for name, expected in zip(graph.outputs, references(model, *inputs), strict=True):
        assert got[name].dtype == expected.dtype
        np.testing.assert_array_equal(got[name], expected, name)


class Case:
    """Random tensors of one model."""

    def __init__(self, seed: int):
        self.random = np.random.default_rng(seed)

    def scale(self, low=-2.5, high=-0.5) -> float:
        return float(np.float32(10 ** self.random.uniform(low, high)))

    def activation(self, *shape, scale=None, zero=None, dtype=np.int8) -> Tensor:
        info = np.iinfo(dtype)
        zero = int(self.random.integers(info.min, info.max + 1)) if zero is None else zero
        return Tensor(self.scale() if scale is None else scale, zero, shape=shape, dtype=dtype)

    def like(self, tensor: Tensor, *shape) -> Tensor:
        return Tensor(tensor.scale, int(tensor.zero[0]), shape=shape, dtype=tensor.dtype)

    def values(self, tensor: Tensor) -> np.ndarray:
        if tensor.dtype == np.float32:
            return self.random.normal(0, 2, tensor.shape).astype(np.float32)
        info = np.iinfo(tensor.dtype)
        data = self.random.integers(info.min, info.max + 1, tensor.shape).astype(tensor.dtype)
        data.flat[:2] = info.min, info.max
        return data

    def weights(self, x: Tensor, shape, axis=None, outputs=0, dtype=np.int8, zero=0) -> tuple[Tensor, Tensor]:
        scale = self.random.uniform(0.002, 0.02, shape[axis]) if axis is not None else self.scale(-3, -1.5)
        info = np.iinfo(dtype)
        data = self.random.integers(info.min + (dtype == np.int8), info.max + 1, shape).astype(dtype)
        count = shape[axis] if axis is not None else outputs
        bias = self.random.integers(-3000, 3000, count, dtype=np.int32)
        return (Tensor(scale, zero, data=data, axis=axis or 0),
                Tensor(np.float32(scale) * x.scale[0], data=bias))


def integers(*values) -> Tensor:
    return Tensor(data=np.array(values, np.int32))


def size(n: int, kernel: int, stride: int, padding: int, dilation: int = 1) -> int:
    return -(-n // stride) if padding == SAME else (n - (kernel - 1) * dilation - 1) // stride + 1
