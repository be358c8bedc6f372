"""Recurrent layers and cells of PyTorch: their steps against its own kernels, in float and in int8."""

from collections.abc import Callable
from itertools import product

import numpy as np
import pytest

torch = pytest.importorskip("torch")

import lepton.device  # noqa: E402
from lepton.compiler import compile_graph  # noqa: E402
from lepton.frontends.torch import convert, import_converted  # noqa: E402
from lepton.frontends.torch.quantize import export_module  # noqa: E402
from lepton.frontends.torch.recurrent import is_recurrent, with_recurrent_steps  # noqa: E402
from lepton.graph import GraphError  # noqa: E402
from lepton.graph.interpret import evaluate  # noqa: E402
from lepton.runtime import Session  # noqa: E402
from torch import nn  # noqa: E402
from torch.utils._pytree import tree_leaves  # noqa: E402

from tests.host.frontends.torch.torch_parts import as_one_job  # noqa: E402
from tests.seeds import base_seed  # noqa: E402

LAYERS = {"lstm": nn.LSTM, "gru": nn.GRU, "rnn": nn.RNN}
CELLS = {"lstm": nn.LSTMCell, "gru": nn.GRUCell, "rnn": nn.RNNCell}


class Several(nn.Module):
    """Layers or cells, each with inputs of its own: x, then its initial states if there are any. All of their results.

    One module for all, since torch.export takes a second for each.
    """

    def __init__(self, layers: list[nn.Module], states: list[int]) -> None:
        super().__init__()
        self.layers = nn.ModuleList(layers)
        self.states = states

    def forward(self, *inputs: torch.Tensor) -> list[object]:
        rest = iter(inputs)
        results = []
        for layer, count in zip(self.layers, self.states, strict=True):
            x = next(rest)
            given = tuple(next(rest) for _ in range(count))
            results.append(layer(x, *([given if count > 1 else given[0]] if count else [])))
        return results


def assert_same_floats(layers: list[nn.Module], inputs: list[tuple[torch.Tensor, ...]]) -> None:
    module = Several(layers, [len(each) - 1 for each in inputs]).eval()
    flat = [x for each in inputs for x in each]
    exported = with_recurrent_steps(export_module(module, *flat))
    assert not any(map(is_recurrent, exported.graph.nodes))
    with torch.no_grad():
        for made, wanted in zip(tree_leaves(exported(*flat)), tree_leaves(module(*flat)), strict=True):
            assert made.shape == wanted.shape
            torch.testing.assert_close(made, wanted, rtol=0, atol=2e-6)


def options_of(kind: str) -> list[dict[str, object]]:
    """Each of the options in some, in combination with others; three of them say how many steps and images."""
    found: list[dict[str, object]] = []
    for count, (levels, both, first, bias) in enumerate(product((1, 2), *[(False, True)] * 3)):
        options = {"num_layers": levels, "bidirectional": both, "batch_first": first, "bias": bias}
        if levels > 1:
            options["dropout"] = 0.5
        if kind == "rnn" and count % 2:
            options["nonlinearity"] = "relu"
        if kind == "lstm" and count % 3 == 0:
            options["proj_size"] = 3
        found.append(options)
    return found


@pytest.mark.parametrize("kind", LAYERS)
def test_all_options_of_layers_give_pytorchs_floats(kind: str) -> None:
    torch.manual_seed(base_seed())
    layers: list[nn.Module] = []
    inputs: list[tuple[torch.Tensor, ...]] = []
    for count, options in enumerate(options_of(kind)):
        layer = LAYERS[kind](4, 5, **options)
        batch, length = 1 + count % 3, 1 + count % 4
        x = torch.randn(*((batch, length) if options["batch_first"] else (length, batch)), 4)
        if count % 3 == 0:
            x = x[0] if options["batch_first"] else x[:, 0]  # without a batch
        shape = (layer.num_layers * (2 if layer.bidirectional else 1), *([] if x.dim() == 2 else [batch]))
        hidden = torch.randn(*shape, options.get("proj_size", 5))
        states = [hidden] + ([torch.randn(*shape, 5)] if kind == "lstm" else [])
        layers.append(layer)
        inputs.append((x, *(states if count % 2 else [])))
    assert_same_floats(layers, inputs)


@pytest.mark.parametrize("kind", CELLS)
def test_cells_give_pytorchs_floats(kind: str) -> None:
    torch.manual_seed(base_seed())
    states = [torch.randn(2, 5) for _ in range(1 + (kind == "lstm"))]
    assert_same_floats([CELLS[kind](4, 5, bias=bias) for bias in (False, True, True)],
                       [(torch.randn(2, 4), *states), (torch.randn(2, 4), *states), (torch.randn(4),)])


def cosine(a: np.ndarray, b: np.ndarray) -> float:
    a, b = (x.astype(np.float64).ravel() for x in (a, b))
    return float(a @ b / np.sqrt((a @ a) * (b @ b)))


@pytest.mark.parametrize("kind, length, options", [
    ("lstm", 1, {}), ("lstm", 50, {}), ("gru", 50, {}), ("rnn", 25, {}),
    ("lstm", 3, {"bidirectional": True, "num_layers": 2, "proj_size": 10}), ("gru", 3, {"bidirectional": True}),
    ("rnn", 2, {"nonlinearity": "relu", "bias": False})])
def test_int8_is_pytorchs_and_near_the_floats(kind: str, length: int, options: dict[str, object]) -> None:
    torch.manual_seed(base_seed())
    layer = LAYERS[kind](7, 20, batch_first=True, **options).eval()
    with torch.no_grad():
        for weight in layer.parameters():
            weight *= 2  # gates that open and close
    x = torch.randn(5, length, 7)
    converted, _ = convert(layer, [x])
    graph = import_converted(converted, (x[:1],), kind)
    worst = []
    for one in x[:2].split(1):
        values = evaluate(graph, {graph.inputs[0]: one.numpy()})
        made = [values[name] for name in graph.outputs]
        with torch.no_grad():
            for ours, theirs, wanted in zip(made, tree_leaves(converted(one)), tree_leaves(layer(one)), strict=True):
                np.testing.assert_array_equal(ours, theirs.numpy())
                worst.append(cosine(ours, wanted.numpy()))
    assert min(worst) >= 0.99


class Spotter(nn.Module):
    """A convolution of frames, a recurrent layer, and scores of its last step or of all."""

    def __init__(self, recurrent: nn.Module, width: int, last: bool) -> None:
        super().__init__()
        self.front, self.recurrent, self.out = nn.Conv1d(10, 12, 3, padding=1), recurrent, nn.Linear(width, 5)
        self.last = last

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        states, _ = self.recurrent(torch.relu(self.front(x)).transpose(1, 2))
        return self.out(states[:, -1] if self.last else states)


@pytest.mark.parametrize("recurrent, width, last", [
    (lambda: nn.LSTM(12, 16, batch_first=True), 16, True), (lambda: nn.GRU(12, 20, batch_first=True), 20, False),
    (lambda: nn.LSTM(12, 10, batch_first=True, bidirectional=True), 20, False),
    (lambda: nn.RNN(12, 8, batch_first=True, num_layers=2), 8, True)])
def test_a_keyword_spotter_is_one_job(recurrent: Callable[[], nn.Module], width: int, last: bool) -> None:
    torch.manual_seed(base_seed())
    as_one_job(Spotter(recurrent(), width, last).eval(), lambda: (torch.randn(1, 10, 7),), alike=0.99,
               on_host=frozenset({"Transpose"}))  # of the input, whose layout the host changes anyway


class Streamed(nn.Module):
    """A cell whose state is a buffer: one frame at a time."""

    def __init__(self) -> None:
        super().__init__()
        self.cell, self.out = nn.GRUCell(10, 16), nn.Linear(16, 5)
        self.register_buffer("h", torch.zeros(1, 16))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        h = self.cell(x, self.h)
        self.h.copy_(h)
        return self.out(h)


def test_a_cell_takes_one_frame_at_a_time_and_rtl_equals_golden() -> None:
    torch.manual_seed(base_seed())
    module = Streamed().eval()
    frames = [torch.randn(1, 10) for _ in range(24)]
    converted, _ = convert(module, frames)
    graph = import_converted(converted, (frames[0],), "stream")
    model = compile_graph(graph, "tiny")
    assert sum(hasattr(step, "program") for step in model.steps) == 1 and [s.name for s in graph.states] == ["h"]
    module.h.zero_()
    made, wanted = [], []
    with (lepton.device.open("rtl", config="tiny") as rtl, lepton.device.open("golden", config="tiny") as golden,
          Session(model, rtl) as board, Session(model, golden) as reference, torch.no_grad()):
        for frame in frames[:8]:
            (ours,) = board.run({graph.inputs[0]: frame.numpy()}).outputs.values()
            (theirs,) = reference.run({graph.inputs[0]: frame.numpy()}).outputs.values()
            np.testing.assert_array_equal(ours, theirs)
            made.append(ours)
            wanted.append(module(frame).numpy())
    assert cosine(np.concatenate(made), np.concatenate(wanted)) >= 0.98


def test_a_layer_in_training_with_dropout_is_refused() -> None:
    layer = nn.GRU(4, 5, num_layers=2, dropout=0.5)
    with torch.no_grad():
        program = torch.export.export(layer.train(), (torch.randn(3, 1, 4),)).module()
    with pytest.raises(GraphError, match=r"the layer is in training mode, with dropout; call module.eval\(\) first"):
        with_recurrent_steps(program)
