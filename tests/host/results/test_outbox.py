"""Records become segments: in order, of one run each, once; and what is lost is told of."""

import threading
import time

import pytest
from lepton.results import DeviceKeys, Outbox, Spool, SpoolError, SpoolFull
from lepton.results import segment as segments
from lepton.results.database import MIN_MAX_BYTES
from lepton.results.state import COUNTERS


@pytest.fixture
def spool(tmp_path):
    with Spool(tmp_path / "spool.db", device="alpha") as spool:
        yield spool


@pytest.fixture
def outbox(spool, keys):
    return Outbox(spool, keys)


def headers(sealed):
    return [segments.parse(s.data, s.key).header for s in sealed]


def seal_all(outbox, records=1000):
    return list(iter(lambda: outbox.seal(records, 1 << 20), None))


def test_segments_are_chained_and_carry_the_counters(spool, outbox):
    spool.append_many("run", [{"i": i} for i in range(25)], origin={"model": "net", "model_hash": "m"})
    sealed = seal_all(outbox, 10)
    found = headers(sealed)
    assert [h.records for h in found] == [10, 10, 5]
    assert [(h.first, h.last) for h in found] == [(0, 9), (10, 19), (20, 24)]
    assert [h.sequence for h in found] == [0, 1, 2]
    assert [h.previous for h in found] == ["", sealed[0].digest, sealed[1].digest]
    assert all(set(h.counters) == set(COUNTERS) and h.origin == {"model": "net", "model_hash": "m"} for h in found)
    assert spool.status().sealed == 25


def test_each_segment_has_one_run(spool, outbox):
    for run, count in (("a", 3), ("b", 2), ("a", 4)):
        spool.append_many(run, [{}] * count)
    assert [(h.run, h.first, h.last) for h in headers(seal_all(outbox))] == [("a", 0, 2), ("b", 0, 1), ("a", 3, 6)]


def test_a_sealed_segment_keeps_its_bytes_until_it_is_confirmed(tmp_path, keys):
    with Spool(tmp_path / "s.db") as spool:
        spool.append("run", {"i": 1})
        sealed = Outbox(spool, keys).seal(10, 1 << 20)
    with Spool(tmp_path / "s.db") as spool:
        outbox = Outbox(spool, DeviceKeys.generate())  # other keys do not matter any more
        assert outbox.next() == [sealed]
        outbox.confirm([sealed])
        outbox.confirm([sealed])  # the second time does nothing
        assert outbox.next() == []
        assert spool.status().counters["stored"] == 1


def test_two_outboxes_on_one_file_seal_each_record_once(tmp_path, keys):
    with Spool(tmp_path / "s.db") as a, Spool(tmp_path / "s.db") as b:
        a.append_many("run", [{"i": i} for i in range(2000)])
        out = []
        lock = threading.Lock()

        def work(spool):
            for sealed in seal_all(Outbox(spool, keys), 10):
                with lock:
                    out.append(sealed)

        threads = [threading.Thread(target=work, args=(spool,)) for spool in (a, b)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert sorted(h.sequence for h in headers(out)) == list(range(200))
        assert sorted(h.first for h in headers(out)) == list(range(0, 2000, 10))


def test_losses_are_reported_even_when_nothing_else_is_sent(tmp_path, keys):
    with Spool(tmp_path / "s.db", max_bytes=MIN_MAX_BYTES) as spool:
        outbox = Outbox(spool, keys)
        with pytest.raises(SpoolFull):
            while True:
                spool.append("run", {"text": "x" * 30000})
        outbox.confirm(seal_all(outbox))
        with pytest.raises(SpoolFull):
            while True:
                spool.append("run", {"text": "x" * 30000})
        sealed = seal_all(outbox)
        with spool.database.transaction() as state:  # one more, when all has been sealed
            state.count("rejected", 1)
        assert outbox.waiting()[0] == 1 and not outbox.settled(spool.last_record())
        last = outbox.seal(10, 1 << 20)
        header = segments.parse(last.data, last.key).header
        assert (header.records, header.run, header.counters["rejected"]) == (0, "", 3)
        assert outbox.seal(10, 1 << 20) is None
        outbox.confirm([*sealed, last])
        assert outbox.settled(spool.last_record())


def test_drop_oldest_takes_sealed_segments_first_but_none_that_was_offered(tmp_path, keys):
    with Spool(tmp_path / "s.db", max_bytes=MIN_MAX_BYTES, policy="drop_oldest") as spool:
        outbox = Outbox(spool, keys)
        for i in range(3):
            spool.append_many("run", [{"i": i, "noise": keys.signing.sign(bytes([i])).hex() * 300}])
            outbox.seal(50, 1 << 20)
        outbox.offer(outbox.next(1)[0].sequence)
        for _ in range(100):
            spool.append("run", {"text": "x" * 9000})
        left = headers(outbox.next(10))
        assert [h.sequence for h in left] == [0]
        assert spool.status().counters["dropped"] > 2
        assert spool.last_number("run") == 102


def test_refused_segments_stand_aside_until_they_are_offered_again(spool, outbox):
    spool.append_many("run", [{}] * 3)
    first, second, third = seal_all(outbox, 1)
    outbox.refuse(first, "409: conflict")
    assert outbox.next(10) == [second, third]
    assert (spool.status().refused, spool.status().sealed) == (1, 2)
    outbox.confirm([second, third])
    assert outbox.settled(spool.last_record()) and not outbox.backlog()
    outbox.offer_refused()
    assert outbox.next(10) == [first]


def test_segments_are_read_while_another_writes(spool, outbox):
    spool.append_many("run", [{}] * 3)
    first, second, third = seal_all(outbox, 1)
    found = []
    release = threading.Event()

    def write():
        with spool.database.transaction():
            release.wait(20)

    writer = threading.Thread(target=write)
    writer.start()
    reader = threading.Thread(target=lambda: found.extend([outbox.sequences(9), outbox.sequences(1, after=0),
                                                           outbox.read(2), outbox.read(3)]))
    reader.start()
    reader.join(10)
    assert found == [[0, 1, 2], [1], third, None]
    release.set()
    writer.join()
    outbox.confirm([second])
    assert outbox.read(1) is None and outbox.next(3) == [first, third]


def test_what_two_uploaders_confirm_is_counted_once(spool, outbox):
    spool.append_many("run", [{}] * 10)
    sealed = seal_all(outbox, 2)
    outbox.confirm(sealed[:2])
    outbox.exchange(sealed[1:4], sealed[4].sequence)
    counters = spool.status().counters
    state = spool.database.state()
    assert (counters["stored"], counters["segments"], state.offered) == (8, 4, 4)
    assert outbox.next(9) == [sealed[4]]


def test_a_damaged_segment_is_counted_and_left_out(spool, outbox):
    spool.append_many("run", [{}] * 6)
    first, _, third = seal_all(outbox, 2)
    spool.database.db.execute("UPDATE segments SET data = substr(data, 1, 9) WHERE sequence = 1")
    assert outbox.next(3) == [first, third]
    assert spool.status().counters["damaged"] == 2 and outbox.sequences(9) == [0, 2]
    assert outbox.read(1) is None


@pytest.mark.parametrize("altered", [
    {"device": ".."}, {"device": "../../alpha"}, {"tenant": ".."}, {"date": ".."}, {"sequence": 2}, {"spool": "x"}])
def test_a_key_that_was_altered_is_damage(spool, outbox, altered):
    """Its bytes still match the digest in it; but a folder would be left by such a path, or another's place taken."""
    spool.append_many("run", [{}] * 3)
    first, second, third = seal_all(outbox, 1)
    key = segments.join_key(segments.split_key(second.key)._replace(**altered))
    spool.database.db.execute("UPDATE segments SET key = ? WHERE sequence = 1", (key,))
    assert outbox.next(3) == [first, third]
    assert spool.status().counters["damaged"] == 1


def test_a_spool_that_is_closed_cannot_be_read(spool, outbox):
    with spool.database.snapshot():
        spool.close()  # while someone reads
    with pytest.raises(SpoolError, match="cannot be used: The connection has been closed"):
        outbox.read(0)
    assert spool.database._readers == []


def wait_for_requests(spool, count):
    deadline = time.monotonic() + 20
    while spool._appender.waiting < count:
        assert time.monotonic() < deadline
        time.sleep(0.001)


def test_threads_share_commits(tmp_path):
    """Group commit: many threads that append one record each need far fewer transactions than records."""
    with Spool(tmp_path / "s.db") as spool:
        commits = []
        spool.database.db.set_commit_hook(lambda: bool(commits.append(1)))
        threads = [threading.Thread(target=lambda n=n: [spool.append(f"run{n}", {"i": i}) for i in range(40)])
                   for n in range(16)]
        spool.database.lock.acquire()  # all of them wait for the first commit
        for thread in threads:
            thread.start()
        wait_for_requests(spool, 16)
        spool.database.lock.release()
        for thread in threads:
            thread.join()
        assert spool.status().waiting == 640
        assert {spool.last_number(f"run{n}") for n in range(16)} == {39}
        assert len(commits) < 640


def test_one_of_a_group_that_has_no_room_does_not_hold_up_the_others(tmp_path):
    with Spool(tmp_path / "s.db", max_bytes=MIN_MAX_BYTES) as spool:
        while spool.database.pages_used() < spool.database.limit_pages - 20:
            spool.append("fill", {"text": "x" * 9000})
        results = {}

        def append(name, size):
            try:
                results[name] = spool.append(name, {"text": "x" * size})
            except SpoolFull as error:
                results[name] = error

        with spool.database.lock:
            threads = [threading.Thread(target=append, args=(name, size))
                       for name, size in (("small", 10), ("large", 50_000), ("tiny", 5))]
            for thread in threads:
                thread.start()
            wait_for_requests(spool, 3)
        for thread in threads:
            thread.join()
        assert (results["small"], results["tiny"]) == (1, 1)
        assert isinstance(results["large"], SpoolFull)
        assert spool.status().counters["rejected"] == 1
