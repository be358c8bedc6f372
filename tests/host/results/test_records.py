"""One bad record: whatever is wrong with its form or size, no other is lost with it, and it is counted."""

import datetime
import enum
import json
import math
import multiprocessing
from pathlib import Path

import numpy as np
import pytest
from lepton.results import CloudError, RecordError, ResultLog, Spool, SpoolError, Store, Uploader, records
from lepton.results.database import MIN_MAX_BYTES
from lepton.results.verify import read, verify

OTHERS = 60


class Hostile(dict):
    def items(self):
        raise RuntimeError("no")


class Color(enum.IntEnum):
    RED = 3


def deep(levels):
    value = []
    for _ in range(levels):
        value = [value]
    return value


def circle():
    value = {}
    value["self"] = value
    return value


TAKEN = [
    (float("nan"), "NaN"), (float("inf"), "Infinity"), (-math.inf, "-Infinity"), (np.float32("nan"), "NaN"),
    (np.float16(0.5), 0.5), (np.longdouble(2), 2.0), (np.int64(7), 7), (np.bool_(True), True), (np.uint8(200), 200),
    (np.array([[1.5, math.nan]], np.float32), [[1.5, "NaN"]]), (np.str_("x"), "x"), (Path("/a/b"), "/a/b"),
    (datetime.date(2026, 1, 2), "2026-01-02"), (np.datetime64("2026-01-02"), "2026-01-02"), (Color.RED, 3),
    ({1: {"x": [math.inf]}}, {"1": {"x": ["Infinity"]}}), ((1, math.nan), [1, "NaN"]), ("\ud800", "\ud800"),
    (deep(20), deep(20)), (2**80, 2**80), ("NaN", "NaN"),
]
REFUSED = [
    (b"raw", "field 'x' of a record has a value of type bytes, which JSON does not have; give a number"),
    ({1, 2}, "field 'x' of a record has a value of type set"), (1j, "of type complex"),
    (np.array([1j]), "of type ndarray"), (np.array([object()]), "of type ndarray"), (object(), "of type object"),
    ([{"a": object()}], r"field 'x\[0\].a' of a record has a value of type object"),
    ({1.5: 1, (1, 2): 2}, "field 'x' of a record has a key of type float; keys must be strings or whole numbers"),
    (deep(100), "field '.*' of a record has more than 32 nested lists and objects"),
    (deep(100_000), "has more than 32 nested lists and objects"),
    (circle(), "has more than 32 nested lists and objects"),
    (10**5000, "a record cannot be written as JSON: Exceeds the limit"),
    (Hostile(a=1), "cannot be written as JSON: no"),
]


@pytest.mark.parametrize(("value", "written"), TAKEN, ids=range(len(TAKEN)))
def test_what_json_has_no_word_for_is_written_in_the_stated_notation(value, written):
    line = records.line(records.encode({"x": value}), "run", 3)
    assert json.loads(line, parse_constant=pytest.fail) == {"x": written, "run": "run", "number": 3}


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
def test_readers_get_the_values_back(dtype):
    values = np.array([np.nan, np.inf, -np.inf, -0.0, 1e-5, np.finfo(dtype).max], dtype)
    found = json.loads(records.line(records.encode({"x": values}), "run", 0))["x"]
    assert np.array(found, dtype).tobytes() == values.tobytes()


@pytest.mark.parametrize(("value", "text"), REFUSED, ids=range(len(REFUSED)))
def test_what_cannot_be_written_is_refused_by_name(value, text):
    with pytest.raises(RecordError, match=text):
        records.encode({"x": value})


def test_a_record_is_a_mapping_of_limited_size():
    with pytest.raises(RecordError, match="a record must be a mapping of names to values, not list"):
        records.encode([1])
    with pytest.raises(RecordError, match=r"a record may have at most 16777216 bytes, not \d+"):
        records.encode({"text": "x" * records.MAX_BYTES})


def log_of(spool):
    return ResultLog(spool, model="m", model_hash="h", program_hash="p", config_hash="c", device="golden")


BAD_FIELDS = [*({"x": value} for value, _ in REFUSED), {"x": "y" * 100_000}, {"run": "mine"}, {"number": 4},
              {"model": "other"}, {"cycles": object()}]


@pytest.mark.parametrize("fields", BAD_FIELDS, ids=range(len(BAD_FIELDS)))
def test_a_bad_result_is_lost_alone_and_counted(tmp_path, keys, fields):
    with Spool(tmp_path / "spool.db", device="cam", max_bytes=MIN_MAX_BYTES) as spool:
        with log_of(spool) as log:
            for i in range(OTHERS + 1):
                arguments = {"cycles": 1, **(fields if i == OTHERS // 2 else {"image": i})}
                if i == OTHERS // 2:
                    with pytest.raises(RecordError):
                        log.add({"y": np.zeros(3, np.float32)}, **arguments)
                else:
                    log.add({"y": np.zeros(3, np.float32)}, **arguments)
        assert log.lost == spool.status().counters["rejected"] == 1
        assert spool.status().waiting == OTHERS
        store = Store(tmp_path / "store")
        with Uploader(spool, store, keys) as uploader:
            assert uploader.flush(20)
        found = list(read(store, keys.keyring()))
        assert [r["image"] for _, rs in found for r in rs] == [i for i in range(OTHERS + 1) if i != OTHERS // 2]
        assert found[-1][0].counters["rejected"] == 1  # the store knows, too
        assert verify(store, keys.keyring()).good


@pytest.mark.parametrize("output", [np.array([object()]), np.array(["x"]), np.array([1j]), "no array"], ids=range(4))
def test_an_output_that_is_no_array_of_numbers_is_refused(tmp_path, output):
    with Spool(tmp_path / "spool.db") as spool, log_of(spool) as log:
        with pytest.raises(RecordError, match="output 'y' must be an array of numbers, not of"):
            log.add({"y": output}, cycles=1)
        log.add({"y": np.float32("nan")}, cycles=np.int64(3))
        log.flush()
        assert (spool.status().waiting, log.lost) == (1, 1)


def test_shapes_of_outputs_are_kept(tmp_path, keys):
    with Spool(tmp_path / "spool.db") as spool, log_of(spool) as log:
        log.add({"y": np.array(1.5), "z": np.zeros((2, 0), np.int8), "t": np.arange(6).reshape(2, 3).T}, cycles=1)
        log.flush()
        with Uploader(spool, Store(tmp_path / "store"), keys) as uploader:
            assert uploader.flush(20)
    ((_, (record,)),) = read(Store(tmp_path / "store"), keys.keyring())
    assert [o["shape"] for o in record["outputs"]] == [[], [2, 0], [3, 2]]
    assert [o["values"].tolist() for o in record["outputs"]] == [1.5, [[], []], [[0, 3], [1, 4], [2, 5]]]


def test_a_batch_takes_what_is_good(tmp_path, keys):
    with Spool(tmp_path / "spool.db") as spool:
        good = {"x": 1}
        bad = {"x": b""}
        with pytest.raises(RecordError, match=r"record 1 of 4 was refused: field 'x' .* \(2 records were refused\); "
                                              "2 others are stored"):
            spool.append_many("compact", [good, bad, bad, good])
        assert spool.last_number("compact") == 1
        for _ in range(2):  # a producer that numbers its records, and tries again
            with pytest.raises(RecordError, match="record 1 of 3 was refused"):
                spool.append_many("numbered", [good, bad, good], first=0)
        assert spool.last_number("numbered") == 2
        counters = spool.status().counters
        assert (counters["appended"], counters["rejected"], counters["duplicate"]) == (4, 3, 3)
        with Uploader(spool, Store(tmp_path / "store"), keys) as uploader:
            assert uploader.flush(20)
    report = verify(Store(tmp_path / "store"), keys.keyring())
    assert report.good and report.records == 4
    assert report.spools[0].notes == ["1 records are missing; the device has counted 3 as lost"]


def test_large_results_are_committed_in_batches_that_fit(tmp_path):
    """Each fits by itself; many at once are more than one commit may hold."""
    with Spool(tmp_path / "spool.db", max_bytes=MIN_MAX_BYTES * 8) as spool, log_of(spool) as log:
        for _ in range(12):
            log.add({}, cycles=1, text="x" * 200_000)
        log.flush()
        assert (spool.status().waiting, log.lost) == (12, 0)


def test_incompressible_records_make_segments_that_a_store_takes(tmp_path, keys):
    """However large the spool: a segment that is too large would be made again and again, and nothing would leave."""
    with Spool(tmp_path / "spool.db", max_bytes=4 << 30) as spool:
        text = np.random.default_rng(1).bytes(6 << 20).hex()
        for _ in range(8):
            spool.append("run", {"text": text})
        with Uploader(spool, Store(tmp_path / "store"), keys, segment_bytes=1 << 30, segment_records=100) as uploader:
            assert uploader.flush(60), uploader.status
    assert verify(Store(tmp_path / "store"), keys.keyring()).records == 8


def test_the_name_of_a_run_is_checked_at_once(tmp_path):
    with Spool(tmp_path / "spool.db") as spool, pytest.raises(CloudError, match=r"a run name must be 1 to 64 letters"):
        ResultLog(spool, model="m", model_hash="h", program_hash="p", config_hash="c", device="golden", run="../x")


def test_an_error_that_add_reports_does_not_cost_its_own_result(tmp_path, monkeypatch):
    with Spool(tmp_path / "spool.db") as spool, log_of(spool) as log:
        with monkeypatch.context() as patched:
            patched.setattr(spool, "append_encoded", lambda *_, **__: 1 // 0)
            log.add({}, cycles=1)
            with pytest.raises(ZeroDivisionError):
                log.flush()
            log.add({}, cycles=2)
            while log.lost < 2:
                log._changed.acquire()
                log._flushing = 1
                log._changed.notify_all()
                log._changed.release()
            log._flushing = 0
        with pytest.raises(ZeroDivisionError):
            log.add({}, cycles=3)
        log.flush()
        assert spool.status().waiting == 1 and log.lost == spool.status().counters["rejected"] == 2


def test_a_fork_cannot_use_spool_or_log(tmp_path):
    """SQLite forbids it, and the log's thread is not there; the forked process gets an error and does not hang."""
    fork = multiprocessing.get_context("fork")
    with Spool(tmp_path / "spool.db") as spool, log_of(spool) as log:
        log.add({}, cycles=1)
        log.flush()
        uses = {"add": lambda: log.add({}, cycles=1), "flush": log.flush, "log.close": log.close,
                "append": lambda: spool.append("run", {}), "status": spool.status, "spool.close": spool.close,
                "left": lambda: spool.left_until(1)}
        here, there = fork.Pipe()

        def work():
            for name, use in uses.items():
                try:
                    use()
                    there.send((name, ""))
                except SpoolError as error:
                    there.send((name, str(error)))

        process = fork.Process(target=work)
        process.start()
        for name in uses:
            assert here.poll(30), name
            found, text = here.recv()
            refused = "cannot be used in the forked process" in text
            assert found == name and refused == (name != "spool.close"), (name, text)
        process.join()
        assert spool.append("run", {}) == 1
