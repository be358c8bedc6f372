"""The service's process: its folder, socket and threads."""

import os
import socket
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import uvicorn

from .app import make_app
from .audit import Audit
from .authority import CLIENT_DAYS, Authority
from .database import IndexDatabase
from .enrolment import Enrolment
from .errors import ServiceError
from .gate import Limits
from .ingest import Ingest
from .peer import make_context, protocol

DATABASE_VARIABLE = "LEPTON_DATABASE"  # a URL may have a password, which other users could read in an argument
CONNECTIONS = 1000  # below Linux's usual limit of 1024 open files for a process
BACKLOG = 256  # connections that wait to be accepted; further ones are refused by the system
GRACE_SECONDS = 10  # at the end: time in which open requests may finish


@dataclass(frozen=True)
class Home:
    """The folder of a service's authority and, by default, of its index and objects."""

    folder: Path
    database: str | None = None
    store: str | None = None

    def open_database(self) -> IndexDatabase:
        """Raises `ServiceError`."""
        return IndexDatabase(self.database or os.environ.get(DATABASE_VARIABLE) or self.folder / "index.db")

    def open_authority(self) -> Authority:
        """Raises `ServiceError`."""
        return Authority(self.folder / "authority")

    @property
    def objects(self) -> str:
        return self.store or str(self.folder / "objects")


@dataclass(frozen=True)
class Address:
    """Address to listen on (port 0: any free one), and the names by which devices reach it."""

    host: str = "127.0.0.1"
    port: int = 8443
    names: Sequence[str] = field(default=())

    def all_names(self) -> list[str]:
        return list(dict.fromkeys(["localhost", "127.0.0.1", socket.gethostname(), *self.names]))


def serve(home: Home, address: Address, limits: Limits, *, days: float = CLIENT_DAYS,
          ready: Callable[[int], None] = lambda port: None) -> None:
    """Answer requests until SIGINT or SIGTERM. `ready` is called with the port when the service is ready."""
    listener = _listen(address)
    database = home.open_database()
    authority = home.open_authority()
    audit = Audit(database)
    try:
        enrolment = Enrolment(database, authority, days)
        app = make_app(database, authority, enrolment, Ingest(database, home.objects), audit, limits)
        context = make_context(authority.server_pem(address.all_names()), authority.root_file, audit.put)
        config = uvicorn.Config(
            app, http=protocol(audit.put, limits.head_seconds), ws="none", lifespan="off",
            ssl_context_factory=lambda _config, _default: context, limit_concurrency=CONNECTIONS,
            log_level="warning", access_log=False, server_header=False, proxy_headers=False,
            timeout_graceful_shutdown=GRACE_SECONDS)
        _Server(config, lambda: ready(listener.getsockname()[1])).run([listener])
    finally:
        audit.close()
        database.close()
        listener.close()


def _listen(address: Address) -> socket.socket:
    family = socket.AF_INET6 if ":" in address.host else socket.AF_INET
    # asyncio sets TCP_NODELAY only if the socket names its protocol; without it Nagle's algorithm (RFC 896) and the
    # client's delayed acknowledgement (40 ms on Linux) delay each answer
    listener = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind((address.host, address.port))
        listener.listen(BACKLOG)
        return listener
    except OSError as error:
        listener.close()
        raise ServiceError(f"cannot listen on {address.host}:{address.port}: {error.strerror or error}") from error


class _Server(uvicorn.Server):
    def __init__(self, config: uvicorn.Config, ready: Callable[[], None]):
        super().__init__(config)
        self._ready = ready

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        if self.started:
            self._ready()
