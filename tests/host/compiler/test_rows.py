"""Softmax and layer normalization in the ROWS engine: golden against the host's kernels."""

import numpy as np
import pytest
from lepton.arch import PRESETS
from lepton.arch.rows import ROW_LENGTH, RSQRT_SEED
from lepton.compiler import compile_graph
from lepton.graph import Add, Arithmetic, LayerNorm, Mul, Sub, Table, Tensor
from lepton.graph.numerics.row_norm import MOST_CHANNELS, SEEDS, norm_parameters, normalize

from tests.host.compiler.compiler_graphs import CONFIGS, Builder, exact, quantization


def softmax_between_layers(shape, channels, seed, scale=None):
    """A layer, its softmax over `channels`, and a layer that reads it."""
    b = Builder((1, *shape, 5), seed)
    x = b.conv("image", channels, (1, 1))
    if scale is not None:
        b.graph.tensors[x].quantization = quantization(scale, b.graph.tensors[x].zero_point)
    return b, b.conv(b.softmax(x), 6, (1, 1))


@pytest.mark.parametrize("config", CONFIGS)
@pytest.mark.parametrize("arithmetic", Arithmetic)
@pytest.mark.parametrize("channels", [1, 4, 15, 16, 17, 70])
def test_softmax_between_two_layers_is_one_job(config, arithmetic, channels):
    b, y = softmax_between_layers((9, 7), channels, channels)
    model = exact(b.done(y), config, arithmetic)
    assert [layer.op for layer in model.layers] == ["Conv2D", "Softmax", "Conv2D"]


@pytest.mark.parametrize("seed", range(8))
def test_softmax_of_random_shapes_and_scales(seed):
    """Scales at which one value takes everything, and at which all have the same."""
    random = np.random.default_rng([seed, 41])
    height, width, channels = (int(n) for n in random.integers((1, 1, 1), (20, 20, 90)))
    b, y = softmax_between_layers((height, width), channels, seed, scale=float(random.choice([1e-3, 0.02, 0.1, 0.7])))
    exact(b.done(y), "cramped16" if seed % 2 else "base", list(Arithmetic)[seed % 3])


def test_the_last_softmax_is_the_hosts():
    """The chip would load a table of 1 KiB for a few values that the host reads anyway."""
    b = Builder((1, 6, 6, 5), 3)
    model = exact(b.done(b.softmax(b.dense("image", 10))), "tiny", on_host=["Softmax"])
    assert next(row.reason for row in model.placement if row.op == "Softmax") == "only the host reads its result"


def test_a_chip_without_the_engine_leaves_it_to_the_host():
    b, y = softmax_between_layers((4, 4), 8, 2)
    graph = b.done(y)
    config = PRESETS["tiny"].with_(name="no_rows", row_lanes=0)
    exact(graph, config, on_host=["Softmax"])
    model = compile_graph(graph, config)
    assert "chip 'no_rows' has no ROWS engine (row_lanes is 0)" in next(
        row.reason for row in model.placement if row.op == "Softmax")


def norm(b, x, beta=True, **attributes):
    """A LayerNorm of `x` with random parameters."""
    channels = b.shape(x)[-1]
    names = [x]
    for what, values in (("gamma", b.random.uniform(-2, 2, channels)), ("beta", b.random.normal(0, 1, channels))):
        if what == "gamma" or beta:
            name = f"{what}{len(b.graph.nodes)}"
            b.graph.tensors[name] = Tensor(name, (channels,), np.dtype(np.float32), None, values.astype(np.float32))
            names.append(name)
    y = b.node(LayerNorm(**attributes), names, b.shape(x))
    b.graph.tensors[y].quantization = quantization(b.random.uniform(0.01, 0.06), int(b.random.integers(-20, 20)))
    return y


@pytest.mark.parametrize("config", CONFIGS)
@pytest.mark.parametrize("channels", [1, 4, 15, 16, 33, 70])
@pytest.mark.parametrize("center", [True, False])
def test_norm_between_two_layers_is_one_job(config, channels, center):
    b = Builder((1, 9, 7, 5), channels)
    y = norm(b, b.conv("image", channels, (1, 1)), beta=channels != 15, center=center)
    model = exact(b.done(b.conv(y, 6, (1, 1))), config, Arithmetic.FLOAT if center else Arithmetic.TORCH)
    assert [layer.op for layer in model.layers] == ["Conv2D", "LayerNorm", "Conv2D"]


@pytest.mark.parametrize("kind", ["softmax", "norm"])
@pytest.mark.parametrize("behind", ["table", "sum", "difference", "product", "table and sum"])
def test_what_follows_a_row_function_is_a_layer_of_its_own(kind, behind):
    """The ROWS engine has no tail, where a table or an operator of two tensors could follow."""
    b = Builder((1, 5, 6, 5), 4)
    x = b.conv("image", 20, (1, 1))
    y = b.softmax(x) if kind == "softmax" else norm(b, x)
    made = [{"softmax": "Softmax", "norm": "LayerNorm"}[kind]]
    if "table" in behind:
        values = b.random.permutation(256).astype(np.uint8).tobytes()
        y = b.node(Table(values), [y], b.shape(y))
        b.graph.tensors[y].quantization = quantization(0.05, 3)
        made.append("Table")
    operator = {"sum": Add, "table and sum": Add, "difference": Sub, "product": Mul}.get(behind)
    if operator is not None:
        other = b.conv("image", 20, (1, 1))
        b.graph.tensors[other].quantization = quantization(0.05, -9)
        operands = [other, y] if operator is Sub else [y, other]
        y = b.node(operator(), operands, b.shape(y))
        b.graph.tensors[y].quantization = quantization(0.08, 7)
    model = exact(b.done(b.conv(y, 6, (1, 1))), "tiny", on_host=None)
    assert made[0] in [layer.op for layer in model.layers]
    assert len(model.steps) == 1


@pytest.mark.parametrize("seed", range(8))
def test_norm_is_within_one_of_torch(seed):
    """PyTorch's own kernel in float32, then rounded: equal in 99.9 % of the values and more."""
    torch = pytest.importorskip("torch", reason="PyTorch is the oracle")
    random = np.random.default_rng([seed, 5])
    channels = int(random.choice([2, 16, 64, 384, 1024]))
    spread = float(random.choice([1, 10, 60, 400]))
    x = np.clip(np.rint(random.normal(0, spread, (200, channels))), -128, 127).astype(np.int8)
    gamma = random.uniform(0.2, 2, channels).astype(np.float32)
    beta = random.normal(0, 0.5, channels).astype(np.float32)
    source = float(np.float32(random.uniform(0.01, 0.1)))
    output = float(np.float32(0.03))
    zeros = (-7, 5)
    given = norm_parameters(gamma, beta, 1e-5, source, output)
    ours = normalize(x, given, True, zeros)
    real = (torch.tensor(x).float() - zeros[0]) * source
    made = torch.nn.functional.layer_norm(real, (channels,), torch.tensor(gamma), torch.tensor(beta), 1e-5)
    theirs = np.clip(np.rint(made.numpy() / np.float32(output)) + zeros[1], -128, 127)
    assert np.abs(ours - theirs).max() <= 1 and (ours != theirs).mean() <= 0.001


def test_the_operator_and_the_command_have_the_same_constants():
    assert (SEEDS, MOST_CHANNELS) == (RSQRT_SEED, ROW_LENGTH)
