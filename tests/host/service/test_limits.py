"""Slow and greedy peers, on a service with small limits."""

import socket
import time

import pytest
from lepton.service import tables
from sqlalchemy import select

from tests.host.service.running import Service, members

PATIENCE = 30.0


@pytest.fixture(scope="module")
def service(tmp_path_factory):
    with Service(tmp_path_factory.mktemp("service"), limits="segment_bytes=4096, head_seconds=0.3, body_seconds=0.3"
                 ) as started:
        yield started


@pytest.fixture(scope="module")
def camera(service):
    return service.enrol("device", "acme", "cam7")


def connect(service, client):
    plain = socket.create_connection(("127.0.0.1", service.port), timeout=PATIENCE)
    return service.context(client.credentials.client).wrap_socket(plain, server_hostname="127.0.0.1")


def refused(service, detail):
    """Waits for the audit's row."""
    database = service.open_database()
    deadline = time.monotonic() + PATIENCE
    while time.monotonic() < deadline:
        with database.read() as connection:
            row = connection.execute(select(tables.refusals).where(tables.refusals.c.detail == detail)).first()
        if row:
            database.close()
            return row
        time.sleep(0.05)
    raise AssertionError(f"no refusal {detail!r}")


@pytest.mark.parametrize("begun", [b"", b"GET /v1/position HT"])
def test_head_that_does_not_come(service, camera, begun):
    with connect(service, camera) as tls:
        tls.sendall(begun)
        assert tls.recv(100) == b""
    assert refused(service, "no request arrived within 0.3 seconds").status == 408


def test_second_head_that_does_not_come(service, camera):
    with connect(service, camera) as tls:
        tls.sendall(b"GET /v1/nowhere HTTP/1.1\r\nHost: x\r\n\r\n")
        answer = b""
        while not answer.endswith(b"}"):
            answer += tls.recv(65536)
        assert answer.startswith(b"HTTP/1.1 404")
        tls.sendall(b"GET /v1/nowh")
        assert tls.recv(100) == b""


def test_body_that_does_not_come(service, camera):
    segment = camera.spool().next()
    with connect(service, camera) as tls:
        tls.sendall(f"PUT /v1/{segment.key} HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n\r\n".encode() + b"x")
        assert tls.recv(65536).startswith(b"HTTP/1.1 408")
        while tls.recv(65536):  # then it is closed
            pass
    row = refused(service, "1 bytes of the body arrived within 0.3 seconds; the least rate is 1024 bytes/s")
    assert row.name == "cam7"


def test_segment_at_the_limit(camera):
    spool = camera.spool()
    overhead = len(spool.next().data)
    spool = camera.spool()
    small = spool.next(origin={"note": "x" * (256 if overhead < 4096 - 300 else 0)})
    assert len(small.data) <= 4096
    assert camera.upload(small).status_code == 201
    answer = camera.put(f"/v1/{small.key}", content=small.data.ljust(4096, b"x"))
    assert members(answer) == (422, "segment")
    answer = camera.put(f"/v1/{small.key}", content=small.data.ljust(4097, b"x"))
    assert members(answer) == (413, "too_large")
    assert answer.json()["detail"] == "the body has 4097 bytes; the limit is 4096"


def test_keep_alive_goes_on_after_a_refusal(camera):
    """A refused body is read to its end, so the connection serves the next request."""
    spool = camera.spool()
    assert members(camera.put(f"/v1/{spool.next().key}", content=b"x" * 9000)) == (413, "too_large")
    assert camera.get("/v1/position", params={"spool": spool.identity}).status_code == 200
