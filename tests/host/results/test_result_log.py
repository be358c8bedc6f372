"""The log of results: what it records of an inference, and what it does to inference when the spool is full or slow."""

import threading
import time

import numpy as np
import pytest
from lepton.results import CloudError, ResultLog, Spool, Store, Uploader
from lepton.results.verify import read


def test_result_records_say_what_made_them(tmp_path, keys):
    store = Store(tmp_path / "store")
    with Spool(tmp_path / "spool.db", device="alpha") as spool:
        with ResultLog(spool, model="net", model_hash="m" * 16, program_hash="p" * 16, config_hash="c" * 16,
                       device="golden") as log:
            log.add({"logits": np.arange(10, dtype=np.int8).reshape(1, 10)}, cycles=123, image=7)
            log.add({"map": np.zeros((1, 100), np.int8)}, cycles=124, image=8)
        with Uploader(spool, store, keys) as uploader:
            assert uploader.flush(20)
    _, [first, second] = next(read(store, keys.keyring()))
    assert (first["model_hash"], first["program_hash"], first["config_hash"]) == ("m" * 16, "p" * 16, "c" * 16)
    assert (first["run"], first["number"], first["cycles"], first["image"]) == (log.run, 0, 123, 7)
    assert first["outputs"][0]["values"].tolist() == [list(range(10))]
    assert first["outputs"][0]["shape"] == [1, 10]
    assert second["outputs"][0]["values"].tolist() == [[0] * 100]


def test_a_full_spool_does_not_stop_inference_but_is_counted(tmp_path):
    with Spool(tmp_path / "spool.db", max_bytes=1 << 20) as spool:
        log = ResultLog(spool, model="net", model_hash="", program_hash="", config_hash="", device="golden")
        for _ in range(5000):
            log.add({"logits": np.zeros((1, 10), np.int8)}, cycles=1)
        log.flush()
        counters = spool.status().counters
        assert log.lost == counters["rejected"] > 0
        assert counters["appended"] == 5000 - log.lost


def test_inference_does_not_wait_for_the_disk(tmp_path, monkeypatch):
    with Spool(tmp_path / "spool.db") as spool:
        free = threading.Event()
        entered = threading.Event()
        append_encoded = spool.append_encoded

        def slow(*arguments, **options):
            entered.set()
            assert free.wait(20)
            return append_encoded(*arguments, **options)

        monkeypatch.setattr(spool, "append_encoded", slow)
        with ResultLog(spool, model="net", model_hash="", program_hash="", config_hash="", device="golden") as log:
            for i in range(1000):
                log.add({"logits": np.zeros((1, 4), np.int8)}, cycles=i)
            assert entered.wait(20)
            free.set()
        assert spool.last_number(log.run) == 999 and log.lost == 0


def test_results_are_committed_by_themselves_after_a_while(tmp_path):
    with Spool(tmp_path / "spool.db") as spool:
        log = ResultLog(spool, model="net", model_hash="", program_hash="", config_hash="", device="golden")
        log.add({}, cycles=1)
        deadline = time.monotonic() + 20
        while spool.last_number(log.run) < 0 and time.monotonic() < deadline:
            time.sleep(0.02)
        assert spool.last_number(log.run) == 0
        log.close()


def test_an_error_of_the_spool_reaches_inference(tmp_path):
    spool = Spool(tmp_path / "spool.db")
    log = ResultLog(spool, model="net", model_hash="", program_hash="", config_hash="", device="golden")
    log.add({}, cycles=1)
    spool.close()
    with pytest.raises(CloudError, match="cannot be used: The connection has been closed"):
        log.close()
    assert log.lost == 1
