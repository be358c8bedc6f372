"""A spool's state: one row of the database with a checksum, and a mark outside of the database.

Every transaction rewrites the row. The *mark* is a file next to the database. It is written after each commit, without
waiting for the disk, so it is never ahead of what is durable. It shows when the database lost commits that were
durable: SQLite takes a truncated or altered log for the end of the log, and reports no error.
"""

import contextlib
import json
import os
import struct
import zlib
from dataclasses import dataclass, field
from pathlib import Path

from .errors import SpoolDamaged

# Records: appended; duplicate (sent again, ignored); rejected (no room, or cannot be stored); dropped (the oldest, to
# make room); damaged (taken, then missing or altered in the file); stored (in the target). Segments: stored.
COUNTERS = ("appended", "duplicate", "rejected", "dropped", "damaged", "stored", "segments")
LOSSES = ("rejected", "dropped", "damaged")

# magic, spool's identity, device's name, records appended, records gone, next segment
_MARK = struct.Struct("<8s16s64sQQQ")
_MAGIC = b"LEPMARK2"


@dataclass
class SpoolState:
    """The row: what each transaction reads and rewrites."""

    device: str
    spool: str  # identity, 32 hex digits
    next_segment: int = 0
    previous: str = ""  # digest of the last segment
    waiting: int = 0  # records that are not in a segment, and the bytes of their lines
    waiting_bytes: int = 0
    offered: int = -1  # the last segment that a target may have; segments are offered in order
    reported: int = 0  # lost records that a segment's counters include
    counters: dict[str, int] = field(default_factory=lambda: dict.fromkeys(COUNTERS, 0))

    @property
    def losses(self) -> int:
        return sum(self.counters[name] for name in LOSSES)

    @property
    def gone(self) -> int:
        """Records that were taken and have left the spool."""
        return self.counters["stored"] + self.counters["dropped"] + self.counters["damaged"]

    def count(self, name: str, n: int) -> None:
        self.counters[name] += n

    def pack(self) -> tuple[str, int]:
        """The row's columns: text and checksum."""
        body = json.dumps(vars(self), separators=(",", ":"))
        return body, zlib.crc32(body.encode())

    @classmethod
    def unpack(cls, body: str, checksum: int) -> "SpoolState":
        """The state of a row's columns. Raises `SpoolDamaged`."""
        if not isinstance(body, str) or zlib.crc32(body.encode()) != checksum:
            raise SpoolDamaged("the row with its state is altered")
        return cls(**json.loads(body))


class Mark:
    """The mark of the spool at `path`."""

    def __init__(self, path: Path):
        self.path = Path(f"{path}-mark")
        self._handle: int | None = None

    def close(self) -> None:
        if self._handle is not None:
            os.close(self._handle)
            self._handle = None

    def write(self, state: SpoolState) -> None:
        """Write the counters of `state`. An error is ignored: without a mark, fewer kinds of damage are detected."""
        content = _MARK.pack(_MAGIC, bytes.fromhex(state.spool), state.device.encode(), state.counters["appended"],
                             state.gone, state.next_segment)
        with contextlib.suppress(OSError):
            if self._handle is None:
                self._handle = os.open(self.path, os.O_RDWR | os.O_CREAT, 0o600)
            os.pwrite(self._handle, content + struct.pack("<I", zlib.crc32(content)), 0)

    def read(self) -> dict | None:
        """`spool`, `device`, `appended`, `gone` and `next_segment`, if there is an intact mark."""
        try:
            content = self.path.read_bytes()
        except OSError:
            return None
        if len(content) != _MARK.size + 4 or struct.pack("<I", zlib.crc32(content[:-4])) != content[-4:]:
            return None
        magic, spool, device, appended, gone, next_segment = _MARK.unpack(content[:-4])
        if magic != _MAGIC:
            return None
        return {"spool": spool.hex(), "device": device.rstrip(b"\0").decode(), "appended": appended, "gone": gone,
                "next_segment": next_segment}

    def reconcile(self, state: SpoolState) -> int:
        """Count as damaged the records that were taken according to the mark but not to `state`; their number."""
        return self.count_lost(self.read(), state)

    @staticmethod
    def count_lost(mark: dict | None, state: SpoolState) -> int:
        """`reconcile` with what `read` has returned before `state` was read."""
        if mark is None or mark["spool"] != state.spool:
            return 0
        lost = max(0, mark["appended"] - state.counters["appended"])
        state.count("appended", lost)
        state.count("damaged", lost)
        # sequences that may have been used are not used again
        state.next_segment = max(state.next_segment, mark["next_segment"])
        return lost
