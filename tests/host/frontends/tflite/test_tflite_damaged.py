"""Files with damaged structure are refused with a text of one line, or computed as LiteRT computes them.

The bytes of files are damaged in `test_tflite_fuzz`.
"""

import warnings
from math import prod

import numpy as np
import pytest

pytest.importorskip("ai_edge_litert")

from lepton.compiler import compile_graph
from lepton.frontends import import_tflite
from lepton.graph import GraphError
from lepton.graph.interpret import evaluate

from tests.host.frontends.tflite.damaged_models import damaged
from tests.host.frontends.tflite.random_graphs import RandomGraph
from tests.litert_child import reference_results
from tests.random_tflite import RandomNetwork
from tests.seeds import seeds

FILES = 300
LARGEST = 300_000  # elements of a network that is computed
# LiteRT writes no result where a slice of one index has a step below 0.
UNDEFINED = ("STRIDED_SLICE",)


def random_values(graph, rng):
    values = {}
    for name in graph.inputs:
        tensor = graph.tensors[name]
        dtype = np.dtype(tensor.dtype)
        if dtype.kind == "f":
            values[name] = rng.normal(size=tensor.shape).astype(dtype)
        elif dtype.kind == "b" or dtype.itemsize > 1:
            values[name] = rng.integers(0, 2, tensor.shape).astype(dtype)
        else:
            info = np.iinfo(dtype)
            values[name] = rng.integers(info.min, info.max + 1, tensor.shape).astype(dtype)
    return values


def imported(data):
    """The graph, None where the file is refused."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            return import_tflite(data)
        except GraphError as error:
            assert str(error).strip() and "\n" not in str(error)
            return None


@pytest.mark.parametrize("seed", seeds())
def test_damaged_structures(seed):
    rng = np.random.default_rng(seed)
    models = [RandomNetwork(seed + i, np.int8 if i % 2 else np.uint8).model for i in range(6)]
    models += [RandomGraph(seed + i, operators=6).model for i in range(6)]
    cases = []
    results = []
    for _ in range(FILES):
        data = damaged(models[int(rng.integers(len(models)))], rng)
        graph = None if data is None else imported(data)
        if graph is None or sum(prod(tensor.shape) for tensor in graph.tensors.values()) > LARGEST:
            continue
        if any(name in str(data) for name in UNDEFINED):
            continue
        values = random_values(graph, rng)
        try:
            if rng.random() < 0.2:
                compile_graph(graph, "tiny")
            made = evaluate(graph, values)
        except GraphError as error:
            assert str(error).strip()
            continue
        cases.append((data, list(values.values())))
        results.append([made[name] for name in graph.outputs])
    same = 0
    for ours, theirs in zip(results, reference_results(cases), strict=True):
        if isinstance(theirs, str):
            continue  # LiteRT refuses what is well-formed and of no use, such as an unused operator of a wrong version
        for got, wanted in zip(ours, theirs, strict=True):
            assert got.shape == wanted.shape and got.dtype == wanted.dtype
            np.testing.assert_array_equal(got, wanted)
        same += 1
    assert same > FILES // 10
