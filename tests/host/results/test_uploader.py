"""The uploader with a real spool and store; failing stores are the only thing made up."""

import random
import threading
import time

import numpy as np
import pytest
from lepton.results import (
    CloudError,
    DeviceKeys,
    Spool,
    SpoolFull,
    Store,
    TargetRefused,
    Unavailable,
    Uploader,
    open_target,
    verify,
)
from lepton.results.credentials import Credentials
from lepton.results.ingest import retry_after

from tests.host.results.power_loss import Disk

KEYS = DeviceKeys.generate()


class FailingStore(Store):
    """Fails `failures` times before (or, with `answer_lost`, after) it stores."""

    def __init__(self, where, failures, *, answer_lost=False):
        super().__init__(where)
        self.group = 1  # all go through `put_new`
        self.failures = failures
        self.answer_lost = answer_lost
        self.calls = []

    def put_new(self, key, body):
        self.calls.append(time.monotonic())
        if self.answer_lost:
            super().put_new(key, body)
        if len(self.calls) <= self.failures:
            raise Unavailable("connection reset by peer\nDebug source: ...")
        return super().put_new(key, body)


@pytest.fixture
def spool(tmp_path):
    with Spool(tmp_path / "spool.db", device="alpha") as spool:
        yield spool


def read(store):
    """(header, records) of the stored segments in order, after every check."""
    return verify.read(store, KEYS.keyring())


def stored(store):
    return [(r["run"], r["number"]) for _, records in read(store) for r in records]


def test_everything_arrives_once_in_order(spool, tmp_path):
    store = Store(tmp_path / "store")
    with Uploader(spool, store, KEYS, segment_records=100) as uploader:
        for i in range(10):
            spool.append_many("run", [{"i": i}] * 77)
        assert uploader.flush(20)
    assert stored(store) == [("run", n) for n in range(770)]
    assert spool.status().counters["stored"] == uploader.status.records == 770
    assert spool.left_until(spool.last_record()) == 0


def test_what_lingers_leaves_by_itself(spool, tmp_path):
    store = Store(tmp_path / "store")
    with Uploader(spool, store, KEYS, linger=0.05):
        spool.append("run", {})
        deadline = time.monotonic() + 20
        while spool.left_until(spool.last_record()) and time.monotonic() < deadline:
            time.sleep(0.01)
    assert stored(store) == [("run", 0)]


@pytest.mark.parametrize("answer_lost", [False, True])
def test_a_store_that_fails_for_a_while_loses_and_doubles_nothing(spool, tmp_path, answer_lost):
    store = FailingStore(tmp_path / "store", 6, answer_lost=answer_lost)
    with Uploader(spool, store, KEYS, segment_records=50, backoff_base=0.01, rng=random.Random(1)) as uploader:
        spool.append_many("run", [{}] * 120)
        assert uploader.flush(20)
        assert uploader.status.failures == 0
    assert stored(store) == [("run", n) for n in range(120)]
    assert len(store.calls) == 6 + 3
    assert spool.status().upload["error"] == ""


def test_while_the_store_is_down_inference_goes_on_and_status_says_why(spool, tmp_path):
    store = FailingStore(tmp_path / "store", 10 ** 9)
    with Uploader(spool, store, KEYS, linger=0.01, backoff_base=0.01, backoff_cap=0.02) as uploader:
        started = time.monotonic()
        for _ in range(200):
            spool.append("run", {})
        assert time.monotonic() - started < 10
        assert uploader.flush(0.2) is False
        assert uploader.status.failures > 0
        assert spool.status().upload["error"] == uploader.status.last_error == "connection reset by peer"
    assert spool.left_until(spool.last_record()) == 200
    with Uploader(spool, Store(tmp_path / "store"), KEYS) as uploader:  # the next process finishes the work
        assert uploader.flush(20)
    assert sorted(stored(store)) == [("run", n) for n in range(200)]


def test_backoff_is_full_jitter_under_a_cap(spool, tmp_path):
    uploader = Uploader(spool, Store(tmp_path), KEYS, backoff_base=0.5, backoff_cap=300.0, rng=random.Random(5))
    delays = [uploader._note_failure(Unavailable("down")) for _ in range(400)]
    for i, delay in enumerate(delays[:9]):
        assert 0 <= delay <= 0.5 * 2 ** i
    late = delays[20:]
    assert max(late) <= 300.0
    assert abs(np.mean(late) - 150) < 15  # uniform in 0..cap, not cap


def test_blocked_producer_goes_on_when_the_uploader_has_made_room(tmp_path):
    with Spool(tmp_path / "spool.db", max_bytes=1 << 20, policy="block") as spool:
        store = Store(tmp_path / "store")
        producer = threading.Thread(target=lambda: [spool.append("run", {"text": "x" * 10000}) for _ in range(300)])
        with Uploader(spool, store, KEYS, linger=0.01) as uploader:
            producer.start()
            producer.join(60)
            assert not producer.is_alive()
            assert uploader.flush(20)
        assert spool.status().counters["rejected"] == 0
        assert spool.file_bytes() <= 1 << 20
        assert stored(store) == [("run", n) for n in range(300)]


def test_losses_are_uploaded_with_the_next_segment(tmp_path):
    with Spool(tmp_path / "spool.db", max_bytes=1 << 20, policy="drop_oldest") as spool:
        for _ in range(300):
            spool.append("run", {"text": "x" * 9000})
        store = Store(tmp_path / "store")
        with Uploader(spool, store, KEYS) as uploader:
            assert uploader.flush(20)
        counters = [header.counters for header, _ in read(store)][-1]
        assert counters["dropped"] == spool.status().counters["dropped"] > 0
        assert len(stored(store)) == 300 - counters["dropped"]


def test_flush_needs_a_running_uploader(spool, tmp_path):
    with pytest.raises(CloudError, match=r"not running; call start\(\) before flush"):
        Uploader(spool, Store(tmp_path), KEYS).flush(1)


def test_what_the_target_asks_for_is_done(spool, tmp_path):
    uploader = Uploader(spool, Store(tmp_path), KEYS, backoff_cap=300.0)
    asked = [uploader._note_failure(Unavailable("busy", 17.0)) for _ in range(200)]
    assert 17.0 <= min(asked) < 18 and 25 < max(asked) <= 25.5  # devices that are told the same return one by one
    assert uploader._note_failure(Unavailable("busy", 10_000.0)) == 300.0
    at_once = [uploader._note_failure(Unavailable("busy", 0.0)) for _ in range(200)]
    assert min(at_once) >= 0.5 and max(at_once) <= 0.75  # never at once, and never together


@pytest.mark.parametrize(("headers", "seconds"), [
    ({"retry-after": "120"}, 120.0),
    ({"retry-after": "Fri, 31 Dec 1999 23:59:59 GMT", "date": "Fri, 31 Dec 1999 23:59:29 GMT"}, 30.0),
    ({"retry-after": "Fri, 31 Dec 1999 23:59:59 GMT", "date": "Sat, 01 Jan 2000 23:59:29 GMT"}, 0.0),
    ({"retry-after": "Fri, 31 Dec 1999 23:59:59 GMT"}, None),
    ({"retry-after": "soon"}, None), ({"retry-after": "-5"}, None), ({"retry-after": "\u0663"}, None), ({}, None),
])
def test_retry_after(headers, seconds):
    assert retry_after(headers) == seconds


def test_a_refused_segment_does_not_hold_up_the_others(spool, tmp_path):
    class Choosy(Store):
        refuses = True

        def put_new(self, key, data):
            if self.refuses and "000000000001-" in key:
                raise TargetRefused("409: another segment has its place")
            return super().put_new(key, data)

    store = Choosy(tmp_path / "store")
    store.group = 1
    with Uploader(spool, store, KEYS, segment_records=10) as uploader:
        spool.append_many("run", [{}] * 40)
        assert uploader.flush(20)
        assert uploader.status.refused == 1
    assert sorted(n for _, n in stored(store)) == [*range(10), *range(20, 40)]
    assert spool.status().refused == 10 and spool.status().upload["error"] == "409: another segment has its place"
    store.refuses = False
    with Uploader(spool, store, KEYS) as uploader:  # a later start tries it again
        assert uploader.flush(20)
        while spool.status().refused or spool.status().sealed:
            time.sleep(0.01)
    assert sorted(n for _, n in stored(store)) == list(range(40))


def test_clock_jumps_do_no_harm(spool, tmp_path, monkeypatch):
    """The wall clock jumps by years, both ways, while records are spooled and uploaded."""
    jumps = random.Random(4)
    monkeypatch.setattr(time, "time_ns", lambda: jumps.randrange(4 * 10 ** 18))
    monkeypatch.setattr(time, "time", lambda: jumps.random() * 4e9)
    store = FailingStore(tmp_path / "store", 4)
    with Uploader(spool, store, KEYS, segment_records=7, backoff_base=0.01, linger=0.01) as uploader:
        for _ in range(30):
            spool.append_many("run", [{}] * 3)
        assert uploader.flush(20)
    assert stored(store) == [("run", n) for n in range(90)]
    assert verify.verify(store, KEYS.keyring()).good


def test_requests_that_come_twice_or_in_another_order_store_each_segment_once(spool, tmp_path):
    class Restless(Store):
        held = ()

        def put_new(self, key, data):
            for older in self.held:  # delivered late, and again
                super().put_new(*older)
            self.held = (*self.held, (key, data))[-3:]
            super().put_new(key, data)
            return super().put_new(key, data)

    store = Restless(tmp_path / "store")
    store.group = 1
    with Uploader(spool, store, KEYS, segment_records=10) as uploader:
        spool.append_many("run", [{}] * 95)
        assert uploader.flush(20)
    assert stored(store) == [("run", n) for n in range(95)]


def test_segments_are_made_while_the_target_is_away(spool, tmp_path):
    with Uploader(spool, FailingStore(tmp_path / "store", 10 ** 9), KEYS, segment_records=10, linger=0.01,
                  backoff_base=5.0):
        spool.append_many("run", [{}] * 95)
        deadline = time.monotonic() + 20
        while spool.status().waiting > 5 and time.monotonic() < deadline:
            time.sleep(0.01)
        status = spool.status()
        assert (status.sealed, status.waiting) == (90, 5)


def test_targets_by_url(tmp_path):
    assert isinstance(open_target(tmp_path / "store"), Store)
    assert isinstance(open_target("memory:///"), Store)
    with pytest.raises(CloudError, match=r"is not a certificate of a device .*get one with: lepton cloud enroll"):
        open_target("https://127.0.0.1:1", credentials=Credentials(tmp_path / "none"))


def test_a_disk_that_is_full_rejects_counts_and_recovers(tmp_path):
    with Disk(random.Random(0)) as disk, Spool(tmp_path / "spool.db") as spool:
        spool.append("run", {})
        disk.full = True
        for _ in range(3):  # not even the counter can be written
            with pytest.raises(SpoolFull, match="has no room for 2 records on its disk; they were rejected"):
                spool.append_many("run", [{}] * 2)
        disk.full = False
        assert spool.append("run", {}) == 1
        assert spool.status().counters["rejected"] == 6
        assert (spool.last_number("run"), spool.status().waiting) == (1, 2)
