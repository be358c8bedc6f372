"""Lists with expiry, limits of tenants, retention and deletion."""

import time

import pytest
from lepton.results import Keyring, Store
from lepton.results import head as heads
from lepton.results.keys import DeviceKeys
from lepton.results.verify import verify
from lepton.service import tables
from lepton.service.authority import Authority
from lepton.service.enrolment import Enrolment
from lepton.service.errors import ServiceError
from lepton.service.fleet import Fleet, TenantLimits
from lepton.service.identity import Identity
from lepton.service.ingest import Ingest
from lepton.service.quotas import READ_SECONDS, Quotas
from lepton.service.refusal import RequestRefused
from lepton.service.tenant import TenantView
from sqlalchemy import func, select

from tests.host.service.senders import Spool, new_request, pem, signing


class World:
    """Everything of a service but its sockets."""

    def __init__(self, database, folder):
        self.database = database
        self.now = time.time()
        self.authority = Authority(folder / "authority")
        self.enrolment = Enrolment(database, self.authority, clock=lambda: self.now)
        self.objects = folder / "objects"
        self.ingest = Ingest(database, str(self.objects), clock=lambda: self.now)
        self.fleet = Fleet(database, str(self.objects), clock=lambda: self.now)

    def device(self, tenant, name):
        identity = Identity("device", tenant, name)
        keys = DeviceKeys.generate()
        request = new_request()
        self.enrolment.enrol(self.enrolment.invite(identity), pem(request), *signing(keys, request))
        return identity, Spool(name, keys, tenant=tenant)

    def send(self, identity, segment, **options):
        return self.ingest.accept(identity, segment.key, segment.data, **options)

    def stored(self):
        return sorted(path.name for path in self.objects.rglob("results/**/*.cose"))

    def count(self, table):
        with self.database.read() as connection:
            return connection.scalar(select(func.count()).select_from(table))


@pytest.fixture
def world(database, tmp_path):
    return World(database, tmp_path)


def test_lists(world):
    camera, spool = world.device("acme", "cam7")
    world.send(camera, segment := spool.next())
    world.enrolment.invite(Identity("reader", "other", "alice"), hours=1)
    row, = world.fleet.devices()
    assert (row["tenant"], row["role"], row["name"], row["segments"]) == ("acme", "device", "cam7", 1)
    assert row["bytes"] == len(segment.data)
    assert row["expires"] == pytest.approx(world.now + 90 * 86400, abs=2)
    assert [(row["name"], row["state"]) for row in world.fleet.codes()] == [("cam7", "used"), ("alice", "open")]
    assert [row["state"] for row in world.fleet.certificates("acme")] == ["valid"]
    assert [row["tenant"] for row in world.fleet.tenants()] == ["acme", "other"]
    world.now += 3700
    assert [row["state"] for row in world.fleet.codes("other")] == ["expired"]
    world.enrolment.revoke(camera)
    assert [row["state"] for row in world.fleet.codes("acme")] == ["revoked"]
    assert world.fleet.certificates()[0]["state"] == "revoked"
    assert world.fleet.devices() == []


def test_certificate_that_has_expired(world):
    world.device("acme", "cam7")
    world.now += 91 * 86400
    assert world.fleet.certificates()[0]["state"] == "expired"


def test_quota_of_bytes(world):
    camera, spool = world.device("acme", "cam7")
    other, others = world.device("other", "cam7")
    first = spool.next()
    world.fleet.limit("acme", TenantLimits(max_bytes=len(first.data) + 10))
    world.send(camera, first)
    second = spool.next()
    with pytest.raises(RequestRefused, match="tenant acme has stored") as caught:
        world.send(camera, second)
    assert (caught.value.status, caught.value.reason, caught.value.retry_after) == (507, "quota", 300)
    assert not world.send(camera, first).new  # what is stored already is confirmed
    world.send(other, others.next())
    assert len(world.stored()) == 2  # the refused one left no object


def test_quota_is_read_again(database):
    now = [0.0]
    quotas = Quotas(database, lambda: now[0])
    quotas.check("acme", 10**12)
    with database.write() as connection:
        connection.execute(tables.tenants.insert().values(tenant="acme", max_bytes=5))
    now[0] += READ_SECONDS + 1
    quotas.check("acme", 4)
    with pytest.raises(RequestRefused):
        quotas.check("acme", 4)


def test_quota_of_two_workers(database):
    """Near the end of a quota each of two processes sees at once what the other one has stored."""
    fleet = Fleet(database, "unused")
    fleet.limit("acme", TenantLimits(max_bytes=1000))
    workers = [Quotas(database, lambda: 0.0) for _ in range(2)]
    for worker in workers:
        worker.check("acme", 890)
    with database.write() as connection:
        connection.execute(tables.spools.insert().values(
            tenant="acme", device="cam7", spool="0" * 32, expected=1, last_digest="d", last_received=0, lost_records=0,
            segments=1, records=1, bytes=980))
    for worker in workers:
        worker.check("acme", 20)
        with pytest.raises(RequestRefused, match=r"tenant acme has stored [0-9]+ bytes, its quota is 1000"):
            worker.check("acme", 30)


def test_quota_of_devices(world):
    world.fleet.limit("acme", TenantLimits(max_devices=1))
    world.device("acme", "cam7")
    world.device("acme", "cam7")  # the same one again
    with pytest.raises(RequestRefused, match="tenant acme has 1 devices, which is its quota"):
        world.device("acme", "cam8")
    world.device("other", "cam8")


def test_retention(world):
    camera, spool = world.device("acme", "cam7")
    kept, keeping = world.device("other", "cam7")
    world.fleet.limit("acme", TenantLimits(keep_days=10))
    old = [spool.next() for _ in range(3)]
    for segment in old:
        world.send(camera, segment)
    world.send(kept, keeping.next())
    world.now += 9 * 86400
    world.send(camera, fresh := spool.next())
    assert world.fleet.expire(world.authority) == {"acme": 0}
    world.now += 2 * 86400
    assert world.fleet.expire(world.authority) == {"acme": 3}
    assert fresh.key.rpartition("/")[2] in world.stored()
    assert len(world.stored()) == 2
    row, = TenantView(world.database, "acme").devices()
    assert (row["segments"], row["records"], row["missing_segments"]) == (1, 2, 0)
    assert world.fleet.tenants()[0]["bytes"] == len(fresh.data)
    world.send(camera, spool.next())  # the position is kept
    assert world.fleet.expire(world.authority, "other") == {}


def test_verify_knows_what_retention_has_deleted(world):
    """The deleted segments are a note. Whatever else is missing is an error, and a record of a stranger counts for
    nothing."""
    camera, spool = world.device("acme", "cam7")
    world.fleet.limit("acme", TenantLimits(keep_days=10))
    ledger = heads.Ledger()
    made = [spool.next() for _ in range(6)]
    for segment in made:
        world.send(camera, segment)
        ledger.add(segment.header.sequence, segment.header.records, segment.digest)
        world.now += 3 * 86400
    place = {"tenant": "acme", "device": "cam7", "spool": spool.identity}
    world.ingest.accept_head(camera, *heads.seal(spool.keys, ledger, **place))
    store = Store(f"{world.objects}/acme")
    keyring = Keyring(frozenset([spool.keys.signing.public_key().public_bytes_raw().hex()]), (world.authority.root,))
    assert verify(store, keyring).good
    for deleted in (3, 4):  # the second call extends the record of the first one
        assert world.fleet.expire(world.authority) == {"acme": 3 if deleted == 3 else 1}
        report = verify(store, keyring)
        assert report.good, report
        note, = report.spools[0].notes
        assert note == (f"segments 0 to {deleted - 1} are not here: the service has deleted them by its rules of "
                        "retention")
        world.now += 3 * 86400
    record = heads.key_of(**place, expired=True)
    genuine = store.get(record)
    stranger = DeviceKeys.generate()
    whole = heads.Ledger([[0, 5]], 6, 12)
    store.put_head(*heads.seal(stranger, whole, **place, expired=True))
    report = verify(store, keyring)
    assert not report.good
    assert "segments 0 to 3 are missing: the device's signed head says that they were stored here" in \
        report.spools[0].errors
    store.put_head(record, genuine)
    assert verify(store, keyring).good
    store.delete(made[4].key)
    report = verify(store, keyring)
    assert report.spools[0].errors == [
        "segments 4 to 4 are missing: the device's signed head says that they were stored here"]


def test_retention_leaves_no_false_gap(world):
    """A segment that filled a gap late is deleted together with the gap, or later."""
    camera, spool = world.device("acme", "cam7")
    world.fleet.limit("acme", TenantLimits(keep_days=1))
    world.send(camera, spool.next())
    late = spool.next()
    after = spool.next()
    world.send(camera, after, lost_from=1)
    world.now += 3600
    world.send(camera, late)
    view = TenantView(world.database, "acme")
    assert view.devices()[0]["missing_segments"] == 0
    world.now += 86400 - 1800
    assert world.fleet.expire(world.authority) == {"acme": 2}
    assert view.devices()[0]["missing_segments"] == 0
    world.now += 86400
    assert world.fleet.expire(world.authority) == {"acme": 1}
    assert view.devices()[0]["missing_segments"] == 0


def test_retention_of_a_store_that_is_not_there(world):
    """An unmounted disk has none of the objects: their rows must stay."""
    camera, spool = world.device("acme", "cam7")
    world.fleet.limit("acme", TenantLimits(keep_days=1))
    world.send(camera, spool.next())
    world.now += 2 * 86400
    world.objects.rename(world.objects.with_name("away"))
    with pytest.raises(Exception, match=r"cannot be used|has no identity|is missing"):
        world.fleet.expire(world.authority)
    assert world.count(tables.segments) == 1
    world.objects.with_name("away").rename(world.objects)
    assert world.fleet.expire(world.authority) == {"acme": 1}


def test_retention_continues_after_a_failure(world, monkeypatch):
    camera, spool = world.device("acme", "cam7")
    world.fleet.limit("acme", TenantLimits(keep_days=1))
    for _ in range(3):
        world.send(camera, spool.next())
    world.now += 2 * 86400
    monkeypatch.setattr("lepton.service.fleet._delete_row", lambda *_: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        world.fleet.expire(world.authority)
    assert world.stored() == []
    monkeypatch.undo()
    assert world.fleet.expire(world.authority) == {"acme": 3}
    assert world.count(tables.segments) == 0


def test_deleted_tenant(world):
    camera, spool = world.device("acme", "cam7")
    other, others = world.device("other", "cam7")
    for _ in range(3):
        world.send(camera, spool.next())
    world.send(other, others.next())
    assert world.fleet.delete_tenant("acme") == 3
    assert len(world.stored()) == 1
    assert [row["tenant"] for row in world.fleet.tenants()] == ["other"]
    for table in (tables.segments, tables.spools, tables.devices, tables.codes, tables.signing_keys):
        assert world.count(table) == 1
    with pytest.raises(ServiceError, match="there is no tenant acme"):
        world.fleet.delete_tenant("acme")
    with pytest.raises(RequestRefused):
        world.send(camera, spool.next())


def test_tenant_without_results(world):
    world.enrolment.invite(Identity("reader", "acme", "alice"))
    assert world.fleet.delete_tenant("acme") == 0
