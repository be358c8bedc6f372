"""The service as a process: its folder, its socket, its threads."""

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

DATABASE_VARIABLE = "LEPTON_DATABASE"  # a URL may hold a password, which has no place among arguments
CONNECTIONS = 1000
BACKLOG = 256  # connections that wait to be accepted


@dataclass(frozen=True)
class Home:
    """Where a service keeps its authority and, unless told otherwise, its index and its objects."""

    folder: Path
    database: str | None = None
    store: str | None = None

    def open_database(self) -> IndexDatabase:
        return IndexDatabase(self.database or os.environ.get(DATABASE_VARIABLE) or self.folder / "index.db")

    def open_authority(self) -> Authority:
        return Authority(self.folder / "authority")

    @property
    def objects(self) -> str:
        return self.store or str(self.folder / "objects")


@dataclass(frozen=True)
class Address:
    """Where to listen (port 0: any free one), and under which names devices reach it."""

    host: str = "127.0.0.1"
    port: int = 8443
    names: Sequence[str] = field(default=())

    def all_names(self) -> list[str]:
        return list(dict.fromkeys(["localhost", "127.0.0.1", socket.gethostname(), *self.names]))


def serve(home: Home, address: Address, limits: Limits, *, days: float = CLIENT_DAYS,
          ready: Callable[[int], None] = lambda port: None) -> None:
    """Answer until SIGINT or SIGTERM. `ready` is called with the port once requests are taken."""
    listener = _listen(address)
    database, authority = home.open_database(), home.open_authority()
    audit = Audit(database)
    try:
        enrolment = Enrolment(database, authority, days)
        app = make_app(database, authority, enrolment, Ingest(database, home.objects), audit, limits)
        context = make_context(authority.server_pem(address.all_names()), authority.root_file, audit.put)
        config = uvicorn.Config(
            app, http=protocol(audit.put, limits.head_seconds), ws="none", lifespan="off",
            ssl_context_factory=lambda _config, _default: context, limit_concurrency=CONNECTIONS,
            log_level="warning", access_log=False, server_header=False, proxy_headers=False,
            timeout_graceful_shutdown=10)
        _Server(config, lambda: ready(listener.getsockname()[1])).run([listener])
    finally:
        audit.close()
        database.close()
        listener.close()


def _listen(address: Address) -> socket.socket:
    family = socket.AF_INET6 if ":" in address.host else socket.AF_INET
    # asyncio sets TCP_NODELAY only where the protocol is named; without it each answer waits 40 ms for the peer
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
