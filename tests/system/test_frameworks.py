"""Any small network, on any chip: the framework's own result, the golden model's and the RTL's are the same bytes.

Networks are made in the framework's format and run by the framework itself: LiteRT's reference kernels for TFLite files
(int8 and legacy uint8), ONNX Runtime for ONNX models (int8 and uint8), PyTorch's converted module for torch.
"""

from dataclasses import dataclass

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from lepton.arch import PRESETS, ChipConfig
from lepton.compiler import compile_graph
from lepton.frontends import import_onnx, import_tflite
from lepton.graph import Graph
from lepton.runtime import ComparingSession

pytest.importorskip("ai_edge_litert")
pytest.importorskip("onnxruntime")

from tests import random_tflite
from tests.host.compiler.compiler_graphs import golden
from tests.host.frontends.onnx import random_onnx
from tests.host.frontends.onnx.onnx_models import integer_products_are_exact, reference
from tests.litert_models import references
from tests.system.random_configs import CONFIGS

FRAMEWORKS = ("litert", "onnxruntime") if integer_products_are_exact() else ("litert",)
SEEDS = st.integers(0, 1_000_000)
DTYPES = st.sampled_from([np.int8, np.uint8])
# Small words with wide beats and hardly any memory, a narrow bus, and no window unit.
ODD = {name: CONFIGS[name] for name in ("wide", "narrow")} | {
    "plain": PRESETS["tiny"].with_(name="plain", window_columns=0, scratchpad_kib=8, weight_kib=2,
                                   accumulator_rows=64)}


@dataclass(frozen=True, eq=False)
class Case:
    """A network, its inputs, and what the framework makes of them, by the graph's names."""

    graph: Graph
    inputs: dict[str, np.ndarray]
    wanted: dict[str, np.ndarray]


def case(framework: str, seed: int, dtype) -> Case:
    if framework == "litert":
        network = random_tflite.RandomNetwork(seed, dtype)
        graph = import_tflite(network.model)
        wanted = references(network.model, *network.inputs)
        return Case(graph, dict(zip(graph.inputs, network.inputs, strict=True)),
                    dict(zip(graph.outputs, wanted, strict=True)))
    network = random_onnx.RandomNetwork(seed, dtype)
    graph = import_onnx(network.model)
    return Case(graph, network.inputs, dict(zip(graph.outputs, reference(network.model, network.inputs), strict=True)))


def same(found: dict[str, np.ndarray], case: Case, model) -> None:
    for name, wanted in case.wanted.items():
        assert found[name].dtype == wanted.dtype
        np.testing.assert_array_equal(found[name], wanted, err_msg=f"{name}, {[layer.op for layer in model.layers]}")


@pytest.mark.parametrize("framework", FRAMEWORKS)
@pytest.mark.parametrize("config", ODD)
@settings(max_examples=25, derandomize=True, deadline=None, database=None)
@given(seed=SEEDS, dtype=DTYPES)
def test_the_rtl_is_golden_and_the_framework(boards, config, framework, seed, dtype):
    chip = ODD[config]
    made = case(framework, seed, dtype)
    model = compile_graph(made.graph, chip)
    with ComparingSession(model, boards(chip), boards.golden(chip)) as session:
        compared = session.run(made.inputs)
    assert not compared.differences, compared.differences
    same(compared.result.outputs, made, model)


@st.composite
def chips(draw):
    lanes = draw(st.sampled_from([4, 8, 16, 32]))
    return ChipConfig(
        "any", lanes=lanes, columns=lanes, scratchpad_kib=draw(st.sampled_from([1, 4, 16, 64])),
        weight_kib=draw(st.sampled_from([1, 4, 32])), accumulator_rows=draw(st.sampled_from([16, 64, 256])),
        bus_bytes=draw(st.sampled_from([4, 16])), window_columns=draw(st.sampled_from([0, 8, 256])))


@pytest.mark.parametrize("framework", FRAMEWORKS)
@settings(max_examples=40, derandomize=True, deadline=None, database=None)
@given(seed=SEEDS, dtype=DTYPES, chip=chips())
def test_any_chip_is_the_framework(framework, seed, dtype, chip):
    made = case(framework, seed, dtype)
    outputs, model = golden(made.graph, chip, made.inputs, seed)
    same(outputs, made, model)


@pytest.mark.parametrize("seed", range(8))
def test_random_networks_of_pytorch(boards, seed):
    """Bit for bit the module that PT2E converted. Each takes a second or two to be exported and calibrated."""
    torch = pytest.importorskip("torch")
    pytest.importorskip("torchao")
    from lepton.frontends.torch import convert, import_converted

    from tests.host.frontends.torch.random_torch import RandomNetwork
    torch.set_num_threads(1)
    network = RandomNetwork(seed).eval()
    converted, example = convert(network, [torch.randn(4, *network.example[1:]) for _ in range(2)])
    graph = import_converted(converted, (example,), "random")
    image = 1.3 * torch.randn(network.example)
    with torch.no_grad():
        made = Case(graph, {graph.inputs[0]: image.numpy()}, {graph.outputs[0]: converted(image).numpy()})
    chip = list(ODD.values())[seed % len(ODD)]
    model = compile_graph(graph, chip)
    with ComparingSession(model, boards(chip), boards.golden(chip)) as session:
        compared = session.run(made.inputs)
    assert not compared.differences, compared.differences
    same(compared.result.outputs, made, model)
