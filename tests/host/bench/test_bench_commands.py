"""`lepton bench` and `lepton profile`."""

import json
from functools import partial
from pathlib import Path

import lepton.cli.bench
import lepton.models
import pytest
from lepton.arch import PRESETS
from lepton.bench import run_rows
from lepton.bench.bursts import FETCH, LOAD, STORE
from lepton.cli import main
from lepton.runtime import CAUSES

from tests.host.bench import bench_targets

MNIST = Path(lepton.models.__file__).parent / "mnist" / "mnist.tflite"


def bench(folder, *arguments):
    status = main(["bench", "--config", "tiny", "--output", str(folder), *arguments])
    return status, json.loads((folder / "bench.json").read_text())


def test_bench_writes_records_layers_and_chart(tmp_path, capsys):
    status, rows = bench(tmp_path / "new", "gemm_4x8x8", "gemm_1x16x16")
    assert status == 0
    assert [row["name"] for row in rows] == ["gemm_4x8x8", "gemm_1x16x16"]
    assert all(row["exact"] and row["cycles"] for row in rows)
    layers = json.loads((tmp_path / "new" / "bench_layers.json").read_text())
    assert [layer["name"] for layer in layers[0]["layers"]] == ["gemm", "finish"]
    assert "gemm_4x8x8" in (tmp_path / "new" / "bench.svg").read_text()
    shown = capsys.readouterr().out
    assert "exact       2 of 2" in shown and f"gemm_4x8x8: {rows[0]['cycles']} cycles" in shown


def test_bench_fails_after_all_rows_when_one_does(tmp_path, capsys):
    status, rows = bench(tmp_path, "conv_257x257_4x4x4_4", "gemm_4x8x8")
    assert status == 1
    assert "error" in rows[0] and rows[0]["cycles"] is None and "error" not in rows[1] and rows[1]["exact"]
    wanted = "conv_257x257_4x4x4_4: GraphError: Conv2D 'conv' does not run on chip tiny: kernel (257, 257)"
    assert wanted in capsys.readouterr().out


def test_bench_fails_where_bytes_differ(tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(lepton.cli.bench, "run_rows", partial(run_rows, target=bench_targets.differs))
    status, (row,) = bench(tmp_path, "gemm_4x8x8")
    assert status == 1 and row["exact"] is False and row["cycles"]
    assert "NOT EXACT" in capsys.readouterr().out


def test_bench_refuses_an_unknown_row(tmp_path, capsys):
    assert main(["bench", "resnet51", "--output", str(tmp_path)]) == 2
    assert "lepton: topology must be one of resnet18" in capsys.readouterr().err


def test_losses_are_the_cycles_beyond_the_bound():
    layer = {"macs": 1000, "cycles": 100, "causes": dict(zip(CAUSES, (80, 1, 2, 3, 4, 10), strict=True))}
    lost = lepton.cli.bench.losses(layer, 16)  # 63 cycles at least
    assert list(lost.items())[:2] == [("EMPTY", 17), ("IDLE", 10)] and sum(lost.values()) == 100 - 63


def test_profile_writes_a_timeline_that_adds_up(tmp_path, capsys):
    pytest.importorskip("tflite")
    trace = tmp_path / "trace.json"
    assert main(["profile", str(MNIST), "--config", "tiny", "--trace", str(trace)]) == 0
    shown = capsys.readouterr().out
    assert "classifier" in shown and "MACs a cycle x cycles" in shown and "traffic" in shown
    content = json.loads(trace.read_text())
    clock = PRESETS["tiny"].clock_mhz
    tracks = {e["tid"]: e["args"]["name"] for e in content["traceEvents"] if e["name"] == "thread_name"}
    assert list(tracks.values()) == ["TENSOR", LOAD, FETCH, STORE]
    spans = [e for e in content["traceEvents"] if e["ph"] == "X" and tracks[e["tid"]] == "TENSOR"]
    assert spans[0]["name"] == "stem.conv" and spans[-1]["name"] == "finish"
    at = 0
    for span in spans:
        arguments = span["args"]
        assert span["ts"] == pytest.approx(at / clock) and span["dur"] == pytest.approx(arguments["cycles"] / clock)
        assert sum(arguments[cause] for cause in CAUSES) == arguments["cycles"] > 0
        at += arguments["cycles"]
    assert at == content["otherData"]["cycles"]
    moved = dict.fromkeys(tracks.values(), 0)
    for number, track in tracks.items():
        end = 0
        for burst in (e for e in content["traceEvents"] if e["ph"] == "X" and e["tid"] == number):
            assert burst["ts"] >= end - 1e-9 and burst["dur"] > 0 and burst["name"] != "unknown"
            end = burst["ts"] + burst["dur"]
            moved[track] += burst["args"].get("bytes", 0)
        assert end <= (at + 1) / clock
    assert moved[LOAD] + moved[FETCH] == content["otherData"]["read_bytes"]
    assert moved[STORE] == content["otherData"]["write_bytes"] > 0 < moved[FETCH]
    for event in content["traceEvents"]:
        if event["ph"] == "C" and event["name"].startswith("cycles") and event["ts"] < at / clock:
            assert sum(event["args"].values()) == pytest.approx(100, abs=0.1)


def test_profile_of_a_compiled_file_keeps_its_configuration(tmp_path, capsys):
    pytest.importorskip("tflite")
    compiled = tmp_path / "mnist.lepton"
    assert main(["compile", str(MNIST), "--config", "tiny", "-o", str(compiled)]) == 0
    assert main(["profile", str(compiled), "--config", "base"]) == 2
    assert "is compiled for configuration 'tiny', not 'base'" in capsys.readouterr().err
    assert main(["profile", str(compiled)]) == 0
    assert "4x4 int8 multipliers" in capsys.readouterr().out
