"""A device's side of enrolment and rotation, against the real service."""

import time
from datetime import UTC, datetime, timedelta

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding
from lepton.results import credentials as module
from lepton.results import ingest
from lepton.results.credentials import Credentials
from lepton.results.errors import CredentialsError, Unavailable
from lepton.results.ingest import IngestTarget
from lepton.results.keys import DeviceKeys
from lepton.service.enrolment import Enrolment
from lepton.service.identity import Identity

from tests.host.service.running import Service
from tests.host.service.senders import Spool

CAMERA = Identity("device", "acme", "cam7")


@pytest.fixture(scope="module")
def service(tmp_path_factory):
    with Service(tmp_path_factory.mktemp("service")) as started:
        yield started


@pytest.fixture
def keys():
    return DeviceKeys.generate()


@pytest.fixture
def credentials(tmp_path):
    return Credentials(tmp_path / "keys")


@pytest.fixture
def enrolled(service, credentials, keys):
    credentials.enrol(service.url, service.invite(CAMERA), service.authority, keys)
    return credentials


def certificate(credentials):
    return x509.load_pem_x509_certificate(credentials.client.read_bytes())


def put(service, credentials, segment):
    target = IngestTarget(service.url, credentials=credentials)
    try:
        return target.put_new(segment.key, segment.data)
    finally:
        target.close()


def test_enrolled_device_uploads(service, enrolled, keys):
    spool = Spool(CAMERA.name, keys)
    assert put(service, enrolled, spool.next())
    assert Identity.of(certificate(enrolled)) == CAMERA
    assert {path.name for path in enrolled.folder.iterdir()} == {"client.pem", "authority.pem", "certificate.pem"}
    assert enrolled.client.stat().st_mode & 0o077 == 0


def test_rotated_device_uploads(service, enrolled, keys):
    spool = Spool(CAMERA.name, keys)
    put(service, enrolled, spool.next())
    before = certificate(enrolled)
    enrolled.rotate(service.url)
    assert certificate(enrolled).public_key() != before.public_key()
    assert put(service, enrolled, spool.next())


def test_answer_that_got_lost(service, credentials, keys, monkeypatch):
    """The device crashes when the certificate is issued and not yet on its disk: the same code serves again."""
    code = service.invite(CAMERA)
    original = module.durable.replace

    def crash(path, content):
        if path == credentials.client:
            raise KeyboardInterrupt
        original(path, content)

    with monkeypatch.context() as patch:
        patch.setattr(module.durable, "replace", crash)
        with pytest.raises(KeyboardInterrupt):
            credentials.enrol(service.url, code, service.authority, keys)
    credentials.enrol(service.url, code, service.authority, keys)
    assert put(service, credentials, Spool(CAMERA.name, keys).next())


def test_lost_answer_to_a_rotation(service, enrolled, keys, monkeypatch):
    """The old certificate still serves."""
    original = module.durable.replace

    def crash(path, content):
        if path == enrolled.client:
            raise KeyboardInterrupt
        original(path, content)

    with monkeypatch.context() as patch:
        patch.setattr(module.durable, "replace", crash)
        with pytest.raises(KeyboardInterrupt):
            enrolled.rotate(service.url)
    assert put(service, enrolled, Spool(CAMERA.name, keys).next())


def test_uploader_rotates_in_time(service, enrolled, keys, monkeypatch):
    """In the middle of uploading, and without a pause in it."""
    spool = Spool(CAMERA.name, keys)
    before = certificate(enrolled)
    target = IngestTarget(service.url, credentials=enrolled)
    monkeypatch.setattr(ingest, "CHECK_SECONDS", 0.0)
    assert target.put_new((segment := spool.next()).key, segment.data)
    assert certificate(enrolled) == before  # it is not due
    monkeypatch.setattr(module, "RENEW_AT", 0.0)
    target._next_check = 0.0
    for _ in range(3):
        assert target.put_new((segment := spool.next()).key, segment.data)
    assert certificate(enrolled).public_key() != before.public_key()
    target.close()


def expire(service, credentials):
    """Give the device a certificate of one second, and wait until it has expired."""
    database = service.home.open_database()
    enrolment = Enrolment(database, service.home.open_authority(), days=1 / 86_400)
    key, request = credentials._request()
    issued = enrolment.rotate(enrolment.identify(certificate(credentials).public_bytes(Encoding.DER)),
                              request.public_bytes(Encoding.PEM).decode())
    database.close()
    credentials.client.write_bytes(key + issued.certificate.public_bytes(Encoding.PEM))
    (credentials.folder / "next.key").unlink()
    while not credentials.expired():
        time.sleep(0.1)


def test_a_device_that_was_off_for_too_long_renews_with_its_old_key(service, enrolled, keys):
    expire(service, enrolled)
    before = certificate(enrolled)
    assert put(service, enrolled, Spool(CAMERA.name, keys).next())
    assert certificate(enrolled).public_key() != before.public_key()
    assert enrolled.expired() is None


def test_an_expired_certificate_says_so(service, enrolled, keys, monkeypatch):
    expire(service, enrolled)

    def refuse(*_):
        raise CredentialsError("too late")

    monkeypatch.setattr(Credentials, "renew", refuse)
    with pytest.raises(Unavailable, match=r"certificate .*client.pem expired on \d{4}-\d\d-\d\d \d\d:\d\d UTC and was "
                       r"not renewed \(too late\); get a new one with: lepton cloud enroll"):
        put(service, enrolled, Spool(CAMERA.name, keys).next())


def test_uploader_takes_what_another_process_has_rotated(service, enrolled, keys, monkeypatch):
    spool = Spool(CAMERA.name, keys)
    target = IngestTarget(service.url, credentials=enrolled)
    first = target._version
    enrolled.rotate(service.url)
    target._next_check = 0.0
    assert target.put_new((segment := spool.next()).key, segment.data)
    assert target._version == enrolled.version() != first
    target.close()


def test_rotation_that_fails_does_not_stop_uploads(service, enrolled, keys, monkeypatch):
    spool = Spool(CAMERA.name, keys)
    target = IngestTarget(service.url, credentials=enrolled)
    monkeypatch.setattr(module, "RENEW_AT", 0.0)

    def refuse(*_):
        raise CredentialsError("not now")

    monkeypatch.setattr(Credentials, "rotate", refuse)
    target._next_check = 0.0
    assert target.put_new((segment := spool.next()).key, segment.data)
    target.close()


def test_due(enrolled):
    assert not enrolled.due()
    assert not enrolled.due(datetime.now(UTC) + timedelta(days=59))
    assert enrolled.due(datetime.now(UTC) + timedelta(days=61))


def test_code_that_is_refused(service, credentials, keys):
    with pytest.raises(CredentialsError, match="no certificate: the code is unknown, expired, revoked or already"):
        credentials.enrol(service.url, "guess", service.authority, keys)
    assert not credentials.client.exists()


def test_service_of_another_authority(service, credentials, keys, tmp_path):
    """A device does not give its code to a stranger."""
    from lepton.service.authority import Authority
    with pytest.raises(CredentialsError, match="CERTIFICATE_VERIFY_FAILED"):
        credentials.enrol(service.url, "code", Authority(tmp_path / "other").root_file, keys)


def test_no_service(credentials, keys, service):
    with pytest.raises(CredentialsError, match=r"https://127\.0\.0\.1:1 issued no certificate"):
        credentials.enrol("https://127.0.0.1:1", "code", service.authority, keys)


def test_files_that_are_missing(credentials, keys, tmp_path, service):
    with pytest.raises(CredentialsError, match=r"cannot read the authority's certificate .*: No such file"):
        credentials.enrol(service.url, "code", tmp_path / "none.pem", keys)
    (tmp_path / "text.pem").write_text("no certificate")
    with pytest.raises(CredentialsError, match="is not a certificate of an authority"):
        credentials.enrol(service.url, "code", tmp_path / "text.pem", keys)
    Credentials(tmp_path / "empty").folder.mkdir()
    (tmp_path / "empty" / "authority.pem").write_bytes(service.authority.read_bytes())
    with pytest.raises(CredentialsError, match="get a certificate with: lepton cloud enroll"):
        Credentials(tmp_path / "empty").rotate(service.url)
