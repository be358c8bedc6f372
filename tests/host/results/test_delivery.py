"""Deliveries: what is under way at once, in groups, and what happens when some of it fails."""

import random
import threading
import time

import pytest
from lepton.results import Outbox, Spool, Store, TargetRefused, Unavailable
from lepton.results import delivery as deliveries
from lepton.results import segment as segments
from lepton.results.delivery import Delivery


class Target:
    """Keeps what it is given, after `before`; counts those in it at the same time, and the sizes of groups."""

    where = "memory"
    place = "memory"

    def __init__(self, lanes=1, group=1, before=lambda key: None):
        self.lanes = lanes
        self.group = group
        self.before = before
        self.objects = {}
        self.groups = []
        self.inside = 0
        self.most = 0
        self.lock = threading.Lock()

    def put_new(self, key, data):
        with self.lock:
            self.inside += 1
            self.most = max(self.most, self.inside)
        try:
            self.before(key)
            with self.lock:
                new = self.objects.setdefault(key, data) is data
            return new
        finally:
            with self.lock:
                self.inside -= 1

    def put_all(self, objects):
        """Stores every second one."""
        keys = []
        for key, data in objects:
            keys.append(key)
            if len(keys) % 2:
                self.put_new(key, data)
        self.groups.append(len(keys))
        return keys[1::2]


@pytest.fixture
def spool(tmp_path):
    with Spool(tmp_path / "spool.db", device="alpha") as spool:
        yield spool


def filled(spool, keys, count):
    outbox = Outbox(spool, keys)
    spool.append_many("run", [{}] * count)
    while outbox.seal(1, 1 << 20):
        pass
    return outbox


def deliver(outbox, target, *, stopping=lambda: False, probe=False):
    """(whether there was something, sequences stored, texts of refusals); raises what the target raises."""
    stored = []
    refused = []
    try:
        ran = Delivery(outbox, target, stored=lambda some: stored.extend(s.sequence for s in some),
                       refused=refused.append, stopping=stopping, probe=probe).run()
    finally:
        deliver.stored = stored
    return ran, sorted(stored), [str(error) for error in refused]


def sequence(key):
    return segments.split_key(key).sequence


@pytest.mark.parametrize(("lanes", "group"), [(1, 1), (4, 1), (4, 8), (1, 8), (3, 100)])
@pytest.mark.parametrize("count", [0, 1, 7, 200])
def test_all_arrive_once_whatever_the_lanes_and_groups(spool, keys, lanes, group, count):
    outbox = filled(spool, keys, count)
    sealed = {s.key: s.data for s in outbox.next(count)}
    target = Target(lanes, group, before=lambda key: time.sleep(0.0005))
    assert deliver(outbox, target) == (count > 0, list(range(count)), [])
    assert target.objects == sealed
    assert target.most <= lanes and max(target.groups, default=0) <= group
    assert outbox.sequences(9) == [] and spool.status().counters["stored"] == count
    assert deliver(outbox, target) == (False, [], [])


def test_lanes_are_under_way_at_once_and_groups_are_shares_of_what_is_left(spool, keys):
    target = Target(4, 100)

    def together(key):  # none goes on before all four have come
        deadline = time.monotonic() + 20
        while target.most < 4 and time.monotonic() < deadline:
            time.sleep(0.001)

    target.before = together
    deliver(filled(spool, keys, 40), target)
    assert target.most == 4
    assert sorted(target.groups, reverse=True)[:3] == [10, 8, 6]  # a quarter of 40, of 30, of 22, rounded up


def test_with_one_lane_segments_go_in_order(spool, keys):
    order = []
    deliver(filled(spool, keys, 150), Target(1, before=order.append))
    assert [sequence(key) for key in order] == list(range(150))


def test_the_target_has_what_is_offered_only(spool, keys):
    """Whatever it may have is on disk as offered, so that it is never dropped and counted as lost."""
    outbox = filled(spool, keys, 200)
    seen = []
    deliver(outbox, Target(4, 8, before=lambda key: seen.append(spool.database.state().offered >= sequence(key))))
    assert len(seen) == 200 and all(seen)


def test_a_probe_is_one_segment_until_it_is_known_how_it_went(spool, keys):
    outbox = filled(spool, keys, 20)
    started = []

    def away(key):
        started.append(sequence(key))
        time.sleep(0.05)
        raise Unavailable("away")

    for _ in range(2):
        with pytest.raises(Unavailable, match="away"):
            deliver(outbox, Target(4, 8, before=away), probe=True)
    assert started == [0, 0] and spool.database.state().offered == 0  # others may still be dropped
    target = Target(4, 8, before=lambda key: started.append(sequence(key)))
    assert deliver(outbox, target, probe=True) == (True, list(range(20)), [])
    assert started[2] == 0 and sorted(started[3:]) == list(range(1, 20))


def test_a_probe_that_turns_out_to_be_damaged_is_none(spool, keys):
    outbox = filled(spool, keys, 20)
    started = []
    spool.database.db.execute("UPDATE segments SET data = x'00' WHERE sequence < 3")

    def away(key):
        started.append(sequence(key))
        raise Unavailable("away")

    with pytest.raises(Unavailable, match="away"):
        deliver(outbox, Target(4, 8, before=away), probe=True)
    assert started == [3] and spool.database.state().offered == 3


@pytest.mark.parametrize("group", [1, 8])
def test_what_was_stored_before_a_failure_is_confirmed_and_the_rest_stays(spool, keys, group):
    outbox = filled(spool, keys, 150)
    rng = random.Random(5)
    target = Target(4, group)

    def fails(key):
        if rng.random() < 0.02:
            raise Unavailable("reset")

    target.before = fails
    for _ in range(1000):
        try:
            deliver(outbox, target)
            break
        except Unavailable:
            assert {sequence(key) for key in target.objects} >= set(deliver.stored)
    else:
        pytest.fail("it never ends")
    assert sorted(map(sequence, target.objects)) == list(range(150))
    assert spool.status().counters["stored"] == 150


def test_refusals_are_told_and_the_others_go_on(spool, keys):
    outbox = filled(spool, keys, 100)

    def choosy(key):
        if sequence(key) % 10 == 3:
            raise TargetRefused(f"no {sequence(key)}")

    ran, stored, refused = deliver(outbox, Target(4, 1, before=choosy))
    assert ran and stored == [n for n in range(100) if n % 10 != 3]
    assert sorted(refused) == sorted(f"no {n}" for n in range(3, 100, 10))
    assert spool.status().refused == 10 and outbox.sequences(9) == []


def test_damaged_segments_are_left_out_even_if_all_of_a_group_are(spool, keys):
    outbox = filled(spool, keys, 40)
    spool.database.db.execute("UPDATE segments SET data = x'00' WHERE sequence < 30")
    target = Target(2, 8)
    assert deliver(outbox, target) == (True, list(range(30, 40)), [])
    assert sorted(map(sequence, target.objects)) == list(range(30, 40))
    assert spool.status().counters["damaged"] == 30


def test_who_stops_waits_for_what_is_under_way_only(spool, keys):
    outbox = filled(spool, keys, 100)
    stop = threading.Event()
    late = []

    def before(key):
        if stop.is_set():
            late.append(key)
        elif sequence(key) == 5:
            stop.set()

    _, stored, _ = deliver(outbox, Target(4, 1, before=before), stopping=stop.is_set)
    assert 5 in stored and len(late) <= 3  # what the other lanes had just taken
    assert outbox.sequences(200) == sorted(set(range(100)) - set(stored))


def test_few_that_take_long_are_confirmed_after_a_while(spool, keys, monkeypatch):
    """A slow target: what it has is confirmed while others are under way, not only when a window is full."""
    monkeypatch.setattr(deliveries, "CONFIRM_SECONDS", 0.05)
    outbox = filled(spool, keys, 3)
    seen = []

    def slow(key):
        if sequence(key) == 2:
            deadline = time.monotonic() + 20
            while spool.status().counters["stored"] < 2 and time.monotonic() < deadline:
                time.sleep(0.01)
            seen.append(spool.status().counters["stored"])

    deliver(outbox, Target(1, before=slow))
    assert seen == [2]


def test_a_folder_gets_groups(spool, keys, tmp_path, monkeypatch):
    store = Store(tmp_path / "store")
    sizes = []
    put_all = store.put_all

    def counted(objects):
        some = list(objects)
        sizes.append(len(some))
        return put_all(some)

    monkeypatch.setattr(store, "put_all", counted)
    assert deliver(filled(spool, keys, 100), store)[1] == list(range(100))
    assert len(store.keys()) == 100 and max(sizes) == store.group > 1
