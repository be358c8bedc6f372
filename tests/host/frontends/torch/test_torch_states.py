"""Modules that change their buffers: states of the graph, against PyTorch's own converted module step by step."""

import lepton.device
import numpy as np
import pytest
from lepton.compiler import compile_graph
from lepton.graph import GraphError
from lepton.program import dump, parse
from lepton.runtime import Session

torch = pytest.importorskip("torch")

from lepton.frontends.torch import convert, import_converted, prepare_qat, quantize  # noqa: E402
from lepton.frontends.torch.functional import states_of  # noqa: E402
from torch import nn  # noqa: E402

WIDTH = 16
LENGTH = 6


class Stream(nn.Module):
    """A layer and buffers; `step` is a function of the module and its input."""

    def __init__(self, step):
        super().__init__()
        torch.manual_seed(3)
        self.step = step
        self.first = nn.Linear(WIDTH, WIDTH)
        self.second = nn.Linear(WIDTH, WIDTH)
        self.register_buffer("past", torch.zeros(1, LENGTH, WIDTH))
        self.register_buffer("total", torch.randn(1, 1, WIDTH) * 0.1)
        self.register_buffer("place", torch.zeros(1, dtype=torch.int64), persistent=False)

    def forward(self, x):
        return self.step(self, x)


def joined(m, x):
    m.past = torch.cat([m.past[:, 1:], m.first(x)], 1)
    return m.second(m.past)


def rolled(m, x):
    past = torch.roll(m.past, -1, 1)
    past[:, -1:] = m.first(x)
    m.past.copy_(past)
    return m.second(m.past).relu()


def shifted_in_place(m, x):
    m.past[:, :-1] = m.past[:, 1:].clone()
    m.past[:, -1:] = m.first(x)
    return m.second(m.past)


def at_a_place(m, x):
    m.past.index_copy_(1, m.place, m.first(x))
    m.place.add_(1).remainder_(LENGTH)
    return m.second(m.past)


def summed(m, x):
    m.total.mul_(0.5).add_(m.first(x))
    return m.second(m.total), m.total


def recurrent(m, x):
    m.total = torch.tanh(m.first(x) + m.second(m.total))
    return m.total


def delayed(m, x):
    before = m.total.clone()
    m.total.copy_(x)
    return m.first(before)


STEPS = [joined, rolled, shifted_in_place, at_a_place, summed, recurrent, delayed]


def frames(seed, count):
    return torch.randn(count, 1, WIDTH, generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize("step", STEPS)
def test_streams_equal_pytorch_s_converted_module(step):
    converted, example = convert(Stream(step).eval(), [frames(seed, 10) for seed in range(3)])
    graph = import_converted(converted, (example,), "stream")
    compiled = parse(dump(compile_graph(graph, "tiny")))
    random = np.random.default_rng(1)
    differing = 0
    with lepton.device.open("golden", config="tiny") as device, Session(compiled, device) as session:
        for stream in range(2):
            kept = [state.initial for state in states_of(converted)]
            for frame in frames(10 + stream, int(random.integers(2, 15))):
                with torch.no_grad():
                    wanted = converted(frame[None], *kept)
                kept = list(wanted[-len(kept):])
                made = session.run(frame[None].numpy()).outputs
                for value, other in zip(made.values(), wanted, strict=False):
                    differing += int((value != other.numpy()).sum())
            session.states.reset()
    assert differing == 0


@pytest.mark.parametrize("step", [joined, rolled, shifted_in_place, at_a_place, recurrent])
def test_float_states_are_int8_where_they_are_read_and_written_so(step):
    graph = quantize(Stream(step).eval(), [frames(seed, 10) for seed in range(3)])
    assert {state.name: np.dtype(graph.tensors[state.read].dtype).name for state in graph.states} in (
        {"past": "int8"}, {"total": "int8"}, {"past": "int8", "place": "int64"})


def test_the_states_of_a_quantized_module_stay_near_the_float_module_s():
    """A cache is not rounded again when it is read: errors do not grow with the length of the stream."""
    module = Stream(joined).eval()
    graph = quantize(module, [frames(seed, 40) for seed in range(4)])
    compiled = compile_graph(graph, "tiny")
    errors = []
    with lepton.device.open("golden", config="tiny") as device, Session(compiled, device) as session:
        assert list(session.states) == ["past"]
        for frame in frames(0, 40):  # none of its values is beyond the calibrated ranges
            with torch.no_grad():
                wanted = module(frame[None]).numpy()
            made = session.run(frame[None].numpy()).outputs["output"]
            errors.append(np.abs(made - wanted).max() / np.abs(wanted).max())
    assert max(errors) < 0.03


def test_a_module_with_state_cannot_be_trained_here():
    def mean_so_far(m, x):
        m.total.mul_(0.5).add_(x.mean(0, keepdim=True))
        return m.first(x) + m.total
    with pytest.raises(GraphError, match=r"its buffer 'total' .*with state cannot be trained here: make the state "
                                         r"an input and an output of the module"):
        prepare_qat(Stream(mean_so_far).train(), torch.randn(2, 1, WIDTH))
