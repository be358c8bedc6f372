"""The ports of `lepton cloud up` give nothing to other users of the machine."""

import socket
import ssl
from pathlib import Path

import httpx
import obstore
import pytest
from lepton.results import server
from obstore.store import S3Store


@pytest.fixture(scope="module")
def running(tmp_path_factory):
    folder = tmp_path_factory.mktemp("server")
    yield server.up(folder)
    server.down(folder)


def test_filer_wants_a_token(running):
    """It has every object of the bucket, and would delete it without a question."""
    store = S3Store(running.bucket, access_key_id=running.access_key, secret_access_key=running.secret_key,
                    endpoint=running.endpoint, region=server.REGION, client_options={"allow_http": True})
    obstore.put(store, "results/x", b"secret")
    filer = f"http://127.0.0.1:{running.ports['filer']}"
    for method, path in (("GET", "/"), ("GET", "/buckets/lepton/results/x"), ("PUT", "/buckets/lepton/results/x"),
                         ("POST", "/y"), ("DELETE", "/buckets/lepton?recursive=true")):
        answer = httpx.request(method, filer + path, trust_env=False)
        assert answer.status_code == 401, (method, path)
        assert "secret" not in answer.text
    assert bytes(obstore.get(store, "results/x").bytes()) == b"secret"
    assert httpx.get(f"{running.endpoint}/lepton/results/x", trust_env=False).status_code == 403


@pytest.mark.parametrize("part", ["master", "volume", "filer", "s3"])
def test_grpc_wants_a_certificate(running, part):
    context = ssl.create_default_context()
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    context.set_alpn_protocols(["h2"])
    with socket.create_connection(("127.0.0.1", running.ports[part] + 10000), timeout=30) as plain, \
            pytest.raises((ssl.SSLError, ConnectionError)), context.wrap_socket(plain) as tls:
        tls.sendall(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + bytes.fromhex("000000040000000000"))
        while tls.recv(4096):  # a refused client is told after its own side of the handshake
            pass
        raise ConnectionError("closed")


def test_only_the_owner_can_read_the_keys(running):
    for name in ("security.toml", "grpc.key", "server.json", "identities.json"):
        assert (Path(running.folder) / name).stat().st_mode & 0o077 == 0
