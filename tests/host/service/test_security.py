"""Who and what is kept out, on a running service; every refusal leaves a row in the audit."""

import contextlib
import socket
import ssl
import time

import httpx
import pytest
import trustme
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec
from lepton.results.keys import DeviceKeys
from lepton.results.segment import Key, join_key
from lepton.service import tables
from lepton.service.authority import Authority
from lepton.service.gate import MAX_BODY
from lepton.service.identity import Identity
from sqlalchemy import func, select

from tests.host.service.running import members
from tests.host.service.senders import Spool, new_request, pem, signing

PATIENCE = 30.0
A_KEY = Key("acme", "cam7", "2026-11-30", "0" * 32, 0, "0" * 64)


@pytest.fixture(scope="module")
def camera(service):
    return service.enrol("device", "acme", "cam7")


@pytest.fixture(scope="module")
def reader(service):
    return service.enrol("reader", "acme", "alice")


@pytest.fixture
def audit(service):
    """Waits for the row of the refusal that a test has caused, and gives it."""
    database = service.open_database()
    columns = tables.refusals.c

    def last() -> int:
        with database.read() as connection:
            return connection.scalar(select(func.max(columns.id))) or 0

    before = last()

    def row(reason):
        deadline = time.monotonic() + PATIENCE
        while time.monotonic() < deadline:
            with database.read() as connection:
                found = connection.execute(
                    select(tables.refusals).where(columns.id > before, columns.reason == reason)).first()
            if found:
                return found
            time.sleep(0.02)
        raise AssertionError(f"no refusal {reason!r} in the audit")

    yield row
    database.close()


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
    assert audit("not_yours").detail == ("the certificate is that of device cam7 of tenant acme, not of cam8 of acme")


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


# What is sent

def test_altered_segment(camera, audit):
    segment = camera.spool().next()
    altered = segment.data[:-1] + bytes([segment.data[-1] ^ 1])
    assert members(camera.put(f"/v1/{segment.key}", content=altered)) == (422, "segment")
    assert "damaged" in audit("segment").detail


def test_replayed_and_reordered_segments(camera, audit):
    spool = camera.spool()
    first = spool.next()
    second = spool.next()
    third = spool.next()
    assert [camera.upload(s).status_code for s in (first, first, second, first)] == [201, 200, 201, 200]
    fourth = spool.next()
    answer = camera.upload(fourth)
    assert members(answer) == (409, "out_of_order")
    assert answer.json()["expected"] == 2
    assert camera.get("/v1/position", params={"spool": spool.identity}).json()["expected"] == 2
    assert camera.upload(fourth, **{"Lepton-Lost-From": "2"}).json()["expected"] == 4
    assert camera.upload(third).status_code == 201
    audit("out_of_order")


@pytest.mark.parametrize("path", [
    *(join_key(A_KEY._replace(**changed)) for changed in (
        {"sequence": -1}, {"digest": "g" * 64}, {"digest": "0"}, {"device": "cam%2F..%2Fx"}, {"device": "%00"},
        {"tenant": "%2e%2e"}, {"date": "2026-1-1"}, {"spool": "0"})),
    "results/cam7/1-" + "0" * 64, "heads/tenant=acme/device=cam7/x.cose", "heads/tenant=acme/device=../x.cose"])
def test_malformed_keys(camera, audit, path):
    status, reason = members(camera.put(f"/v1/{path}", content=b"x"))
    assert (status, reason) in ((422, "invalid"), (404, "not_found"), (405, "method"))
    audit(reason)


@pytest.mark.parametrize("header", ["-1", "x", "1e3", "9" * 40])
def test_malformed_loss(camera, audit, header):
    assert members(camera.upload(camera.spool().next(), **{"Lepton-Lost-From": header})) == (422, "invalid")
    audit("invalid")


@pytest.mark.parametrize("body", [b"", b"{", b"[]", b'{"code": 1}', b'{"code": "' + b"x" * 500 + b'", "request": ""}',
                                  b'{"code":"\\ud800","request":"\\u0000"}', b"[" * 20000, b"\xff"])
def test_malformed_enrolment(service, audit, body):
    with service.http() as http:
        status, reason = members(http.post("/v1/enrolment", content=body, headers={"Content-Type": "application/json"}))
    assert (status, reason) in ((422, "invalid"), (400, "malformed"))
    audit(reason)


def test_guessed_code(service, audit):
    request = new_request()
    key, proof = signing(DeviceKeys.generate(), request)
    with service.http() as http:
        answer = http.post("/v1/enrolment", json={"code": "guess", "request": pem(request), "signing_key": key,
                                                  "signing_proof": proof})
    assert members(answer) == (403, "code_refused")
    audit("code_refused")


def test_oversized(service, camera, audit):
    """Refused by its announced length, before a byte of it is read."""
    with service.http() as http:
        assert members(http.post("/v1/enrolment", content=b" " * (MAX_BODY + 1))) == (413, "too_large")
    assert audit("too_large").detail == f"the body has {MAX_BODY + 1} bytes; the limit is {MAX_BODY}"
    answer = raw(service, camera, f"PUT /v1/{camera.spool().next().key} HTTP/1.1\r\nHost: x\r\n"
                 f"Content-Length: {1 << 40}\r\n\r\n".encode())
    assert b" 413 " in answer.splitlines()[0]


def test_body_without_length(camera, audit):
    segment = camera.spool().next()
    answer = camera.put(f"/v1/{segment.key}", content=iter([segment.data]))
    assert members(answer) == (411, "length_required")
    audit("length_required")


@pytest.mark.parametrize("request_bytes", [
    b"\x16\x03\x01\r\n\r\n", b"GET /\0 HTTP/1.1\r\n\r\n", b"GET / HTTP/1.1\r\n\r\n",
    b"PUT / HTTP/1.1\r\nHost: x\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n",
    b"PUT / HTTP/1.1\r\nHost: x\r\nContent-Length: -1\r\n\r\n",
    b"GET / HTTP/1.1\r\nHost: x\r\nX: " + b"x" * 70_000])
def test_no_http(service, camera, audit, request_bytes):
    assert b" 400 " in raw(service, camera, request_bytes).splitlines()[0]
    audit("malformed")


def test_method_and_path(camera, audit):
    answer = camera.delete("/v1/position")
    assert members(answer) == (405, "method")
    assert answer.headers["allow"] == "GET"
    assert members(camera.get("/v1/nowhere")) == (404, "not_found")
    audit("not_found")


def test_one_large_body_of_a_device_at_a_time(service, camera, audit):
    """A device that opens many and sends nothing takes no room from others."""
    large = camera.spool().next(records=1)
    head = f"PUT /v1/{large.key} HTTP/1.1\r\nHost: x\r\nContent-Length: {MAX_BODY + 1}\r\n"
    head += "Expect: 100-continue\r\n\r\n"  # answered when the service begins to read the body
    other = service.enrol("device", "acme", "cam9")
    body = b"x" * (MAX_BODY + 1)
    with socket.create_connection(("127.0.0.1", service.port)) as plain, \
            service.context(camera.credentials.client).wrap_socket(plain, server_hostname="127.0.0.1") as tls:
        tls.sendall(head.encode())
        assert tls.recv(65536) == b"HTTP/1.1 100 Continue\r\n\r\n"
        answer = camera.put(f"/v1/{large.key}", content=body)
        assert members(answer) == (429, "busy")
        assert answer.headers["retry-after"] == "5"
        theirs = other.spool().next(records=1)
        assert members(other.put(f"/v1/{theirs.key}", content=body)) == (422, "segment")
    assert audit("busy").name == "cam7"
    deadline = time.monotonic() + PATIENCE
    while members(camera.put(f"/v1/{large.key}", content=body)) == (429, "busy"):
        assert time.monotonic() < deadline


def test_connection_cut_in_the_body(service, camera, reader):
    """Half a segment is none, and the service is there for the next."""
    spool = camera.spool()
    segment = spool.next()
    head = f"PUT /v1/{segment.key} HTTP/1.1\r\nHost: x\r\nContent-Length: {len(segment.data)}\r\n\r\n".encode()
    with socket.create_connection(("127.0.0.1", service.port)) as plain, \
            service.context(camera.credentials.client).wrap_socket(plain, server_hostname="127.0.0.1") as tls:
        tls.sendall(head + segment.data[:-10])
    assert members(reader.get(f"/v1/{segment.key}")) == (404, "not_found")
    assert camera.upload(segment).status_code == 201


def raw(service, client, request: bytes) -> bytes:
    """The answer to bytes of our own over the client's connection."""
    with socket.create_connection(("127.0.0.1", service.port), timeout=PATIENCE) as plain, \
            service.context(client.credentials.client).wrap_socket(plain, server_hostname="127.0.0.1") as tls:
        tls.sendall(request)
        return tls.recv(65536)
