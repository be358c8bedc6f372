"""The process of its own in which ONNX's libraries read a model: it may crash, hang, or be interrupted."""

import onnx
import pytest
from lepton.frontends.onnx import worker
from lepton.frontends.onnx.isolated import IsolatedWorker
from lepton.graph import GraphError

from tests.host.frontends.onnx.onnx_models import Net


def network(opset: int = 17) -> onnx.ModelProto:
    net = Net(opset)
    return net.model(net("Relu", net.input((1, 4))))


def test_the_text_of_onnxruntime_is_one_line_without_its_sources():
    fail = ("[ONNXRuntimeError] : 1 : FAIL : Exception during initialization: /onnxruntime_src/core/initializer.cc:79 "
            "onnxruntime::Initializer::Initializer(const onnx::TensorProto&, const std::vector<int>&, bool) "
            "[ONNXRuntimeError] : 1 : FAIL : tensorprotoutils.cc:1730 Validate Initializer 'c1': size (5 bytes)")
    assert worker.plain(fail) == "Initializer 'c1': size (5 bytes)"
    assert worker.plain("x" * 1000) == "x" * worker.LONGEST + "..."
    assert worker.plain("first\nsecond") == "first"


def test_a_model_that_crashes_or_stops_the_libraries(monkeypatch, tmp_path):
    """The process that works on a model may die or hang; the next model finds a new one."""
    model = network().SerializeToString()
    helpless = tmp_path / "helpless.py"
    for body, seconds, text in (("import os; os.abort()", 100, "ONNX's libraries crashed on it"),
                                ("import time; time.sleep(60)", 0.5, "has not prepared the model within 0.5 seconds")):
        helpless.write_text(body)
        isolated = IsolatedWorker(seconds=seconds)
        with monkeypatch.context() as patched:
            patched.setattr(worker, "__file__", str(helpless))
            with pytest.raises(GraphError, match=text):
                isolated.prepare(model)
        isolated.seconds = 100
        assert isolated.prepare(model)
        isolated.close()


def test_a_memory_limit_of_the_user(monkeypatch):
    """The worker's own limit must not be above the hard one, or it could not start."""
    limits = []
    monkeypatch.setattr(worker.resource, "getrlimit", lambda kind: (1 << 30, 1 << 33))
    monkeypatch.setattr(worker.resource, "setrlimit", lambda kind, limit: limits.append(limit))
    worker._limit_memory()
    monkeypatch.setattr(worker.resource, "getrlimit", lambda kind: (-1, worker.resource.RLIM_INFINITY))
    worker._limit_memory()
    assert limits == [(1 << 33, 1 << 33), (worker.MEMORY, worker.MEMORY)]


def test_an_interrupt_leaves_no_answer_for_the_next_model(monkeypatch):
    isolated = IsolatedWorker()
    model = network().SerializeToString()
    wanted = isolated.prepare(model)

    def interrupted(self, data, seconds):
        self.requests.write(worker.LENGTH.pack(len(data)) + data)
        self.requests.flush()
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(type(isolated._running), "answer", interrupted)
        other = network(opset=13).SerializeToString()
        with pytest.raises(KeyboardInterrupt):
            isolated.prepare(other)
    assert isolated.prepare(model) == wanted
    isolated.close()
