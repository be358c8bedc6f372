"""The index is made again from the objects; a restored backup of the database leaves no false gaps."""

import shutil

import pytest
from lepton.results.keys import DeviceKeys
from lepton.service import tables
from lepton.service.database import IndexDatabase
from lepton.service.reindex import Reindexer
from lepton.service.tenant import TenantView
from sqlalchemy import delete, select

from tests.host.service.senders import Spool
from tests.host.service.test_fleet import World


@pytest.fixture
def world(database, tmp_path):
    return World(database, tmp_path)


def rows(database, table):
    """Without times of arrival, which are not in the objects."""
    with database.read() as connection:
        found = connection.execute(select(table)).mappings().all()
    return sorted(str({k: v for k, v in row.items() if k not in ("received", "last_received", "enrolled")})
                  for row in found)


def forget(world, *which):
    with world.database.write() as connection:
        for table in which or (tables.segments, tables.spools, tables.gaps):
            connection.execute(delete(table))


def reindexer(world):
    return Reindexer(world.database, str(world.objects), clock=lambda: world.now)


def test_everything_again(world):
    devices = [world.device("acme", "cam7"), world.device("acme", "cam8"), world.device("other", "cam7")]
    for identity, spool in devices:
        for number in range(4):
            segment = spool.next()
            if number != 2:
                world.send(identity, segment, lost_from=2 if number == 3 else None)
    before = [rows(world.database, table) for table in (tables.segments, tables.spools, tables.gaps)]
    forget(world)
    result = reindexer(world).reindex(["acme", "other"])
    assert (result.added, result.refused) == ({"acme": 6, "other": 3}, [])
    assert [rows(world.database, table) for table in (tables.segments, tables.spools, tables.gaps)] == before
    assert reindexer(world).reindex(["acme", "other"]).added == {"acme": 0, "other": 0}
    for identity, spool in devices:
        assert world.send(identity, spool.next()).new


def test_segments_of_nobody_are_not_indexed(world):
    camera, spool = world.device("acme", "cam7")
    world.send(camera, spool.next())
    stranger = Spool("cam7", DeviceKeys.generate())
    path = world.objects / "acme" / (forged := stranger.next()).key
    path.write_bytes(forged.data)
    damaged = spool.next()
    (world.objects / "acme" / damaged.key).write_bytes(damaged.data[:-1])
    result = reindexer(world).reindex(["acme"])
    assert result.added == {"acme": 0}
    assert sorted("not trusted" in text or "is damaged" in text for text in result.refused) == [True, True]


def test_scrub(world):
    camera, spool = world.device("acme", "cam7")
    sent = [spool.next() for _ in range(4)]
    for segment in sent:
        world.send(camera, segment)
    assert reindexer(world).scrub(["acme"], content=True).good
    (world.objects / "acme" / sent[0].key).unlink()
    path = world.objects / "acme" / sent[1].key
    path.chmod(0o644)
    path.write_bytes(b"other bytes")
    with world.database.write() as connection:
        connection.execute(delete(tables.segments).filter_by(sequence=2))
    result = reindexer(world).scrub(["acme"])
    assert (result.without_object, result.without_row, result.damaged) == ([sent[0].key], [sent[2].key], [])
    assert not result.good
    assert reindexer(world).scrub(["acme"], content=True).damaged == [sent[1].key]


def test_restored_backup_leaves_no_false_gap(tmp_path):
    """The device goes on with the next number; what the store has of the numbers in between is not lost."""
    world = World(IndexDatabase(tmp_path / "index.db"), tmp_path)
    camera, spool = world.device("acme", "cam7")
    world.send(camera, spool.next())
    world.database.backup(tmp_path / "backup.db")
    for _ in range(5):
        world.send(camera, spool.next())
    world.database.close()
    for path in tmp_path.glob("index.db*"):
        path.unlink()
    shutil.copy(tmp_path / "backup.db", tmp_path / "index.db")

    world = World(IndexDatabase(tmp_path / "index.db"), tmp_path)
    following = spool.next()
    accepted = world.send(camera, following, lost_from=1)  # as an uploader declares after `expected: 1`
    assert (accepted.new, accepted.expected) == (True, 7)
    row, = TenantView(world.database, "acme").devices()
    assert (row["segments"], row["missing_segments"]) == (7, 0)
    assert world.send(camera, spool.next()).expected == 8


def test_restored_backup_and_a_real_loss(tmp_path):
    """Only what is in neither the store nor the spool is a gap."""
    world = World(IndexDatabase(tmp_path / "index.db"), tmp_path)
    camera, spool = world.device("acme", "cam7")
    world.send(camera, spool.next())
    stored = [spool.next() for _ in range(3)]
    for segment in stored:
        world.send(camera, segment)
    with world.database.write() as connection:  # as in a backup from after the first segment
        connection.execute(delete(tables.segments).where(tables.segments.c.sequence > 0))
        first = connection.execute(select(tables.segments.c.digest)).scalar_one()
        connection.execute(tables.spools.update().values(expected=1, last_digest=first, segments=1))
    spool.next()  # 4 is lost
    spool.next()  # 5 as well
    assert world.send(camera, spool.next(), lost_from=1).expected == 7
    row, = TenantView(world.database, "acme").devices()
    assert (row["segments"], row["missing_segments"]) == (5, 2)
