"""The ingest service as a process for measurements, and devices with real keys and certificates."""

import base64
import contextlib
import http.client
import json
import os
import secrets
import selectors
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from ..results import segment as segments
from ..results.credentials import PROOF_CONTEXT, Credentials
from ..results.keys import DeviceKeys
from ..results.segment import Segment
from ..service.enrolment import Enrolment
from ..service.identity import Identity, Role
from ..service.options import Home

START_SECONDS = 60.0
TIMEOUT_SECONDS = 60.0  # of a request


class ServiceProcess:
    """`lepton cloud serve` with its home in `folder`; ends with the `with` block. `options` are further arguments."""

    def __init__(self, folder: Path, *options: str, database: str | None = None):
        self.home = Home(folder / "home", database)
        self.folder = folder
        command = [sys.executable, "-c", "from lepton.cli import main; raise SystemExit(main())", "cloud", "serve",
                   "--home", str(self.home.folder), "--listen", "127.0.0.1:0", *options,
                   *(("--database", database) if database else ())]
        self.process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
        assert self.process.stdout is not None  # a pipe, as asked for
        with selectors.DefaultSelector() as selector:
            selector.register(self.process.stdout, selectors.EVENT_READ)
            line = self.process.stdout.readline() if selector.select(START_SECONDS) else ""
        if not line.startswith("listening on https://"):
            self.process.kill()
            raise RuntimeError(f"the service did not start; it printed {line!r}")
        self.port = int(line.split()[2].rstrip(",").rpartition(":")[2])
        self.url = f"https://127.0.0.1:{self.port}"
        self.authority = self.home.folder / "authority" / "authority.pem"

    def __enter__(self) -> "ServiceProcess":
        return self

    def __exit__(self, *_: object) -> None:
        self.process.terminate()
        try:
            self.process.wait(10)
        except subprocess.TimeoutExpired:
            self.process.kill()
        if self.process.stdout is not None:
            self.process.stdout.close()

    def memory_bytes(self) -> int:
        """Resident memory of the process and those that it has started."""
        return sum(resident_bytes(pid) for pid in [self.process.pid, *_children(self.process.pid)])

    def processor_seconds(self) -> float:
        """Processor time of the process and those that it has started."""
        ticks = 0
        for pid in [self.process.pid, *_children(self.process.pid)]:
            fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
            ticks += int(fields[11]) + int(fields[12])  # utime and stime, proc(5)
        return ticks / os.sysconf("SC_CLK_TCK")

    def enrol(self, role: Role, tenant: str, names: list[str]) -> list["LoadDevice"]:
        """Devices or readers with certificates. They are enrolled without TLS: that is not what is measured."""
        database = self.home.open_database()
        enrolment = Enrolment(database, self.home.open_authority())
        try:
            return [self._enrol(enrolment, Identity(role, tenant, name)) for name in names]
        finally:
            database.close()

    def _enrol(self, enrolment: Enrolment, identity: Identity) -> "LoadDevice":
        keys = DeviceKeys.generate()
        folder = self.folder / "clients" / identity.tenant / identity.name
        key = ec.generate_private_key(ec.SECP256R1())
        request = x509.CertificateSigningRequestBuilder().subject_name(x509.Name([])).sign(key, hashes.SHA256())
        proof = keys.signing.sign(PROOF_CONTEXT + request.public_bytes(Encoding.DER))
        signing = [base64.b64encode(part).decode() for part in (keys.signing.public_key().public_bytes_raw(), proof)]
        issued = enrolment.enrol(enrolment.invite(identity), request.public_bytes(Encoding.PEM).decode(),
                                 signing[0], signing[1])
        folder.mkdir(parents=True)
        credentials = Credentials(folder)
        credentials.client.write_bytes(issued.pem.encode() + key.private_bytes(
            Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
        credentials.authority.write_bytes(self.authority.read_bytes())
        return LoadDevice(self.port, identity, keys, credentials)


class LoadDevice:
    """A device that makes segments and uploads them over a connection of its own."""

    def __init__(self, port: int, identity: Identity, keys: DeviceKeys, credentials: Credentials):
        self.identity = identity
        self.credentials = credentials
        self._context = credentials.context()
        self._port = port
        self._keys = keys
        self._spool = secrets.token_hex(16)
        self._sequence = 0
        self._previous = ""
        self._client: http.client.HTTPSConnection | None = None

    def segment(self, size: int = 75_000) -> Segment:
        """The next segment, of about `size` bytes."""
        at = 1_700_000_000_000 + 1000 * self._sequence
        line = {"number": self._sequence, "run": "r1", "note": base64.b64encode(secrets.token_bytes(size)).decode()}
        made = segments.seal(
            self._keys, [json.dumps(line).encode()], tenant=self.identity.tenant, device=self.identity.name,
            spool=self._spool, sequence=self._sequence, previous=self._previous, run="r1", first=self._sequence,
            last=self._sequence, from_ms=at, to_ms=at + 999, origin={},
            counters={"appended": self._sequence + 1, "rejected": 0, "dropped": 0})
        self._sequence += 1
        self._previous = made.digest
        return made

    def upload(self, segment: Segment) -> tuple[int, float]:
        """Status of the answer, and seconds."""
        begun = time.monotonic()
        reused = self._client is not None
        try:
            return self._send(segment), time.monotonic() - begun
        except (OSError, http.client.HTTPException):
            self.close()
            if not reused:  # otherwise the service may have closed it, as it was idle
                raise
        return self._send(segment), time.monotonic() - begun

    def _send(self, segment: Segment) -> int:
        if self._client is None:
            self._client = http.client.HTTPSConnection("127.0.0.1", self._port, context=self._context,
                                                       timeout=TIMEOUT_SECONDS)
            self._client.connect()
            self._client.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._client.request("PUT", f"/v1/{segment.key}", segment.data)
        answer = self._client.getresponse()
        answer.read()
        return answer.status

    def close(self) -> None:
        if self._client is not None:
            self._client.close()
            self._client = None


@contextlib.contextmanager
def closing(devices: list[LoadDevice]) -> Iterator[list[LoadDevice]]:
    """Closes the devices' connections at the end."""
    try:
        yield devices
    finally:
        for device in devices:
            device.close()


def resident_bytes(pid: int) -> int:
    """Resident memory of a process; 0 if it has ended."""
    with contextlib.suppress(OSError):
        for line in Path(f"/proc/{pid}/status").read_text().splitlines():
            if line.startswith("VmRSS:"):
                return int(line.split()[1]) << 10
    return 0


def _children(pid: int) -> list[int]:
    with contextlib.suppress(OSError):
        return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
    return []
