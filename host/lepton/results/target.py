"""Where segments go: whatever takes each of them once."""

from collections.abc import Iterable
from pathlib import Path
from typing import Protocol


class Target(Protocol):
    """A store, or a service that stores."""

    where: str  # for people: a folder or URL
    place: str  # what the spool remembers it by
    lanes: int = 1  # threads that may send at once; one where the order of segments matters
    group: int = 1  # segments that are better put at once; a target that has but 1 needs no `put_all`

    def identify(self, expected: str | None = None) -> str:
        """Tells this target from others that may be found at its place; "" for one that does so by other means.

        `expected`: what it was the last time, None the first time. Raises `Unavailable` if it is not, or cannot be
        asked: results then wait.
        """
        ...

    def put_new(self, key: str, data: bytes) -> bool:
        """Store a segment under its key; when this returns, it is stored for good. False if it was there already.

        Raises `TargetRefused` if it can never be taken, `Unavailable` (with the seconds to wait, if
        the other side named them) or `OSError` if it may be later.
        """
        ...

    def put_all(self, objects: Iterable[tuple[str, bytes]]) -> list[str]:
        """Store segments, for good when this returns, but those whose keys it returns: they are left to `put_new`.

        Raises `Unavailable` or `OSError` if it may be possible later; some of them may have been stored.
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
