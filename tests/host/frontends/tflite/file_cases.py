"""Tensors, values and the comparison with LiteRT's reference kernels for the tests of unusual files."""


import numpy as np
from lepton.frontends import import_tflite
from lepton.graph.interpret import evaluate

from tests.litert_models import Tensor, references

RNG = np.random.default_rng(20)


def int8(*shape) -> np.ndarray:
    return RNG.integers(-128, 128, shape).astype(np.int8)


def quantized(*shape, scale=0.05, zero=0) -> Tensor:
    return Tensor(np.float32(scale), zero, shape=shape)


def integers(values) -> Tensor:
    return Tensor(data=np.array(values, np.int32))


def results(graph, *inputs) -> list[np.ndarray]:
    values = evaluate(graph, dict(zip(graph.inputs, inputs, strict=True)))
    return [values[name] for name in graph.outputs]


def same(model: bytes, *inputs) -> None:
    for got, wanted in zip(results(import_tflite(model), *inputs), references(model, *inputs), strict=True):
        assert got.dtype == wanted.dtype
        np.testing.assert_array_equal(got, wanted)


# Operator codes
