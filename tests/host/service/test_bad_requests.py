"""What a running service refuses to take from its clients; every refusal leaves a row in the audit."""

import socket
import time

import pytest
from lepton.results.keys import DeviceKeys
from lepton.results.segment import Key, join_key
from lepton.service.gate import MAX_BODY

from tests.host.service.running import members
from tests.host.service.senders import new_request, pem, signing

PATIENCE = 30.0
A_KEY = Key("acme", "cam7", "2026-11-30", "0" * 32, 0, "0" * 64)


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
