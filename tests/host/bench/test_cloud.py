"""The cloud's figures: measured for moments only, to see that each is measured and written."""

import json

import lepton.bench.cloud
import pytest
from lepton.bench.cloud import CLOUD_ROWS, CloudMeasurement, measure_cloud
from lepton.cli import main


@pytest.fixture(autouse=True)
def moments(monkeypatch):
    for name, value in {"SECONDS": 0.1, "PAIRS": 1, "BLOCK": 4, "BACKLOG": 2000, "OUTAGES": 1}.items():
        monkeypatch.setattr(lepton.bench.cloud, name, value)


def test_every_figure_is_measured_and_written(tmp_path, capsys):
    assert main(["bench", *CLOUD_ROWS, "--output", str(tmp_path)]) == 0
    rows = json.loads((tmp_path / "bench.json").read_text())
    assert [row["name"] for row in rows] == ["spool_batched", "spool_single", "upload_slowdown", "upload_drain"]
    for row in rows:
        assert isinstance(row["value"], float) and row["disk_syncs"] > 0 and "error" not in row
        at_least = row["name"] != "upload_slowdown"
        assert row["reached"] == (row["value"] >= row["goal"] if at_least else row["value"] <= row["goal"])
    assert "goal at least 20000" in capsys.readouterr().out
    assert sorted(p.name for p in tmp_path.iterdir()) == ["bench.json", "bench.svg", "bench_layers.json"]


def test_a_figure_that_cannot_be_measured_says_why(tmp_path, monkeypatch):
    def broken(place):
        raise RuntimeError("no disk")

    monkeypatch.setitem(CLOUD_ROWS, "spool_single", ("results/s", 2000.0, True, broken))
    found = measure_cloud("spool_single", tmp_path)
    assert found.record() == {"name": "spool_single", "value": None, "unit": "results/s", "goal": 2000.0,
                              "reached": False, "disk_syncs": None, "error": "RuntimeError: no disk"}


def test_goals_are_lower_or_upper_bounds():
    assert CloudMeasurement("a", 5.0, "", 4.0).reached and not CloudMeasurement("a", 3.0, "", 4.0).reached
    assert CloudMeasurement("a", 3.0, "", 4.0, least=False).reached
