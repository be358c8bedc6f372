"""The metrics of a device's spools, as Prometheus' own parser reads them."""

import time

import pytest
from lepton.cli import main
from lepton.results import DeviceKeys, Spool, Store, Uploader
from lepton.results.spool_metrics import SpoolReading, text
from prometheus_client.parser import text_string_to_metric_families


def samples(output):
    return {(sample.name, sample.labels.get("outcome")): sample
            for family in text_string_to_metric_families(output) for sample in family.samples}


def test_states_of_a_spool(tmp_path, capsys):
    path = tmp_path / 'spool "1".db'
    with Spool(path, device="cam7") as spool:
        spool.append_many("run", [{"value": n} for n in range(5)])
    begun = time.time()
    assert main(["cloud", "status", "--spool", str(path), "--metrics"]) == 0
    found = samples(capsys.readouterr().out)
    assert found["lepton_spool_waiting_records", None].value == 5
    assert found["lepton_spool_waiting_records", None].labels == {"device": "cam7", "spool": str(path)}
    assert found["lepton_spool_records_total", "appended"].value == 5
    assert found["lepton_spool_records_total", "stored"].value == 0
    assert 0 <= found["lepton_spool_oldest_waiting_seconds", None].value < time.time() - begun + 60
    with Spool(path) as spool, Uploader(spool, Store(tmp_path / "store"), DeviceKeys.generate()) as uploader:
        assert uploader.flush(60)
    assert main(["cloud", "status", "--spool", str(path), "--metrics"]) == 0
    found = samples(capsys.readouterr().out)
    assert found["lepton_spool_waiting_records", None].value == 0
    assert found["lepton_spool_oldest_waiting_seconds", None].value == 0
    assert found["lepton_spool_records_total", "stored"].value == 5
    assert found["lepton_spool_segments_total", None].value == 1


def test_age_of_a_segment_that_waits(tmp_path):
    """Records in a segment that was offered, and not stored, are as old as they were."""
    store = tmp_path / "store"
    with Spool(tmp_path / "spool.db") as spool:
        with Uploader(spool, Store(store), DeviceKeys.generate()) as uploader:
            spool.append_many("run", [{"value": 1}])
            assert uploader.flush(60)
        store.rename(tmp_path / "away")
        before = time.time()
        spool.append_many("run", [{"value": 2}])
        with Uploader(spool, Store(store), DeviceKeys.generate(), linger=0.01):
            deadline = time.monotonic() + 60
            while not spool.status().sealed:
                assert time.monotonic() < deadline
                time.sleep(0.02)
        assert spool.status().waiting == 0
        assert spool.oldest_waiting() == pytest.approx(before, abs=30)


def test_labels_are_escaped(tmp_path):
    with Spool(tmp_path / "a\\b.db") as spool:
        found = samples(text([SpoolReading(spool.status(), 0.0)]))
    assert found["lepton_spool_bytes", None].labels["spool"] == str(tmp_path / "a\\b.db")
