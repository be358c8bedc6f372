"""The interface of targets: where segments are sent to."""

from collections.abc import Iterable
from pathlib import Path
from typing import Protocol


class Target(Protocol):
    """A store, or the ingest service."""

    where: str  # the folder or URL as the user gave it, for messages
    tenant: str  # the tenant of the device there
    lanes: int  # threads that may send at the same time; 1 if segments must arrive in order
    group: int  # segments that are best sent together with `put_all`; with 1 it is never called

    @property
    def place(self) -> str:
        """The name by which a spool remembers the target."""
        ...

    def identify(self, expected: str | None = None) -> str:
        """The target's identity, which differs from that of any other target at its place; "" if it has none.

        `expected`: the identity of earlier uploads, None if there were none. Raises `Unavailable` if the identity is
        another one or cannot be read; results then wait in the spool.
        """
        ...

    def put_new(self, key: str, data: bytes) -> bool:
        """Store a segment under its key; it is durable when this returns. False if it exists already.

        Raises `TargetRefused` if the segment can never be stored, and `Unavailable` (with the seconds to wait, if the
        target named them) or `OSError` if it may be stored later.
        """
        ...

    def put_all(self, objects: Iterable[tuple[str, bytes]]) -> list[str]:
        """Store segments; they are durable when this returns, except those in the returned list of keys.

        Those are to be sent with `put_new`. Raises `Unavailable` or `OSError` if the segments may be stored later; some
        may be stored already.
        """
        ...

    def put_head(self, key: str, data: bytes) -> None:
        """Store the signed head of a spool (`head`), or replace it.

        Raises `TargetRefused` if it can never be stored, and `Unavailable` or `OSError` if it may be stored later.
        """
        ...


def open_target(where: str | Path, **options) -> Target:
    """The target of a URL: the ingest service for `https://…`, otherwise a `Store` (a folder, `s3://bucket/prefix`, …).

    `options`: for the service `credentials`, those of the device; for a store those of obstore.
    """
    if str(where).startswith("https://"):
        from .ingest import IngestTarget
        return IngestTarget(str(where), **options)
    from .store import Store
    return Store(where, **options)
