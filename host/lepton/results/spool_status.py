"""The state of a spool as users see it, read from any connection to its file."""

from dataclasses import dataclass
from typing import Any

import apsw

from . import segment as segments
from .state import SpoolState

TARGET_NOTE = "target "  # prefix of the notes that hold the targets' identities


@dataclass(frozen=True)
class SpoolStatus:
    """The spool's contents, and what happened to all records so far. `counters`: see `state.COUNTERS`."""

    device: str
    path: str
    policy: str
    waiting: int  # records that are not in a segment yet
    sealed: int  # records in segments that are not stored yet
    refused: int  # records in segments that the target has refused
    file_bytes: int
    max_bytes: int
    counters: dict[str, int]
    upload: dict[str, str]  # what the uploader last noted


def read_status(db: apsw.Connection, path: str, state: SpoolState, *, policy: str, file_bytes: int, max_bytes: int
                ) -> SpoolStatus:
    """The status of the spool at `path`; the last three values are not in the file."""
    counts: list[tuple[Any, ...]] = db.execute(
        "SELECT coalesce(sum(records) FILTER (WHERE refused IS NULL), 0), "
        "coalesce(sum(records) FILTER (WHERE refused IS NOT NULL), 0), (SELECT count(*) FROM records) FROM segments"
    ).fetchall()
    (sealed, refused, waiting), = counts
    notes: list[tuple[Any, ...]] = db.execute(
        "SELECT name, value FROM notes WHERE name NOT LIKE ? || '%'", (TARGET_NOTE,)).fetchall()
    return SpoolStatus(state.device, path, policy, waiting, sealed, refused, file_bytes, max_bytes,
                       state.counters, {str(name): str(value) for name, value in notes})


def read_oldest_waiting(db: apsw.Connection) -> float | None:
    """Time (seconds since 1970) of the oldest record that is not stored yet; None if none waits."""
    sealed: list[tuple[Any, ...]] = db.execute(
        "SELECT key, data FROM segments WHERE refused IS NULL ORDER BY sequence LIMIT 1").fetchall()
    waiting: list[tuple[Any, ...]] = db.execute("SELECT min(time_ms) FROM records").fetchall()
    times = [segments.parse(data, key).header.from_ms for key, data in sealed]
    times += [oldest for oldest, in waiting if oldest is not None]
    return min(times) / 1000 if times else None
