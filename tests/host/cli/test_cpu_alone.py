"""`lepton compile` says when the CPU alone is faster than the chip."""

import lepton.models
import pytest
from lepton.arch import PRESETS
from lepton.cli import cpu_alone, main
from lepton.cli.cpu_alone import CpuTime, measure
from lepton.cli.placement import cpu_facts
from lepton.compiler import compile_graph
from lepton.runtime.costs import LAYOUT, HostCost

MODEL = lepton.models.load("mnist")


def test_the_framework_is_timed():
    pytest.importorskip("ai_edge_litert")
    found = measure(MODEL.path, {})
    assert found.framework == "LiteRT" and 0 < found.seconds < 1


def test_what_cannot_be_timed_is_left_out(tmp_path, capsys, monkeypatch):
    for suffix in (".tflite", ".onnx", ".pt2"):
        (tmp_path / f"broken{suffix}").write_bytes(b"no network")
        assert measure(tmp_path / f"broken{suffix}", {}) is None
    monkeypatch.setattr(cpu_alone, "_litert", lambda *_: 1 // 0)
    monkeypatch.chdir(tmp_path)
    assert main(["compile", str(MODEL.path), "-o", "net.lepton", "--config", "tiny"]) == 0
    assert "on the CPU alone" not in capsys.readouterr().out


@pytest.mark.parametrize(("seconds", "faster"), [(1e-6, True), (10.0, False)])
def test_who_is_faster_is_said(seconds, faster):
    model = compile_graph(MODEL.graph(), PRESETS["tiny"])
    costs = [HostCost(0, "job", LAYOUT, 0, 100, 0.001)]
    [(name, text)] = cpu_facts(model, costs, CpuTime("LiteRT", seconds))
    assert name == "on the CPU alone"
    assert "by LiteRT on one thread of this machine; chip, at an assumed 100 MHz, and host together take" in text
    assert ("THE CPU ALONE IS FASTER" in text) == faster
    assert cpu_facts(model, costs, None) == []


def test_the_report_has_it(tmp_path, capsys, monkeypatch):
    pytest.importorskip("ai_edge_litert")
    monkeypatch.chdir(tmp_path)
    assert main(["compile", str(MODEL.path), "-o", "net.lepton", "--config", "tiny"]) == 0
    assert "on the CPU alone" in capsys.readouterr().out
