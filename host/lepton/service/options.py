"""What an operator chooses when the service is started."""

import os
import socket
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from .authority import CLIENT_DAYS, Authority
from .database import IndexDatabase
from .errors import ServiceError
from .limits import Limits
from .logs import Format

DATABASE_VARIABLE = "LEPTON_DATABASE"  # a URL may have a password, which other users could read in an argument


@dataclass(frozen=True)
class Home:
    """The folder of a service's authority and, by default, of its index and objects."""

    folder: Path
    database: str | None = None
    store: str | None = None

    def open_database(self, *, make: bool = True) -> IndexDatabase:
        """See `IndexDatabase`. Raises `ServiceError`."""
        return IndexDatabase(self.database or os.environ.get(DATABASE_VARIABLE) or self.folder / "index.db", make=make)

    def open_authority(self, *, make: bool = True) -> Authority:
        """With `make` a new authority is made if there is none. Raises `ServiceError`."""
        folder = self.folder / "authority"
        if not make and not folder.is_dir():
            raise ServiceError(f"there is no authority {folder}; `lepton cloud serve` makes it; name the service's "
                               "folder with --home")
        return Authority(folder)

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


@dataclass(frozen=True)
class Certificates:
    """Certificates of the operator's own authority, in PEM files: `server`, with its key in `key`; and `client_ca`,
    whose certificates devices and readers may have in place of those of the service.
    """

    server: Path | None = None
    key: Path | None = None
    client_ca: Path | None = None

    def server_pem(self) -> bytes | None:
        """Key and certificate chain; None for one that the service issues itself. Raises `ServiceError`."""
        if self.server is None:
            if self.key is not None:
                raise ServiceError("--key needs --cert, the certificate of the key")
            return None
        return b"\n".join(_read(path) for path in (self.key, self.server) if path is not None)

    def client_pem(self) -> bytes | None:
        return None if self.client_ca is None else _read(self.client_ca)


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise ServiceError(f"cannot read {path}: {error.strerror}") from error


@dataclass(frozen=True)
class Options:
    """How the service runs. `proxies` are the addresses of proxies that end TLS: then the service itself uses none."""

    address: Address = Address()
    limits: Limits = field(default_factory=Limits)
    days: float = CLIENT_DAYS  # validity of issued certificates
    certificates: Certificates = Certificates()
    proxies: frozenset[str] = frozenset()
    probe: tuple[str, int] | None = None
    workers: int = 1
    log_format: Format = "text"
    log_level: str = "warning"
