"""Segments into store and index: once, in order, on both databases and under races."""

import hashlib
import shutil
import threading
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import pytest
from lepton.results import Store, Unavailable
from lepton.results.keys import DeviceKeys
from lepton.results.segment import split_key
from lepton.service import tables
from lepton.service.authority import Authority
from lepton.service.database import IndexDatabase
from lepton.service.identity import Identity
from lepton.service.ingest import Ingest
from lepton.service.refusal import RequestRefused
from lepton.service.tenant import TenantView
from sqlalchemy import func, select

from tests.host.service.senders import Spool, enrolled

CAMERA = Identity("device", "acme", "cam7")


@pytest.fixture(scope="module")
def authority(tmp_path_factory):
    return Authority(tmp_path_factory.mktemp("authority"))


@pytest.fixture
def spool(database, authority):
    return Spool(CAMERA.name, enrolled(database, authority, CAMERA))


@pytest.fixture
def objects(tmp_path):
    return tmp_path / "objects"


@pytest.fixture
def ingest(database, objects):
    return Ingest(database, str(objects))


def send(ingest, segment, lost_from=None, device=CAMERA):
    return ingest.accept(device, segment.key, segment.data, lost_from)


def refusal(ingest, segment, **options):
    with pytest.raises(RequestRefused) as caught:
        send(ingest, segment, **options)
    return caught.value


def indexed(database):
    with database.read() as connection:
        return connection.execute(select(tables.segments.c.tenant, tables.segments.c.device, tables.segments.c.sequence,
                                         tables.segments.c.digest).order_by(*tables.segments.primary_key)).all()


def stored_keys(objects, tenant="acme"):
    found = (objects / tenant / "results").rglob("*")
    return sorted(str(path.relative_to(objects / tenant)) for path in found if path.is_file())


def test_stored_and_indexed(ingest, spool, database, objects):
    segments = [spool.next() for _ in range(3)]
    for segment in segments:
        accepted = send(ingest, segment)
        assert (accepted.new, accepted.sequence, accepted.expected) == (True, segment.header.sequence,
                                                                        segment.header.sequence + 1)
    assert [tuple(row)[2:] for row in indexed(database)] == [(s.header.sequence, s.digest) for s in segments]
    assert stored_keys(objects) == [s.key for s in segments]
    assert ingest.read("acme", segments[1].key) == segments[1].data


def test_replay_stores_nothing_twice(ingest, spool, database, objects):
    first = spool.next()
    second = spool.next()
    send(ingest, first)
    send(ingest, second)
    for segment in (first, second, first):
        again = send(ingest, segment)
        assert (again.new, again.expected) == (False, 2)
    assert len(indexed(database)) == len(stored_keys(objects)) == 2


def test_another_segment_with_a_stored_number(ingest, spool, database, objects):
    first = spool.next()
    send(ingest, first)
    spool.sequence = 0
    spool.previous = ""
    refused = refusal(ingest, spool.next(records=3))
    assert (refused.status, refused.reason) == (409, "conflict")
    assert "segment 0 is stored with the digest" in refused.detail
    assert stored_keys(objects) == [first.key]


def test_first_segment_may_have_any_number(ingest, spool):
    spool.sequence = 41
    assert send(ingest, spool.next()).expected == 42


def test_order(ingest, spool, objects):
    first = spool.next()
    second = spool.next()
    third = spool.next()
    send(ingest, first)
    for lost_from in (None, 0, 2, 99):
        refused = refusal(ingest, third, lost_from=lost_from)
        assert (refused.status, refused.reason, refused.members) == (409, "out_of_order", {"expected": 1})
    assert stored_keys(objects) == [first.key]  # what is refused is not stored
    send(ingest, second)
    assert send(ingest, third).expected == 3


def test_declared_loss_is_recorded_and_may_come_later(ingest, spool, database):
    segments = [spool.next() for _ in range(6)]
    send(ingest, segments[0])
    assert send(ingest, segments[4], lost_from=1).expected == 5
    view = TenantView(database, "acme")
    assert view.devices()[0]["missing_segments"] == 3
    found = send(ingest, segments[2])
    assert (found.new, found.expected) == (True, 5)
    assert not send(ingest, segments[2]).new
    send(ingest, segments[5])
    assert view.devices()[0]["missing_segments"] == 2
    assert [row["sequence"] for row in view.segments()] == [0, 2, 4, 5]


def test_before_the_first_that_came(ingest, spool, database):
    """A device that had refused segments aside, or had another target, is not told to forget them."""
    early = spool.next()
    send(ingest, spool.next())
    view = TenantView(database, "acme")
    assert view.devices()[0]["missing_segments"] == 1
    assert send(ingest, early).expected == 2
    assert view.devices()[0]["missing_segments"] == 0
    refused = refusal(ingest, spool.next(sequence=0))
    assert (refused.status, refused.reason) == (409, "conflict")


def test_next_must_name_the_last(ingest, spool):
    send(ingest, spool.next())
    refused = refusal(ingest, spool.next(previous="e" * 64))
    assert (refused.status, refused.reason) == (409, "conflict")


def test_a_new_spool_begins_anew(ingest, spool, database):
    send(ingest, spool.next())
    another = Spool(CAMERA.name, spool.keys)
    assert send(ingest, another.next()).expected == 1
    assert TenantView(database, "acme").devices()[0]["spools"] == 2


def test_signatures_of_others(ingest, spool, database, authority, objects):
    stranger = Spool(CAMERA.name, DeviceKeys.generate())
    neighbour = Spool(CAMERA.name, enrolled(database, authority, Identity("device", "acme", "cam8")))
    namesake = Spool(CAMERA.name, enrolled(database, authority, Identity("device", "other", "cam7")))
    for forged in (stranger, neighbour, namesake):
        refused = refusal(ingest, forged.next())
        assert (refused.status, refused.reason) == (422, "segment")
        assert "which is not trusted" in refused.detail
    assert not objects.exists()


def test_altered_anywhere(ingest, spool):
    """Every byte counts: magic, length, header, signature, body."""
    segment = spool.next()
    for at in range(0, len(segment.data), 7):
        altered = bytearray(segment.data)
        altered[at] ^= 0x10
        with pytest.raises(RequestRefused, match="damaged"):
            ingest.accept(CAMERA, segment.key, bytes(altered))
    for truncated in (b"", segment.data[:20], segment.data[:-1], segment.data + b"\0"):
        with pytest.raises(RequestRefused):
            ingest.accept(CAMERA, segment.key, truncated)
    send(ingest, segment)


def test_signature_is_checked_where_the_digest_fits(ingest, spool):
    segment = spool.next()
    forged = bytearray(segment.data)
    forged[-40] ^= 1  # of the signature, the last 64 bytes
    key = segment.key.replace(segment.digest, hashlib.sha256(forged).hexdigest())
    with pytest.raises(RequestRefused, match="forged"):
        ingest.accept(CAMERA, key, bytes(forged))


def test_extremes_of_a_header(ingest, spool, database):
    """What a device may claim about times, counts and names is stored, or cut to what a column holds."""
    largest = 2**62 - 1
    send(ingest, spool.next(from_ms=largest, to_ms=largest, counters={"dropped": 10**30, "rejected": 1},
                            origin={"model_hash": "\0\u20ac'; DROP TABLE segments", "program_hash": "x" * 256}))
    send(ingest, spool.next(records=0, run="", first=0, last=-1, from_ms=0, to_ms=0))
    view = TenantView(database, "acme")
    rows = view.segments()
    assert rows[0]["model_hash"] == "\\x00\\u20ac'; DROP TABLE segments"
    assert view.segments(model=rows[0]["model_hash"]) == rows[:1]
    assert view.devices()[0]["lost_records"] == 0  # of the last segment


def test_losses_of_the_spool_are_counted(ingest, spool, database):
    send(ingest, spool.next(counters={"appended": 9, "rejected": 3, "dropped": 4}))
    assert TenantView(database, "acme").devices()[0]["lost_records"] == 7


def test_crash_between_object_and_row(ingest, spool, database, objects, monkeypatch):
    segment = spool.next()

    def crash(*_):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(ingest, "_index", crash)
        with pytest.raises(KeyboardInterrupt):
            send(ingest, segment)
    assert (stored_keys(objects), indexed(database)) == ([segment.key], [])
    assert send(ingest, segment).new
    assert (stored_keys(objects), len(indexed(database))) == ([segment.key], 1)


def test_torn_object_is_replaced(ingest, spool, objects):
    segment = spool.next()
    path = objects / "acme" / segment.key
    path.parent.mkdir(parents=True)
    path.write_bytes(segment.data[:100])
    send(ingest, segment)
    assert path.read_bytes() == segment.data


def test_races(where, database, authority, objects):
    """Several processes' worth of services get each segment at once, some with one that claims the same number."""
    keys = enrolled(database, authority, CAMERA)
    spool = Spool(CAMERA.name, keys)
    rounds = 6
    services = [Ingest(IndexDatabase(where), str(objects)) for _ in range(4)]
    with ThreadPoolExecutor(len(services)) as pool:
        for _ in range(rounds):
            sequence = spool.sequence
            previous = spool.previous
            rival = spool.next(records=5)
            spool.sequence = sequence
            spool.previous = previous
            segment = spool.next()
            barrier = threading.Barrier(len(services))

            def attempt(service, segment, barrier=barrier):
                barrier.wait()
                try:
                    return send(service, segment)
                except RequestRefused as refused:
                    return refused

            outcomes = list(pool.map(attempt, services, [segment, segment, segment, rival]))
            won = [o for o in outcomes if not isinstance(o, RequestRefused) and o.new]
            assert len(won) == 1
            assert all(o.reason == "conflict" for o in outcomes if isinstance(o, RequestRefused))
            spool.previous = won[0].digest
    rows = indexed(database)
    assert [row.sequence for row in rows] == list(range(rounds))
    assert {row.digest for row in rows} <= {split_key(key).digest for key in stored_keys(objects)}
    with database.read() as connection:
        assert connection.scalar(select(func.count()).select_from(tables.gaps)) == 0


def test_tenants_have_folders_of_their_own(database, authority, ingest, objects):
    other = replace(CAMERA, tenant="other")
    for device in (CAMERA, other):
        spool = Spool(device.name, enrolled(database, authority, device), tenant=device.tenant)
        send(ingest, spool.next(), device=device)
    assert len(stored_keys(objects)) == len(stored_keys(objects, "other")) == 1
    assert Store(objects / "acme").keys() != Store(objects / "other").keys()


def test_objects_whose_disk_is_away_are_not_made_anew(ingest, spool, database, objects):
    """Neither by the service that runs, nor by one that is started meanwhile: the device keeps its segments."""
    first, second, third = (spool.next() for _ in range(3))
    send(ingest, first)
    objects.rename(objects.with_name("elsewhere"))
    for service in (ingest, Ingest(database, str(objects))):
        with pytest.raises(Unavailable, match="is missing; is its disk mounted"):
            send(service, second)
        assert not objects.exists() and len(indexed(database)) == 1
    (objects / "acme").mkdir(parents=True)
    with pytest.raises(Unavailable, match=r"is not the store that was used before: it has no lepton-store.json"):
        send(Ingest(database, str(objects)), second)
    assert list((objects / "acme").iterdir()) == []
    shutil.rmtree(objects)
    objects.with_name("elsewhere").rename(objects)
    for segment in (second, third):
        assert send(ingest, segment).new
    assert stored_keys(objects) == [first.key, second.key, third.key]
