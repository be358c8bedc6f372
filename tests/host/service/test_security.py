"""Who is kept out of a running service, by certificate, role or tenant; every refusal leaves a row in the audit."""

import contextlib
import socket
import ssl

import httpx
import pytest
import trustme
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec
from lepton.results.keys import DeviceKeys
from lepton.results.segment import Key, join_key
from lepton.service.authority import Authority
from lepton.service.identity import Identity

from tests.host.service.running import members
from tests.host.service.senders import Spool, new_request, pem

A_KEY = Key("acme", "cam7", "2026-11-30", "0" * 32, 0, "0" * 64)


def write_client(path, certificate_pem: str, key):
    path.write_bytes(certificate_pem.encode() + key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()))
    return path


def issued(authority, identity, path, **options):
    key = ec.generate_private_key(ec.SECP256R1())
    return write_client(path, pem(authority.issue(identity, new_request(key), **options)), key)


def handshake_fails(service, client):
    """TLS 1.3 tells a client about its certificate only after its own side of the handshake."""
    with service.http(client) as http, pytest.raises((httpx.TransportError, ssl.SSLError)):
        http.get("/v1/devices")


# Certificates

def test_certificate_of_another_authority(service, tmp_path, audit):
    stranger = Authority(tmp_path / "other")
    handshake_fails(service, issued(stranger, Identity("reader", "acme", "alice"), tmp_path / "client.pem"))
    assert audit("certificate_refused").status == 401


def test_certificate_of_trustme(service, tmp_path, audit):
    blob = trustme.CA().issue_cert("cam7").private_key_and_cert_chain_pem
    blob.write_to_path(tmp_path / "client.pem")
    handshake_fails(service, tmp_path / "client.pem")
    audit("certificate_refused")


def test_expired_certificate(service, tmp_path, audit):
    authority = service.home.open_authority()
    handshake_fails(service, issued(authority, Identity("reader", "acme", "alice"), tmp_path / "c.pem", days=-0.002))
    assert audit("certificate_refused").detail == "certificate has expired"


def test_certificate_of_a_server_is_none_of_a_client(service, tmp_path, audit):
    (tmp_path / "server.pem").write_bytes(service.home.open_authority().server_pem(["localhost"]))
    handshake_fails(service, tmp_path / "server.pem")
    audit("certificate_refused")


def test_unlisted_certificate_of_our_authority(service, tmp_path, audit):
    """Whoever got the authority to sign something else than enrolment did is not let in."""
    client = issued(service.home.open_authority(), Identity("reader", "acme", "alice"), tmp_path / "client.pem")
    with service.http(client) as http:
        assert members(http.get("/v1/devices")) == (401, "certificate_unknown")
    audit("certificate_unknown")


@pytest.mark.parametrize("method, path", [
    ("GET", "/v1/devices"), ("GET", "/v1/openapi.json"), ("POST", "/v1/certificate"), ("GET", "/nowhere"),
    ("PUT", "/v1/" + join_key(A_KEY)), ("GET", "/v1/enrolment/"), ("GET", "/v1//enrolment")])
def test_no_certificate(service, audit, method, path):
    with service.http() as http:
        assert members(http.request(method, path)) == (401, "certificate_missing")
    row = audit("certificate_missing")
    assert (row.request, row.address, row.tenant) == (f"{method} {path}", "127.0.0.1", None)


def test_revoked_on_an_open_connection(service, audit):
    victim = service.enrol("device", "acme", "stolen")
    spool = victim.spool()
    assert victim.upload(spool.next()).status_code == 201
    service.revoke(victim.identity)
    assert members(victim.upload(spool.next())) == (401, "certificate_revoked")
    row = audit("certificate_revoked")
    assert (row.tenant, row.role, row.name) == ("acme", "device", "stolen")
    assert members(victim.post("/v1/certificate", json={"request": pem(new_request())})) == (401, "certificate_revoked")


def test_old_tls(service, audit):
    context = service.context()
    context.maximum_version = ssl.TLSVersion.TLSv1_2
    with pytest.raises(ssl.SSLError), socket.create_connection(("127.0.0.1", service.port)) as plain:
        context.wrap_socket(plain, server_hostname="127.0.0.1")
    assert audit("handshake").detail == "UNSUPPORTED_PROTOCOL"


def test_no_tls(service, audit):
    with socket.create_connection(("127.0.0.1", service.port)) as plain:
        plain.sendall(b"GET /v1/devices HTTP/1.1\r\nHost: x\r\n\r\n")
        with contextlib.suppress(ConnectionError):
            while plain.recv(4096):
                pass
    audit("handshake")


def test_sessions_are_not_resumed(service, camera):
    """A ticket would outlive what the certificate is checked against."""
    context = service.context(camera.credentials.client)
    with socket.create_connection(("127.0.0.1", service.port)) as plain, \
            context.wrap_socket(plain, server_hostname="127.0.0.1") as tls:
        tls.sendall(b"GET /v1/devices HTTP/1.1\r\nHost: x\r\n\r\n")
        tls.recv(4096)
        assert tls.session is None or not tls.session.has_ticket


# Roles and tenants

def test_device_is_no_reader(camera, audit):
    for path in ("/v1/devices", "/v1/results", "/v1/refusals"):
        assert members(camera.get(path)) == (403, "not_yours")
    assert audit("not_yours").name == "cam7"


def test_reader_is_no_device(reader, audit):
    spool = Spool("alice", DeviceKeys.generate())
    assert members(reader.upload(spool.next())) == (403, "not_yours")
    assert members(reader.get("/v1/position", params={"spool": spool.identity})) == (403, "not_yours")
    audit("not_yours")


def test_device_writes_only_its_own(service, camera, audit):
    neighbour = service.enrol("device", "acme", "cam8")
    segment = Spool("cam8", neighbour.keys).next()
    assert members(camera.upload(segment)) == (403, "not_yours")
    assert audit("not_yours").detail == ("the certificate is that of device cam7 of tenant acme, not of device "
                                            "cam8 of tenant acme")


def test_other_tenants_data(service, camera, reader):
    """Same device name, other tenant: nothing of one shows to the other."""
    namesake = service.enrol("device", "other", "cam7")
    stranger = service.enrol("reader", "other", "eve")
    spool = camera.spool()
    segment = spool.next()
    assert camera.upload(segment).status_code == 201
    camera.upload(spool.next(previous="e" * 64))  # refused
    assert stranger.get("/v1/results").json() == {"segments": [], "next": None}
    assert stranger.get("/v1/results", params={"device": "cam7"}).json()["segments"] == []
    assert stranger.get("/v1/refusals").json()["refusals"] == []
    assert [row["segments"] for row in stranger.get("/v1/devices").json()["devices"]] == [0]
    assert members(stranger.get(f"/v1/{segment.key}")) == (404, "not_found")
    assert namesake.get("/v1/position", params={"spool": spool.identity}).json()["expected"] is None
    assert reader.get(f"/v1/{segment.key}").content == segment.data
    assert members(namesake.upload(segment)) == (403, "not_yours")  # another's segment, replayed
