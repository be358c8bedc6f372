"""The cloud's figures: measured for moments only, to see that each is measured and written."""

import json
import threading

import pytest
from lepton.bench import cloud, drain
from lepton.bench.cloud import CLOUD_ROWS, CloudMeasurement, measure_cloud
from lepton.cli import main
from lepton.results import Store, StoreError, Unavailable, server


@pytest.fixture(autouse=True)
def moments(monkeypatch):
    for module, name, value in ((cloud, "SECONDS", 0.1), (cloud, "PAIRS", 1), (cloud, "BLOCK", 4),
                                (drain, "BACKLOG", 10_000), (drain, "OUTAGES", 2)):
        monkeypatch.setattr(module, name, value)


def test_every_figure_is_measured_and_written(tmp_path, capsys):
    names = [name for name in CLOUD_ROWS if name != "upload_drain_s3"]
    assert main(["bench", *names, "--output", str(tmp_path)]) == 0
    rows = json.loads((tmp_path / "bench.json").read_text())
    assert [row["name"] for row in rows] == names
    for row in rows:
        assert isinstance(row["value"], float) and row["disk_syncs"] > 0 and "error" not in row
        at_least = row["name"] != "upload_slowdown"
        assert row["reached"] == (row["value"] >= row["goal"] if at_least else row["value"] <= row["goal"])
    assert "goal at least 20000" in capsys.readouterr().out
    assert sorted(p.name for p in tmp_path.iterdir()) == ["bench.json", "bench.svg", "bench_layers.json"]


def test_a_backlog_leaves_for_a_real_s3_server(tmp_path, monkeypatch):
    monkeypatch.setattr(server, "STOP_SECONDS", 0.5)  # its data are not needed any more
    try:
        server._program()
    except StoreError as missing:
        pytest.skip(str(missing))
    found = measure_cloud("upload_drain_s3", tmp_path)
    assert found.error is None and found.value > 0
    assert list(tmp_path.iterdir()) == []  # and the server is gone


def test_the_stores_own_rate_is_that_of_all_its_writers(tmp_path):
    """As many as the uploader has lanes, each object once; what the store raises is raised."""
    writers = set()
    keys = []

    class Watched(Store):
        down = False

        def put_new(self, key, data):
            if self.down:
                raise Unavailable("away")
            writers.add(threading.get_ident())
            keys.append(key)
            barrier.wait(20)  # none goes on before all have come
            return True

    store = Watched(tmp_path)
    objects = [(f"key{n}", b"") for n in range(3 * store.lanes)]
    barrier = threading.Barrier(store.lanes)
    assert drain._put_all(store, objects) > 0
    assert len(writers) == store.lanes and sorted(keys) == [key for key, _ in objects]
    store.down = True
    with pytest.raises(Unavailable, match="away"):
        drain._put_all(store, objects)


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
