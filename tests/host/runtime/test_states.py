"""Networks with state: what a session keeps, resets, hands out and takes, also when runs fail."""

import threading
from dataclasses import replace

import lepton.device
import numpy as np
import pytest
from lepton.arch import Engine, Region
from lepton.compiler import compile_graph
from lepton.driver import ChipError
from lepton.graph import Graph, GraphError, NetworkState, Quantization
from lepton.graph.builder import GraphBuilder
from lepton.graph.interpret import evaluate, sequence
from lepton.graph.passes import channels_last, edge_types
from lepton.graph.printer import graph_text
from lepton.graph.verify import verify
from lepton.program import ChipStep, CompiledModel, dump, parse
from lepton.runtime import ComparingSession, InputError, Session

from tests.host.runtime.state_graphs import WIDTH, accumulator, cache, codes, delay


@pytest.fixture(scope="module")
def device():
    with lepton.device.open("golden", config="tiny", memory_bytes=1 << 20) as device:
        yield device


@pytest.fixture(scope="module")
def model():
    return parse(dump(compile_graph(accumulator(), "tiny")))  # as a device gets it


def wanted(frames, initial=None):
    """Outputs and the last state of a stream, by the interpreter."""
    graph = accumulator()
    if initial is not None:
        graph.states = [replace(graph.states[0], initial=initial)]
    return [{name: values[name] for name in ("y", "before")} for values in sequence(graph, frames)]


def stream(seed, length):
    random = np.random.default_rng(seed)
    return [{"x": codes(random, 1, WIDTH)} for _ in range(length)]


def same(result, expected):
    return all(np.array_equal(result.outputs[name], value) for name, value in expected.items())


def test_streams_of_random_lengths_with_resets_equal_the_interpreter(device, model):
    random = np.random.default_rng(1)
    assert [placed.where for placed in model.placement if placed.op in ("FullyConnected", "Add")] == ["chip"] * 2
    with Session(model, device) as session:
        for seed in range(5):
            frames = stream(seed, int(random.integers(1, 9)))
            for frame, expected in zip(frames, wanted(frames), strict=True):
                assert same(session.run(frame), expected)
            session.states.reset()
        assert np.array_equal(session.states["s"], accumulator().states[0].initial)
        frames = stream(9, 6)
        made = session.predict(np.concatenate([frame["x"] for frame in frames]))
        assert np.array_equal(made["y"], np.concatenate([e["y"] for e in wanted(frames)]))
        assert np.array_equal(session.states["s"], made["y"][-1:])


def test_a_delay_line_gives_what_it_was_given(device):
    frames = np.random.default_rng(2).normal(size=(9, 4)).astype(np.float32)
    with Session(parse(dump(compile_graph(delay(), "tiny"))), device) as session:
        made = session.predict(frames)
        assert np.array_equal(made[3:], -frames[:-3]) and not made[:3].any()
        assert [np.array_equal(session.states[f"d{i}"][0], frames[-1 - i]) for i in range(3)] == [True] * 3


def test_sessions_of_one_model_are_streams_of_their_own(device, model):
    frames = [stream(seed, 6) for seed in (20, 21)]
    expected = [wanted(each) for each in frames]
    with Session(model, device) as first, Session(model, device) as second:
        for i in range(6):
            for session, own, results in zip((first, second), frames, expected, strict=True):
                assert same(session.run(own[i]), results[i])


def test_threads_take_one_stream_in_turns(device, model):
    """Every frame is counted once, whatever the order: with equal frames, the order does not matter."""
    frames = stream(30, 1) * 12
    with Session(model, device) as session:
        threads = [threading.Thread(target=lambda: [session.run(frames[0]) for _ in range(3)]) for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert np.array_equal(session.states["s"], wanted(frames)[-1]["y"])


def test_states_are_read_set_and_restored_by_name(device, model):
    frames = stream(40, 8)
    random = np.random.default_rng(41)
    with Session(model, device) as session, Session(model, device) as other:
        for frame in frames[:4]:
            session.run(frame)
        kept = session.states.snapshot()
        assert list(kept) == list(session.states) == ["s"] and len(session.states) == 1
        for frame in frames[4:]:
            session.run(frame)
        other.states.restore(kept)
        session.states.restore(kept)
        kept["s"][:] = 0  # a copy, as is what is read
        session.states["s"][:] = 0
        for frame, expected in zip(frames[4:], wanted(frames)[4:], strict=True):
            assert same(session.run(frame), expected) and same(other.run(frame), expected)
        start = codes(random, 1, WIDTH)
        session.states["s"] = start
        values = start.copy()
        start[:] = 0
        assert same(session.run(frames[0]), wanted(frames[:1], values)[0])


def test_a_state_that_does_not_fit_is_refused_and_changes_nothing(device, model):
    with Session(model, device) as session:
        before = session.states.snapshot()
        with pytest.raises(InputError, match="model 'accumulator' has no state 't'; its states are s"):
            session.states["t"]
        with pytest.raises(InputError, match="has no state 't'"):
            session.states.restore({"s": np.zeros((1, WIDTH), np.int8), "t": np.zeros(1)})
        with pytest.raises(InputError, match=r"state 's' must have shape \(1, 24\), not \(24,\)"):
            session.states["s"] = np.zeros(WIDTH, np.int8)
        with pytest.raises(InputError, match="state 's' must have type int8, not float64; quantize it"):
            session.states["s"] = np.zeros((1, WIDTH))
        assert np.array_equal(session.states["s"], before["s"]) and "t" not in session.states
        with pytest.raises(InputError, match="inputs of model 'accumulator' must be x, not s, x"):
            session.run({"x": codes(np.random.default_rng(0), 1, WIDTH), "s": before["s"]})


def failing(model):
    """The model with a job behind the others that ends with an error."""
    last = next(step for step in reversed(model.steps) if isinstance(step, ChipStep))
    at = last.streams[Engine.LOAD].offset
    bad = replace(last, program=last.program[:at] + b"\x7e" + last.program[at + 1:], outputs=())  # no opcode
    made = CompiledModel(**vars(model))
    made.steps = [*model.steps, bad]
    return made


def test_a_run_that_fails_leaves_the_states_as_they_were(device, model):
    frames = stream(50, 3)
    with Session(model, device) as session, Session(failing(model), device) as bad:
        expected = wanted(frames)
        assert same(session.run(frames[0]), expected[0])
        kept = session.states["s"]
        with pytest.raises(InputError):
            session.run({"x": frames[1]["x"].astype(np.int16)})
        assert np.array_equal(session.states["s"], kept)
        for frame, result in zip(frames[1:], expected[1:], strict=True):
            assert same(session.run(frame), result)
        with pytest.raises(ChipError):  # after the state's new value has been computed
            bad.run(frames[0])
        assert np.array_equal(bad.states["s"], accumulator().states[0].initial)


def test_a_run_that_is_interrupted_leaves_the_states_as_they_were(device, model, monkeypatch):
    frames = stream(60, 2)
    with Session(model, device) as session:
        session.run(frames[0])
        kept = session.states["s"]
        run = session.driver.run

        def interrupted(*arguments, **options):
            run(*arguments, **options)
            raise KeyboardInterrupt

        with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
            patch.setattr(session.driver, "run", interrupted)
            session.run(frames[1])
        assert np.array_equal(session.states["s"], kept)
        assert same(session.run(frames[1]), wanted(frames)[1])


def interrupt(*arguments, **options):
    raise KeyboardInterrupt


def test_only_what_has_changed_is_written_to_the_device(device, monkeypatch):
    """A cache of 64 rows of which a run changes one; what others write, and a job that fails, make it write all."""
    model = compile_graph(cache(64), "tiny")
    random = np.random.default_rng(80)
    expected = np.zeros((64, WIDTH), np.int8)
    with Session(model, device) as session:
        ((_, buffers),) = session.placed()
        written = []
        write = session.driver.device.write_memory
        place = buffers[Region.INPUT]

        def counted(address, data):
            if place.address <= address < place.address + place.size:
                written.append(np.asarray(data).size)
            write(address, data)

        def run(row):
            written.clear()
            inputs = {"x": codes(random, 1, WIDTH), "row": np.array([row])}
            wanted = evaluate(cache(64), inputs | {"c": expected})["y"]
            assert np.array_equal(session.run(inputs).outputs["y"], wanted)
            expected[row] = inputs["x"]
            return sum(written)

        monkeypatch.setattr(session.driver.device, "write_memory", counted)
        whole = run(3)
        assert whole >= 64 * WIDTH
        pieces = -(-WIDTH // model.config.lanes)  # a row is in as many blocks
        assert all(run(row) <= 64 * pieces for row in (4, 5, 63, 0, 5))
        place.write(np.full(place.size, 77, np.uint8))
        assert run(6) >= whole
        with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
            patch.setattr(session.driver, "run", interrupt)
            run(9)
        assert run(10) >= whole


def test_a_comparison_keeps_both_sides_at_one_place(device, model):
    frames = stream(70, 4)
    with lepton.device.open("golden", config="tiny", memory_bytes=1 << 20) as second, \
            ComparingSession(model, device, second) as both:
        for i, (frame, expected) in enumerate(zip(frames, wanted(frames), strict=True)):
            if i == 2:  # the reference fails behind the device
                run, both.reference.run = both.reference.run, None
                with pytest.raises(TypeError):
                    both.run(frame)
                both.reference.run = run
            compared = both.run(frame)
            assert not compared.differences and same(compared.result, expected)
        both.reset()
        assert same(both.run(frames[0]).reference, wanted(frames)[0])


def test_passes_keep_states_and_their_types():
    graph = accumulator()
    changed = edge_types(graph, "float32", "float32")
    assert [np.dtype(changed.tensors[n].dtype) for n in ("x", "y", "s", "s.next")] == [np.float32, np.float32, np.int8,
                                                                                     np.int8]
    assert channels_last(delay()).states[1].written == "d1.next"
    assert "  state  s: s becomes s.next" in graph_text(graph)
    assert compile_graph(graph, "tiny").source_hash != compile_graph(
        Graph(**{**vars(graph), "states": [replace(graph.states[0], initial=codes(np.random.default_rng(5), 1, WIDTH))]
                 }), "tiny").source_hash


def with_another_input():
    graph = accumulator()
    graph.inputs.append("t")
    graph.tensors["t"] = replace(graph.tensors["x"], name="t")
    return graph


@pytest.mark.parametrize("change,text", [
    ({"read": "y"}, "state 's' is read as 'y', which is not an input"),
    ({"written": "sum"}, "state 's' is written by 'sum', which must be one output, not 0"),
    ({"initial": np.zeros((1, 9), np.int16)}, r"state 's' must have one type and shape: it is read as int8 \(1, 24\), "
                                              r"written as int8 \(1, 24\), and starts with int16 \(1, 9\)"),
    ({"read": "x"}, "state 's': 'x' and 's.next' must have the same scale and zero point"),
])
def test_the_verifier_refuses_states_that_do_not_fit(change, text):
    graph = with_another_input()
    graph.states = [replace(graph.states[0], **change)]
    with pytest.raises(GraphError, match=text):
        verify(graph)


def test_the_verifier_refuses_states_that_share_a_value():
    graph = with_another_input()
    state = graph.states[0]
    for second, text in ((NetworkState("s", "x", "y", state.initial), "2 states have the name 's'"),
                         (NetworkState("t", "s", "y", state.initial), "2 states are read as 's'"),
                         (NetworkState("t", "x", "s.next", state.initial), "2 states are written by 's.next'")):
        graph.states = [state, second]
        with pytest.raises(GraphError, match=text):
            verify(graph)
    b = GraphBuilder(Graph("closed"))
    s = b.input("s", (1, 4), np.int8, Quantization(np.float32([1]), np.int32([0])))
    b.output(s, "y")
    b.output(s, "t")
    b.graph.states.append(NetworkState("s", "s", "t", np.zeros((1, 4), np.int8)))
    with pytest.raises(GraphError, match="at least one operator, one input and one output, not 2, 0 and 1"):
        verify(b.graph)
