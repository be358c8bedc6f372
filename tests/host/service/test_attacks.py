"""Clients that hold connections, bodies and handshakes do not keep others from the service."""

import socket
import ssl
import time

import pytest
from lepton.bench.attackers import Attack
from lepton.bench.service_process import resident_bytes

from tests.host.service.running import Service, members

LIMITS = ("silent_seconds=1.5, handshake_seconds=1.5, address_silent=20, address_handshakes=4, body_seconds=1, "
          "mistakes=Rate(0.5, 5), device_connections=3, address_strangers=4")


@pytest.fixture(scope="module")
def service(tmp_path_factory):
    with Service(tmp_path_factory.mktemp("service"), limits=LIMITS) as started:
        yield started


@pytest.fixture(scope="module")
def camera(service):
    return service.enrol("device", "acme", "cam7")


@pytest.fixture
def attack(service):
    with Attack(service.port, service.authority) as running:
        yield running


def happens(condition, seconds=60):
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.05)


def connection_from(address, service):
    plain = socket.socket()
    plain.settimeout(30)
    plain.bind((address, 0))
    plain.connect(("127.0.0.1", service.port))
    return plain


def test_silent_connections_are_closed(service, camera, attack):
    attack.silent("127.0.1.1", 60)
    spool = camera.spool()
    assert [camera.upload(spool.next()).status_code for _ in range(5)] == [201] * 5
    happens(lambda: attack.events.count("closed") >= 60)  # 40 as others came, 20 as they stayed silent


def test_half_open_handshakes_of_one_address(service, camera, attack):
    before = resident_bytes(service.process.pid)
    attack.half_open("127.0.1.2", 100)
    spool = camera.spool()
    with service.http(camera.credentials.client) as fresh:  # a new handshake at another address
        for _ in range(3):
            segment = spool.next()
            assert fresh.put(f"/v1/{segment.key}", content=segment.data).status_code == 201
    happens(lambda: attack.events.count("closed") >= 100)
    assert resident_bytes(service.process.pid) - before < 20 << 20


def test_address_with_wrong_codes(service, attack):
    attack.wrong_codes("127.0.1.3", 3)
    happens(lambda: "HTTP/1.1 429 Too Many Requests" in attack.events)
    assert service.enrol("device", "acme", "new").identity.name == "new"  # at another address
    answer = guess(service, "127.0.1.3")
    while not answer.startswith("HTTP/1.1 429"):
        answer = guess(service, "127.0.1.3")
    assert "\r\nretry-after: " in answer
    assert "connection: close" in answer


def guess(service, address):
    with connection_from(address, service) as plain, \
            service.context().wrap_socket(plain, server_hostname="127.0.0.1") as tls:
        tls.sendall(b"POST /v1/enrolment HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\n\r\n")
        return tls.recv(65536).decode()


def test_trickling_bodies_do_not_hold_others(service, camera, attack):
    slow = [service.enrol("device", "slow", f"slow{n}") for n in range(10)]
    for client in slow:
        attack.trickle(service.context(client.credentials.client), client.spool().next().key, "127.0.1.4")
    spool = camera.spool()
    for _ in range(3):
        segment = spool.next(records=1)
        assert camera.put(f"/v1/{segment.key}", content=segment.data.ljust(1 << 17, b"x")).status_code == 422
        assert camera.upload(segment).status_code == 201
    happens(lambda: attack.events.count("HTTP/1.1 408 Request Timeout") >= 10)


def test_steady_slow_body_is_taken(service, camera):
    """A link of 2 kB/s is slow, and not refused: the limit is for the rate, not for the whole body."""
    segment = camera.spool().next()
    with connection_from("127.0.0.1", service) as plain, service.context(
            camera.credentials.client).wrap_socket(plain, server_hostname="127.0.0.1") as tls:
        size = len(segment.data)
        tls.sendall(f"PUT /v1/{segment.key} HTTP/1.1\r\nHost: x\r\nContent-Length: {size}\r\n\r\n".encode())
        for start in range(0, size, 500):
            tls.sendall(segment.data[start:start + 500])
            time.sleep(0.25)
        assert tls.recv(65536).startswith(b"HTTP/1.1 201")


def test_a_device_has_few_connections(service, camera):
    """The oldest one ends: after a loss of the network the former connections seem to be open."""
    context = service.context(camera.credentials.client)
    open_ones = []
    for _ in range(5):
        plain = connection_from("127.0.0.1", service)
        tls = context.wrap_socket(plain, server_hostname="127.0.0.1")
        tls.sendall(b"GET /v1/nowhere HTTP/1.1\r\nHost: x\r\n\r\n")
        assert tls.recv(65536).startswith(b"HTTP/1.1 404")
        open_ones.append(tls)

    def ended(tls):
        tls.settimeout(0.2)
        try:
            while tls.recv(65536):
                pass
            return True
        except TimeoutError:
            return False
        except (ConnectionError, ssl.SSLError):
            return True

    assert all(ended(tls) for tls in open_ones[:2])
    assert not ended(open_ones[-1])
    for tls in open_ones:
        tls.close()


def test_many_strangers_of_an_address(service):
    """Connections without a certificate; the oldest one ends."""
    context = service.context()
    open_ones = [context.wrap_socket(connection_from("127.0.1.6", service), server_hostname="127.0.0.1")
                 for _ in range(6)]
    open_ones[0].settimeout(30)
    with pytest.raises((ConnectionError, ssl.SSLError, AssertionError)):
        assert open_ones[0].recv(100) != b""
    for tls in open_ones:
        tls.close()


def test_rates_of_requests(tmp_path):
    limits = "device_rate=Rate(0.01, 5), tenant_rate=Rate(0.01, 8)"
    with Service(tmp_path, limits=limits) as service:
        first, second = (service.enrol("device", "acme", name) for name in ("cam1", "cam2"))
        other = service.enrol("device", "other", "cam1")
        spool = first.spool()
        position = {"params": {"spool": spool.identity}}
        assert [first.get("/v1/position", **position).status_code for _ in range(5)] == [200] * 5
        answer = first.get("/v1/position", **position)
        assert members(answer) == (429, "rate")
        assert 1 <= int(answer.headers["retry-after"]) <= 100
        assert "device cam1 of tenant acme sends too many requests; try again in" in answer.json()["detail"]
        assert [second.get("/v1/position", **position).status_code for _ in range(3)] == [200] * 3
        answer = second.get("/v1/position", **position)
        assert members(answer) == (429, "rate")
        assert answer.json()["detail"].startswith("tenant acme sends too many requests")
        assert other.get("/v1/position", **position).status_code == 200
