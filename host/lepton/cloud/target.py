"""Where segments go: whatever takes each of them once."""

from pathlib import Path
from typing import Protocol


class Target(Protocol):
    """A store, or a service that stores."""

    where: str  # for people: a folder or URL
    lanes: int = 1  # segments that may be under way at once; one where their order matters

    def put_new(self, key: str, data: bytes) -> bool:
        """Store a segment under its key; when this returns, it is stored for good. False if it was there already.

        Raises `Refused` if it can never be taken, `Unavailable` (with the seconds to wait, if
        the other side named them) or `OSError` if it may be later.
        """
        ...


def open_target(where: str | Path, **options) -> Target:
    """The target of a URL: the ingest service for `https://…`, else a `Store` (a folder, `s3://bucket/prefix`, …).

    `options` go to the one that it is: for the service `credentials`, those of the device; for
    a store what obstore takes.
    """
    if str(where).startswith("https://"):
        from .ingest import IngestTarget
        return IngestTarget(str(where), **options)
    from .store import Store
    return Store(where, **options)
