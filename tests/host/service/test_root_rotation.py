"""The root is replaced while devices work; a device that has rotated in between is not locked out."""


import json

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding
from lepton.cli import main
from lepton.cli.main import EXIT_USER_ERROR
from lepton.results import DeviceKeys, Keyring
from lepton.results.credentials import Credentials
from lepton.results.errors import Unavailable
from lepton.results.ingest import IngestTarget
from lepton.service import changes
from lepton.service.authority import Authority
from lepton.service.errors import ServiceError
from lepton.service.root_rotation import RootRotation

from tests.host.service.running import Service


def roots(path):
    return x509.load_pem_x509_certificates(path.read_bytes())


def put(service, credentials, segment):
    target = IngestTarget(service.url, credentials=credentials)
    try:
        return target.put_new(segment.key, segment.data)
    finally:
        target.close()


def test_rotation(tmp_path, capsys):
    with Service(tmp_path) as service:
        home = ["--home", str(service.home.folder)]
        camera, late = (service.enrol("device", "acme", name) for name in ("cam7", "late"))
        alice = service.enrol("reader", "acme", "alice")
        spool = camera.spool()
        other = late.spool()
        assert put(service, camera.credentials, spool.next())
        assert put(service, late.credentials, other.next())
        first = Authority(service.home.folder / "authority").root
        assert main(["cloud", "root", "finish", *home]) == EXIT_USER_ERROR
        assert "no next root is prepared; begin with: lepton cloud root prepare" in " ".join(
            capsys.readouterr().err.split())
        for _ in range(2):  # repeating it changes nothing
            assert main(["cloud", "root", "prepare", *home]) == 0
            said = capsys.readouterr().out
            assert "3 devices and readers do not know it yet" in said
        assert len(roots(service.authority)) == 2
        for client in (camera, alice):  # the service that runs gives the next root without a restart
            client.credentials.rotate(service.url)
            assert roots(client.credentials.authority) == roots(service.authority)
        assert roots(late.credentials.authority) == [first]
        assert main(["cloud", "root", "finish", *home]) == EXIT_USER_ERROR
        assert "device late of tenant acme do not know the next root yet" in " ".join(capsys.readouterr().err.split())
        assert Authority(service.home.folder / "authority").root == first
        assert main(["cloud", "root", "finish", "--force", *home]) == 0
        second = Authority(service.home.folder / "authority").root
        assert second != first and not (service.home.folder / "authority" / "next.key").exists()

        service.stop()
        service.start()
        assert put(service, camera.credentials, spool.next())  # its certificate is the first root's
        camera.credentials.rotate(service.url)
        certificate = x509.load_pem_x509_certificate(camera.credentials.client.read_bytes())
        certificate.verify_directly_issued_by(second)
        assert put(service, camera.credentials, spool.next())
        with pytest.raises(Unavailable, match=r"(?i)certificate verify failed"):
            put(service, late.credentials, other.next())
        with service.http(alice.credentials.client) as reader:
            assert len(reader.get("/v1/results").json()["segments"]) == 4
        database = service.open_database()
        states = [json.loads(str(row["subject"]))["state"] for row in changes.listed(database, 100)
                  if row["action"] == "root"]
        assert sorted(states) == ["finished", "prepared"]
        database.close()


def test_interrupted_finish(database, tmp_path):
    """The key was replaced, but the file of the next one is still there."""
    authority = Authority(tmp_path / "authority")
    keys = DeviceKeys.generate()
    signer = keys.signing.public_key().public_bytes_raw().hex()
    vouched = authority.vouch("acme", "cam7", signer).public_bytes(Encoding.DER)
    rotation = RootRotation(authority, database)
    rotation.prepare()
    pem = (authority.folder / "next.key").read_bytes()
    rotation.finish()
    (authority.folder / "next.key").write_bytes(pem)
    again = RootRotation(Authority(authority.folder), database)
    with pytest.raises(ServiceError, match="no next root is prepared"):
        again.finish()
    assert again.prepare() != authority.root
    assert len(roots(authority.root_file)) == 3
    assert Keyring(authorities=tuple(roots(authority.root_file))).trusts(signer, "acme", "cam7", vouched)
    assert not Keyring(authorities=(Authority(authority.folder).root,)).trusts(signer, "acme", "cam7", vouched)


def test_roots_of_a_service_with_the_operators_own_certificate_are_not_learnt(tmp_path):
    """The device trusts the operator's authority for TLS, and nothing of the service's."""
    operators = Authority(tmp_path / "a")
    services = Authority(tmp_path / "b")
    credentials = Credentials(tmp_path)
    credentials.authority.write_text(operators.root_pem)
    credentials._learn(services.root_pem)
    credentials._learn("no certificate")
    credentials._learn(None)
    assert credentials.authority.read_text() == operators.root_pem
    credentials._learn(operators.root_pem + services.root_pem)
    assert roots(credentials.authority) == [operators.root, services.root]
