"""Replaces the root of the authority, in two steps between which devices and readers learn to trust the next one.

1. `prepare` makes the next root. From then on everyone gets its certificate together with their own, at the latest when
   they rotate that. It signs nothing yet.
2. `finish` makes it the root that signs, and destroys the former key. The former certificate stays in `authority.pem`:
   what it has signed stays valid until it expires, and segments that its vouched keys have signed can be verified.
"""

import contextlib
import time
from collections.abc import Callable
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.serialization import Encoding
from sqlalchemy import func, select

from ..results import durable
from . import changes, tables
from .authority import Authority, new_root
from .database import IndexDatabase
from .errors import ServiceError

SHOWN = 10  # names in a message


class RootRotation:
    """The rotation of `authority`'s root. `clock` returns the seconds since 1970."""

    def __init__(self, authority: Authority, database: IndexDatabase, clock: Callable[[], float] = time.time):
        self._authority = authority
        self._database = database
        self._clock = clock

    def prepare(self) -> x509.Certificate:
        """Make the next root, and give its certificate to everyone from now on. Repeating it changes nothing."""
        found = self._next()
        if found is None:
            pem = new_root()
            with contextlib.suppress(FileExistsError):  # another process was faster
                durable.create(self._next_file, pem)
            found = x509.load_pem_x509_certificate(self._next_file.read_bytes())
            self._note("prepared", found)
        trusted = self._authority.root_pem
        text = found.public_bytes(Encoding.PEM).decode()
        if text not in trusted:
            durable.replace(self._authority.root_file, (trusted.rstrip() + "\n" + text).encode(), mode=0o644)
        return found

    def without(self) -> list[str]:
        """Devices and readers with a valid certificate who have got none since `prepare`, so they do not know the next
        root."""
        self._prepared()
        prepared = self._next_file.stat().st_mtime  # a restored copy is younger, so more seem not to know it
        codes = tables.codes.c
        certificates = tables.certificates.c
        with self._database.read() as connection:
            rows = connection.execute(
                select(codes.role, codes.tenant, codes.name, func.max(certificates.issued).label("issued"))
                .join_from(tables.certificates, tables.codes)
                .where(codes.revoked.is_(None), certificates.expires > self._clock())
                .group_by(codes.role, codes.tenant, codes.name)
                .order_by(codes.tenant, codes.role, codes.name)).all()
        return [f"{row.role} {row.name} of tenant {row.tenant}" for row in rows if row.issued < prepared]

    def finish(self, *, force: bool = False) -> x509.Certificate:
        """Let the next root sign. Raises `ServiceError` if a client does not know it, except with `force`: it must
        then enrol again."""
        prepared = self._prepared()
        left = self.without()
        if left and not force:
            more = f" and {len(left) - SHOWN} others" if len(left) > SHOWN else ""
            raise ServiceError(f"{', '.join(left[:SHOWN])}{more} do not know the next root yet: they get it when they "
                               "rotate their certificate, after two thirds of its validity or with `lepton cloud "
                               "rotate`; with --force they must enrol again")
        durable.replace(self._authority.folder / "authority.key", self._next_file.read_bytes())
        self._next_file.unlink(missing_ok=True)
        self._note("finished", prepared)
        return prepared

    @property
    def _next_file(self) -> Path:
        return self._authority.folder / "next.key"

    def _next(self) -> x509.Certificate | None:
        """The next root; None if there is none, or if it is the present one since a `finish` was interrupted."""
        try:
            found = x509.load_pem_x509_certificate(self._next_file.read_bytes())
        except FileNotFoundError:
            return None
        except (OSError, ValueError) as error:
            raise ServiceError(f"{self._next_file} cannot be read ({error}); remove it and prepare again") from error
        if found == self._authority.root:
            self._next_file.unlink(missing_ok=True)
            return None
        return found

    def _prepared(self) -> x509.Certificate:
        found = self._next()
        if found is None:
            raise ServiceError("no next root is prepared; begin with: lepton cloud root prepare")
        return found

    def _note(self, state: str, root: x509.Certificate) -> None:
        with self._database.write() as connection:
            changes.add(connection, self._clock(), changes.operator(), "root", state=state,
                        fingerprint=root.fingerprint(hashes.SHA256()).hex())
