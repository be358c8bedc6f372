"""Threads outlive whatever goes wrong in them."""

import threading
import time

import pytest
from lepton.results import DeviceKeys, ResultLog, Spool, Store, Uploader
from lepton.results.verify import verify
from lepton.results.worker import Worker

KEYS = DeviceKeys.generate()
ERRORS = [ZeroDivisionError("division"), MemoryError(), RecursionError("deep"), KeyError("x"), SystemExit(3),
          GeneratorExit(), AssertionError(""), UnicodeDecodeError("utf-8", b"\xff", 0, 1, "bad"), RuntimeError("a\nb")]


def failing(function, errors):
    """`function`, but that its first calls raise `errors`."""
    left = list(errors)

    def call(*arguments, **options):
        if left:
            raise left.pop(0)
        return function(*arguments, **options)

    return call, left


def wait(condition, seconds=20):
    deadline = time.monotonic() + seconds
    while not condition() and time.monotonic() < deadline:
        time.sleep(0.01)
    assert condition()


@pytest.mark.parametrize("where", ["outbox.seal", "outbox.waiting", "outbox.sequences", "outbox.read",
                                   "outbox.exchange", "outbox.backlog", "outbox.offer_refused", "target.put_new",
                                   "target.identify", "spool.note", "spool.target_identity", "_rng.uniform"])
def test_unexpected_errors_end_no_thread(tmp_path, monkeypatch, where):
    """Wherever they are raised: all is stored, once, and the status has said what it was."""
    with Spool(tmp_path / "spool.db", device="cam") as spool:
        running = Uploader(spool, Store(tmp_path / "store"), KEYS, segment_records=20, linger=0.01, backoff_base=0.01,
                           backoff_cap=0.02)
        holder, _, name = where.rpartition(".")
        owner = getattr(running, holder)
        call, errors = failing(getattr(owner, name), ERRORS)
        monkeypatch.setattr(owner, name, call)
        if where in ("spool.note", "_rng.uniform"):  # they are called after an error
            monkeypatch.setattr(running.outbox, "seal", failing(running.outbox.seal, ERRORS)[0])
        monkeypatch.setattr(Worker, "PATIENCE_SECONDS", 0.01)
        spool.append_many("run", [{}] * 105)  # the last five linger
        with running:
            wait(lambda: not errors and not spool.status().waiting and not spool.status().sealed)
            assert running.flush(20)
            assert all(worker.alive for worker in running._workers)
    report = verify(Store(tmp_path / "store"), KEYS.keyring())
    assert report.good and report.records == 105


def test_the_status_names_an_unexpected_error(tmp_path, monkeypatch):
    with Spool(tmp_path / "spool.db") as spool:
        spool.append("run", {})
        running = Uploader(spool, Store(tmp_path / "store"), KEYS, linger=0.01, backoff_base=0.01, backoff_cap=0.02)
        monkeypatch.setattr(running.outbox, "seal", lambda *_: 1 // 0)
        with running:
            wait(lambda: spool.status().upload.get("error"))
            assert spool.status().upload["error"] == ("unexpected ZeroDivisionError: integer division or modulo by "
                                                      "zero")


def test_a_thread_that_ended_is_started_again(tmp_path):
    with Spool(tmp_path / "spool.db") as spool, Uploader(spool, Store(tmp_path / "store"), KEYS) as running:
        ended = threading.Thread(target=lambda: None)
        ended.start()
        ended.join()
        stuck = running._workers[0]._thread
        running._workers[0]._thread = ended
        spool.append("run", {})
        assert running.flush(20)
        assert running._workers[0].alive and stuck.is_alive()
        assert running.status.idle_seconds < 20


def test_an_uploader_may_be_started_again(tmp_path):
    with Spool(tmp_path / "spool.db") as spool:
        running = Uploader(spool, Store(tmp_path / "store"), KEYS)
        for _ in range(3):
            with running:
                spool.append("run", {})
                assert running.flush(20)


def test_a_system_without_threads(tmp_path, monkeypatch):
    """None for a log's commits, none for the lanes: what was to be done waits, and is done when there are some."""
    with Spool(tmp_path / "spool.db") as spool:
        with ResultLog(spool, model="m", model_hash="h", program_hash="p", config_hash="c", device="golden") as log:
            with monkeypatch.context() as patched:
                patched.setattr(threading.Thread, "start", lambda self: (_ for _ in ()).throw(
                    RuntimeError("can't start new thread")))
                with pytest.raises(RuntimeError, match="can't start new thread"):
                    log.add({}, cycles=1)
            log.add({}, cycles=2)
            log.flush()
            assert spool.status().waiting == 2
        running = Uploader(spool, Store(tmp_path / "store"), KEYS, segment_records=1)
        start = threading.Thread.start
        allowed = [1]

        def few(thread):
            if thread.name == "lepton-lane" and not allowed:
                raise RuntimeError("can't start new thread")
            if thread.name == "lepton-lane":
                allowed.pop()
            start(thread)

        monkeypatch.setattr(threading.Thread, "start", few)
        while running.outbox.seal(1, 1 << 20):
            pass
        assert running.step()
        with pytest.raises(RuntimeError, match="can't start new thread"):
            spool.append("run", {})
            running.step()


def test_a_log_whose_commits_fail_unexpectedly_does_not_hang(tmp_path, monkeypatch):
    with Spool(tmp_path / "spool.db") as spool:
        log = ResultLog(spool, model="m", model_hash="h", program_hash="p", config_hash="c", device="golden")
        monkeypatch.setattr(spool, "append_encoded", failing(spool.append_encoded, [SystemExit(1)])[0])
        monkeypatch.setattr(spool, "count_rejected", failing(spool.count_rejected, [ZeroDivisionError()])[0])
        log.add({}, cycles=1)
        with pytest.raises(SystemExit):
            log.flush()
        log.add({}, cycles=2)
        log.close()
        assert (spool.status().waiting, log.lost) == (1, 1)
