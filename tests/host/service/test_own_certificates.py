"""A service with the operator's own certificates, and behind a proxy that ends TLS."""

import base64
import socket
import ssl
import threading

import httpx
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import serialization
from lepton.service.identity import Identity

from tests.host.service.running import Service, members
from tests.host.service.senders import new_request, pem


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
            assert members(http.get("/v1/devices")) == (401, "certificate_unknown")  # not invited
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
