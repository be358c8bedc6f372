"""How an operator runs the service: metrics, probes, logs, workers, own certificates, proxies, a quick stop."""

import base64
import json
import os
import signal
import socket
import ssl
import threading
import time
from pathlib import Path

import httpx
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import serialization
from lepton.cli import main
from lepton.service import changes
from lepton.service.identity import Identity

from tests.host.service.running import Service, members
from tests.host.service.senders import new_request, pem


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


@pytest.fixture(scope="module")
def probe():
    return f"127.0.0.1:{free_port()}"


@pytest.fixture(scope="module")
def log(tmp_path_factory):
    return tmp_path_factory.mktemp("log") / "log"


@pytest.fixture(scope="module")
def service(tmp_path_factory, probe, log):
    with log.open("wb") as errors, Service(
            tmp_path_factory.mktemp("service"), errors=errors,
            options=("--probe", probe, "--log-format", "json", "--log-level", "info")) as started:
        yield started


@pytest.fixture(scope="module")
def camera(service):
    return service.enrol("device", "acme", "cam7")


def values(probe):
    """Samples of /metrics by name with labels."""
    from prometheus_client.parser import text_string_to_metric_families
    text = httpx.get(f"http://{probe}/metrics", trust_env=False).text
    return {(sample.name, *sorted(sample.labels.items())): sample.value
            for family in text_string_to_metric_families(text) for sample in family.samples}


def test_metrics(service, camera, probe):
    spool = camera.spool()
    before = values(probe)
    segments = [spool.next() for _ in range(3)]
    for segment in (*segments, segments[0]):
        camera.upload(segment)
    camera.upload(spool.next(previous="e" * 64))
    after = values(probe)

    def more(name, **labels):
        key = (name, *sorted(labels.items()))
        return after.get(key, 0) - before.get(key, 0)

    assert more("lepton_service_segments_total", outcome="stored") == 3
    assert more("lepton_service_segments_total", outcome="repeated") == 1
    assert more("lepton_service_segments_total", outcome="refused") == 1
    assert more("lepton_service_segment_bytes_total") == sum(len(segment.data) for segment in segments)
    assert more("lepton_service_requests_total", method="PUT", route="results", status="201") == 3
    assert more("lepton_service_request_seconds_count", method="PUT", route="results") == 5
    assert after["lepton_service_connections", ("state", "identified")] >= 1
    device = (("device", "cam7"), ("tenant", "acme"))
    deadline = time.monotonic() + 60
    while after.get(("lepton_device_segments", *device), 0) < 3:  # read from the database from time to time
        assert time.monotonic() < deadline
        time.sleep(0.5)
        after = values(probe)
    assert after["lepton_device_last_received_timestamp_seconds", *device] == pytest.approx(time.time(), abs=300)
    assert after["lepton_device_certificate_expiry_timestamp_seconds", *device] > time.time()


def test_probes(service, probe):
    assert httpx.get(f"http://{probe}/healthz", trust_env=False).text == "ok\n"
    answer = httpx.get(f"http://{probe}/readyz", trust_env=False)
    assert (answer.status_code, answer.json()) == (200, {"database": "ok", "store": "ok"})


def test_clients_do_not_see_metrics(service, camera):
    assert members(camera.get("/metrics")) == (404, "not_found")


def test_log_lines(service, camera, log):
    answer = camera.get("/v1/nowhere\r\n{}".replace("\r\n", "%0d%0a"))
    name = answer.headers["x-request-id"]
    deadline = time.monotonic() + 30
    while not (found := [line for line in log.read_text().splitlines() if name in line]):
        assert time.monotonic() < deadline
        time.sleep(0.1)
    line = json.loads(found[0])
    assert (line["level"], line["request_id"], line["status"]) == ("info", name, 404)
    assert line["client"] == "device cam7 of tenant acme"
    assert line["time"].endswith("+00:00")
    assert all(isinstance(json.loads(text), dict) for text in log.read_text().splitlines())


def test_stops_within_two_seconds(tmp_path):
    """Also with open connections, and with a request whose body does not come."""
    with Service(tmp_path) as service:
        camera = service.enrol("device", "acme", "cam7")
        camera.upload(camera.spool().next())
        segment = camera.spool().next()
        with socket.create_connection(("127.0.0.1", service.port)) as plain, service.context(
                camera.credentials.client).wrap_socket(plain, server_hostname="127.0.0.1") as tls:
            tls.sendall(f"PUT /v1/{segment.key} HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n\r\nx".encode())
            time.sleep(0.3)
            before = time.monotonic()
            assert service.stop() == 0
            seconds = time.monotonic() - before
        assert seconds < 20  # 2 s by its own limits; tests run beside others on few processors


def children(pid):
    return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


def workers_of(service):
    return [pid for pid in children(service.process.pid)
            if b"spawn_main" in Path(f"/proc/{pid}/cmdline").read_bytes()]


def test_workers(postgres, tmp_path):
    """Two processes serve one address; one that is killed is started again; metrics are those of both."""
    probe = f"127.0.0.1:{free_port()}"
    with Service(tmp_path, postgres.new_database(), options=("--workers", "2", "--probe", probe)) as service:
        camera = service.enrol("device", "acme", "cam7")
        spool = camera.spool()
        for _ in range(12):
            segment = spool.next()
            with service.http(camera.credentials.client) as fresh:  # the kernel chooses a worker for each connection
                assert fresh.put(f"/v1/{segment.key}", content=segment.data).status_code == 201
        assert values(probe)["lepton_service_segments_total", ("outcome", "stored")] == 12
        first, second = workers_of(service)
        os.kill(first, signal.SIGKILL)
        deadline = time.monotonic() + 60
        while len(set(workers_of(service)) - {first}) < 2:
            assert time.monotonic() < deadline
            time.sleep(0.1)
        assert second in workers_of(service)
        stored = 0
        while stored < 6:
            try:
                with service.http(camera.credentials.client) as fresh:
                    segment = spool.next() if stored >= 0 else segment
                    stored += fresh.put(f"/v1/{segment.key}", content=segment.data).status_code in (200, 201)
            except httpx.TransportError:
                assert time.monotonic() < deadline
        workers = workers_of(service)
        assert service.stop() == 0
        assert not [pid for pid in workers if Path(f"/proc/{pid}").exists()]


def write(path, certificate, key):
    path.write_bytes(certificate.public_bytes(serialization.Encoding.PEM) + key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()))
    return path


@pytest.fixture(scope="module")
def company(tmp_path_factory):
    """An authority of the operator's own, from another library."""
    import trustme
    authority = trustme.CA()
    folder = tmp_path_factory.mktemp("company")
    authority.cert_pem.write_to_path(folder / "ca.pem")
    authority.issue_cert("localhost", "127.0.0.1").private_key_and_cert_chain_pem.write_to_path(folder / "server.pem")
    return authority, folder


def test_own_certificates(company, tmp_path):
    """The service shows the operator's certificate, and takes clients of the operator's authority by their name."""
    _, folder = company
    from lepton.service.authority import Authority
    clients = Authority(tmp_path / "clients")  # any authority: here it only signs names of our form
    options = ("--cert", str(folder / "server.pem"), "--client-ca", str(clients.root_file))
    with Service(tmp_path, options=options, authority=folder / "ca.pem") as service:
        camera = service.enrol("device", "acme", "cam7")
        assert camera.upload(camera.spool().next()).status_code == 201
        identity = Identity("reader", "acme", "alice")
        from cryptography.hazmat.primitives.asymmetric import ec
        key = ec.generate_private_key(ec.SECP256R1())
        client = write(tmp_path / "alice.pem", clients.issue(identity, new_request(key)), key)
        with service.http(client) as http:
            assert members(http.get("/v1/devices")) == (401, "certificate_unknown")  # nobody has invited her
        service.invite(identity)
        with service.http(client) as http:
            assert http.get("/v1/devices").status_code == 200
        service.revoke(identity)
        with service.http(client) as http:
            assert members(http.get("/v1/devices")) == (401, "certificate_unknown")


class EndsTls(threading.Thread):
    """A proxy: ends TLS, and gives the client's certificate in a header."""

    def __init__(self, service, encode):
        super().__init__(daemon=True)
        self._upstream = service.port
        self._encode = encode
        authority = service.home.open_authority()
        self._context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        server = service.folder / "proxy.pem"
        server.write_bytes(authority.server_pem(["127.0.0.1"]))
        self._context.load_cert_chain(server)
        self._context.load_verify_locations(authority.root_file)
        self._context.verify_mode = ssl.CERT_OPTIONAL
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = self._listener.getsockname()[1]

    def run(self):
        while True:
            plain, (address, _) = self._listener.accept()
            with self._context.wrap_socket(plain, server_side=True) as tls, \
                    socket.create_connection(("127.0.0.1", self._upstream)) as upstream:
                head = b""
                while b"\r\n\r\n" not in head:
                    head += tls.recv(65536)
                line, _, rest = head.partition(b"\r\n")
                certificate = tls.getpeercert(binary_form=True)
                added = [b"X-Forwarded-For: " + address.encode(), b"Connection: close"]
                if certificate:
                    added.append(b"Client-Cert: " + self._encode(certificate))
                upstream.sendall(b"\r\n".join([line, *added, rest]))
                length = int(head.lower().partition(b"content-length: ")[2].partition(b"\r\n")[0] or 0)
                sent = len(head.partition(b"\r\n\r\n")[2])
                while sent < length:
                    chunk = tls.recv(65536)
                    upstream.sendall(chunk)
                    sent += len(chunk)
                while chunk := upstream.recv(65536):
                    tls.sendall(chunk)


def as_rfc9440(certificate):
    return b":" + base64.b64encode(certificate) + b":"


def as_nginx(certificate):
    from urllib.parse import quote
    return quote(pem(x509.load_der_x509_certificate(certificate))).encode()


@pytest.mark.parametrize("encode", [as_rfc9440, as_nginx])
def test_behind_a_proxy(tmp_path, encode):
    with Service(tmp_path, options=("--proxy", "127.0.0.1")) as service:
        proxy = EndsTls(service, encode)
        proxy.start()
        service.url = f"https://127.0.0.1:{proxy.port}"
        camera = service.enrol("device", "acme", "cam7")
        spool = camera.spool()
        with httpx.Client(base_url=service.url, verify=service.context(camera.credentials.client)) as http:
            segment = spool.next()
            assert http.put(f"/v1/{segment.key}", content=segment.data).status_code == 201
        with service.http() as http:
            assert members(http.get("/v1/devices")) == (401, "certificate_missing")


def test_only_the_proxy_may_connect(tmp_path):
    """Whoever can reach the service directly could claim any certificate."""
    with Service(tmp_path, options=("--proxy", "192.0.2.1")) as service, \
            pytest.raises(httpx.TransportError):
        httpx.get(f"http://127.0.0.1:{service.port}/v1/devices", headers={"Client-Cert": "x"}, trust_env=False)


@pytest.mark.parametrize("arguments, text", [
    (["--cert", "/nowhere/x.pem"], "cannot read /nowhere/x.pem"),
    (["--key", "/nowhere/x.pem"], "--key needs --cert"),
    (["--listen", "192.0.2.1:1"], "cannot listen on 192.0.2.1:1")])
def test_mistakes_of_the_operator(tmp_path, capsys, arguments, text):
    assert main(["cloud", "serve", "--home", str(tmp_path), *arguments]) != 0
    assert text in capsys.readouterr().err


def test_commands_of_the_operator(service, camera, tmp_path, capsys):
    """Over the database of a service that runs."""
    home = ["--home", str(service.home.folder)]

    def run(*arguments, status=0):
        assert main(["cloud", *arguments, *home]) == status
        return capsys.readouterr().out

    camera.upload(camera.spool().next())
    names = tmp_path / "names"
    names.write_text("".join(f"bulk{n}\n" for n in range(20)))
    codes = [line.split("\t") for line in run("invite", "acme", "--file", str(names)).splitlines()]
    assert [name for name, _ in codes] == [f"bulk{n}" for n in range(20)]
    assert len({code for _, code in codes}) == 20
    listed = json.loads(run("list", "codes", "--tenant", "acme", "--json"))
    assert sum(row["state"] == "open" for row in listed) >= 20
    assert "cam7" in run("list", "devices")
    assert "acme" in run("list", "tenants")
    assert json.loads(run("list", "certificates", "--json"))[0]["state"] == "valid"
    assert "1000000000" in run("limit", "acme", "--max-bytes", "1000000000", "--keep-days", "30")
    assert run("expire") == "acme: 0 segments deleted\n"
    assert "each as it was written; head " in run("audit", "verify")
    head = json.loads(run("audit", "verify", "--json"))["head"]
    run("limit", "acme", "--keep-days", "30")
    run("audit", "verify", "--head", head)
    assert "limits" in run("audit", "list")
    assert run("reindex") == "acme: 0 segments added\n"
    assert "0 without object, 0 without row, 0 damaged" in run("scrub", "--content")
    run("backup", str(tmp_path / "backup"))
    assert {path.name for path in (tmp_path / "backup").iterdir()} == {"authority", "index.db"}
    database = service.open_database()
    with database.write() as connection:
        connection.exec_driver_sql("UPDATE changes SET actor = 'nobody' WHERE id = 2")
    assert "row 2 has been altered" in run("audit", "verify", status=1)
    assert changes.verify(database)[1] == ["row 2 has been altered"]
    database.close()
