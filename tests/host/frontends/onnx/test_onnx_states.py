"""Inputs and outputs that the caller names as state, as exported decoders have their caches, against ONNX Runtime."""

import json

import lepton
import lepton.device
import numpy as np
import pytest
from lepton.cli import main
from lepton.cli.status import EXIT_USER_ERROR
from lepton.graph import GraphError
from lepton.program import CompiledModel, dump, parse
from lepton.runtime import Session

onnx = pytest.importorskip("onnx")

from lepton.frontends.onnx import import_onnx  # noqa: E402
from lepton.graph.states import with_states  # noqa: E402

from tests.host.frontends.onnx.onnx_models import Net, reference  # noqa: E402

WIDTH = 8
LENGTH = 5
STATES = {"past": "present", "count": "counted"}


def cache(kept=LENGTH, past_scale=0.04):
    """y of the last `kept` keys, which are in one quantization with the new one, and a count of the inferences."""
    random = np.random.default_rng(4)
    net = Net(opset=17)
    x = net.qdq(net.input((1, 1, WIDTH), name="x"), 0.05, 3)
    past = net.qdq(net.input((1, LENGTH, WIDTH), name="past"), past_scale, -4)
    count = net.input((1,), np.int64, name="count")
    key = net("MatMul", x, net.weights(random.integers(-127, 128, (WIDTH, WIDTH)).astype(np.int8), 0.01, axis=1))
    key = net.qdq(key, 0.04, -4)
    old = net("Slice", past, np.array([LENGTH + 1 - kept]), np.array([LENGTH]), np.array([1]))
    present = net.qdq(net("Concat", net.qdq(old, 0.04, -4), key, axis=1), 0.04, -4)
    y = net.qdq(net("MatMul", present, net.weights(random.integers(-127, 128, (WIDTH, 3)).astype(np.int8), 0.01,
                                                   axis=1)), 0.03, 0)
    counted = net("Add", count, np.array([1]))
    model = net.model(y, present, counted)
    for value, name in zip(model.graph.output, ("y", "present", "counted"), strict=True):
        for node in model.graph.node:
            for names in (node.input, node.output):
                for i, old_name in enumerate(names):
                    if old_name == value.name:
                        names[i] = name
        value.name = name
    return model


def stream(seed, count):
    return np.random.default_rng(seed).normal(0, 3, (count, 1, 1, WIDTH)).astype(np.float32)


def references(model, frames):
    kept = {"past": np.zeros((1, LENGTH, WIDTH), np.float32), "count": np.zeros(1, np.int64)}
    for frame in frames:
        y, past, count = reference(model, {"x": frame} | kept)
        kept = {"past": past, "count": count}
        yield y


@pytest.mark.parametrize(("past_scale", "dtype"), [(0.04, np.int8), (0.06, np.float32)])
def test_streams_equal_onnx_runtime(past_scale, dtype, tmp_path):
    """A cache in one quantization is int8; one that is read in another stays float."""
    model = cache(past_scale=past_scale)
    onnx.save(model, tmp_path / "net.onnx")
    compiled = parse(dump(lepton.compile(tmp_path / "net.onnx", config="tiny", states=STATES)))
    assert [info.name for info in (*compiled.inputs, *compiled.outputs)] == ["x", "y"]
    assert {state.name: np.dtype(state.tensor.dtype) for state in compiled.states} == {"past": dtype, "count": np.int64}
    with lepton.device.open("golden", config="tiny") as device, Session(compiled, device) as session:
        for seed in range(2):
            frames = stream(seed, 8)
            for frame, wanted in zip(frames, references(model, frames), strict=True):
                np.testing.assert_array_equal(session.run(frame).outputs["y"], wanted)
            assert session.states["count"] == 8
            session.states.reset()


def test_the_command_line_compiles_runs_and_evaluates_streams(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    model = cache()
    onnx.save(model, "net.onnx")
    frames = stream(3, 6)
    np.save("x.npy", frames[:, 0])
    np.save("labels.npy", np.zeros(6, np.int64))
    states = ["--state", "past=present", "--state", "count=counted"]
    assert main(["compile", "net.onnx", "--config", "tiny", *states]) == 0
    assert "past 1x5x8 int8, count 1 int64" in capsys.readouterr().out.replace("\n", " ")
    assert main(["run", "net.lepton", "--input", "x.npy", "--output", "y.npz", "--device", "golden"]) == 0
    wanted = np.concatenate(list(references(model, frames)))
    np.testing.assert_array_equal(np.load("y.npz")["y"], wanted)
    capsys.readouterr()
    assert main(["eval", "net.onnx", "--config", "tiny", *states, "--input", "x.npy", "--labels", "labels.npy",
                 "--device", "golden", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    share = (wanted.reshape(6, -1).argmax(1) == 0).mean()
    assert found["accuracy"] == {name: share for name in found["accuracy"]} and len(found["accuracy"]) == 3
    assert found["notes"] == ["6 of 6 outputs of the chip equal those of int8 on the CPU in every bit"]
    assert main(["profile", "net.lepton", *states]) == EXIT_USER_ERROR
    assert "is compiled already; --calibration, --shape, --state" in capsys.readouterr().err
    with pytest.raises(SystemExit):
        main(["compile", "net.onnx", "--state", "past"])
    assert "must be an input and an output, as PAST=PRESENT, not 'past'" in capsys.readouterr().err


@pytest.mark.parametrize(("states", "kept", "text"), [
    ({"pas": "present"}, LENGTH, "the state 'pas' names the input 'pas', which the network does not have; its inputs "
                                 "that are no states are x, past, count"),
    ({"past": "presents"}, LENGTH, "the state 'past' names the output 'presents', .* its outputs that are no "
                                   "states are y, present, counted"),
    ({"past": "present"}, LENGTH + 1, r"the state 'past' must have one shape: it is read as \(1, 5, 8\), and 'present' "
                                      r"has \(1, 6, 8\); export the network so that it keeps as many values as it is "
                                      "given"),
    ({"count": "y"}, LENGTH, "the state 'count' must have one shape"),
    ({"past": "present", "count": "present"}, LENGTH, "the state 'count' names the output 'present', which"),
])
def test_states_that_do_not_fit_are_refused(states, kept, text):
    with pytest.raises(GraphError, match=text):
        with_states(import_onnx(cache(kept)), states)


def test_an_input_that_is_kept_as_it_is():
    """A delay: the state becomes the input itself."""
    net = Net()
    x = net.input((1, 4), name="x")
    old = net.input((1, 4), name="old")
    y = net("Neg", old)
    model = net.model(y, net("Identity", x))
    graph = import_onnx(model)
    compiled: CompiledModel = lepton.compile(with_states(graph, {"old": graph.outputs[1]}), config="tiny")
    frames = stream(5, 4)[..., :4].reshape(4, 4)
    with lepton.device.open("golden", config="tiny") as device, Session(compiled, device) as session:
        made = session.predict(frames)
    np.testing.assert_array_equal(made, np.concatenate([np.zeros((1, 4), np.float32), -frames[:-1]]))
