"""Results through the service: read by a reader, verified by the authority's certificate alone, keys rotated."""

import pytest
from lepton import results
from lepton.cli import main
from lepton.results import DeviceKeys, Spool, Store, Uploader, keys, open_target, pem
from lepton.results.credentials import Credentials
from lepton.results.errors import SegmentError
from lepton.results.keyring_files import load_keyring
from lepton.results.reading import open_source
from lepton.results.verify import verify
from lepton.service.identity import Identity

from tests.host.service.running import Service, members


@pytest.fixture(scope="module")
def service(tmp_path_factory):
    with Service(tmp_path_factory.mktemp("service")) as started:
        yield started


@pytest.fixture(scope="module")
def organisation(tmp_path_factory):
    path = tmp_path_factory.mktemp("organisation") / "reader.pem"
    pem.make_reader(path)
    return path


class Device:
    """An enrolled device of tenant acme, with the organisation as its only recipient."""

    def __init__(self, service, folder, name, organisation):
        self.name = name
        self.folder = folder / name
        self.url = service.url
        keys.add_recipient(self.folder, pem.read_recipient(organisation.with_suffix(".pub.pem")))
        self.credentials = Credentials(self.folder)
        self.credentials.enrol(service.url, service.invite(Identity("device", "acme", name)), service.authority,
                               DeviceKeys.load_or_create(self.folder))

    def send(self, run, count):
        target = open_target(self.url, credentials=self.credentials)
        with Spool(self.folder / "spool.db", device=self.name) as spool, \
                Uploader(spool, target, DeviceKeys.load(self.folder), segment_records=20) as uploader:
            spool.append_many(run, [{"i": i} for i in range(count)])
            assert uploader.flush(30), uploader.status


@pytest.fixture(scope="module")
def fleet(service, tmp_path_factory, organisation):
    folder = tmp_path_factory.mktemp("devices")
    devices = [Device(service, folder, name, organisation) for name in ("cam1", "cam2")]
    for device in devices:
        device.send("run", 50)
    return devices


@pytest.fixture(scope="module")
def reader(service, tmp_path_factory):
    credentials = Credentials(tmp_path_factory.mktemp("alice"))
    credentials.enrol(service.url, service.invite(Identity("reader", "acme", "alice")), service.authority,
                      DeviceKeys.generate())
    return credentials


def test_a_reader_reads_and_verifies(service, fleet, reader, organisation):
    opened = results.open(service.url, keys=[organisation, service.authority], credentials=reader)
    assert opened.query("SELECT device, count(*) AS n, sum(fields.i) AS s FROM results GROUP BY ALL ORDER BY ALL"
                        ).to_pylist() == [{"device": name, "n": 50, "s": 1225} for name in ("cam1", "cam2")]
    assert [(run.tenant, run.device, run.records) for run in opened.runs()] == [
        ("acme", "cam1", 50), ("acme", "cam2", 50)]
    report = verify(open_source(service.url, credentials=reader), load_keyring([service.authority]))
    assert report.good and report.records == 100 and len(report.spools) == 2
    today = opened._source.keys()[0].split("date=")[1][:10]
    assert len(opened._source.keys("cam1", today, today)) == 3
    assert opened._source.keys("cam1", "2999-01-01") == []


def test_the_authority_alone_verifies_the_fleet(service, fleet, tmp_path):
    store = Store(service.home.folder / "objects" / "acme")
    assert verify(store, load_keyring([service.authority])).good
    with Service(tmp_path / "other") as other:
        report = verify(store, load_keyring([other.authority]))
    assert not report.good and {device for device, _ in report.unchecked} == {"cam1", "cam2"}


def test_a_signing_key_is_vouched_for_its_own_device_only(service, fleet):
    """A device that signs in another's name: the authority knows its key, but not for that name."""
    from tests.host.service.senders import Spool as Sender
    first, second = (DeviceKeys.load(device.folder) for device in fleet)
    keyring = load_keyring([service.authority])
    made = Sender("cam1", first).next()
    made.check_signature(keyring)
    with pytest.raises(SegmentError, match="which is not trusted"):
        Sender("cam1", second).next().check_signature(keyring)
    with pytest.raises(SegmentError, match="which is not trusted"):
        Sender("cam1", first, tenant="other").next().check_signature(keyring)


def test_heads_of_others_are_refused(service, fleet, reader):
    client = service.enrol("device", "acme", "cam3")
    [key, *_] = open_source(service.url, credentials=reader).heads()
    head = open_source(service.url, credentials=reader).get(key)
    assert members(client.put(f"/v1/{key}", content=head)) == (403, "not_yours")
    own = key.replace("cam1", "cam3").replace("cam2", "cam3")
    assert members(client.put(f"/v1/{own}", content=head)) == (422, "segment")
    assert members(client.put(f"/v1/{own}", content=b"junk")) == (422, "segment")
    stranger = service.enrol("reader", "other", "eve")
    assert members(stranger.get(f"/v1/{key}")) == (404, "not_found")
    assert stranger.get("/v1/heads").json() == {"heads": [], "next": None}
    mine = service.enrol("reader", "acme", "bob")
    pages = [mine.get("/v1/heads", params={"limit": 1}).json()]
    pages.append(mine.get("/v1/heads", params={"limit": 1, "after": pages[0]["next"]}).json())
    assert sorted(key for page in pages for key in page["heads"]) == open_source(
        service.url, credentials=reader).heads()


def test_the_signing_key_rotates(service, fleet, organisation, capsys):
    """Registered before it is used; old segments stay right, and the authority's certificate is enough for both."""
    device = fleet[0]
    before = DeviceKeys.load(device.folder).public_hex
    assert main(["results", "keys", str(device.folder), "--rotate-signing", "--service", service.url]) == 0
    capsys.readouterr()
    assert DeviceKeys.load(device.folder).public_hex != before
    device.send("later", 30)
    store = Store(service.home.folder / "objects" / "acme")
    report = verify(store, load_keyring([service.authority]), device=device.name)
    assert report.good and report.records == 80
    assert len(report.spools[0].signers) == 2
    assert len(list(results.open(store.where, keys=[organisation, service.authority], device=device.name).records())
               ) == 80


def test_a_reader_that_asks_too_often_waits(tmp_path, organisation):
    """Two queries and two segments at once, then one in half a second: all results come all the same."""
    limits = ", ".join(f"{name}=Rate(2, 2)" for name in ("reader_rate", "object_rate"))
    with Service(tmp_path / "service", limits=limits) as service:
        device = Device(service, tmp_path, "cam", organisation)
        device.send("run", 100)
        credentials = Credentials(tmp_path / "reader")
        credentials.enrol(service.url, service.invite(Identity("reader", "acme", "carol")), service.authority,
                          DeviceKeys.generate())
        source = open_source(service.url, credentials=credentials)
        statuses = [source._once("/v1/results", {}).status_code for _ in range(4)]
        assert 429 in statuses
        names = source.keys()
        found = [source.get(name) for name in names]
        assert len(found) == 5 and all(found)
