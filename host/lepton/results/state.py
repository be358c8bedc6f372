"""What a spool knows about itself: one small record, checked, and a mark outside of the database.

The state is one row with a checksum, rewritten by every transaction. The *mark* is a file beside the database that
is written after each commit, without waiting for the disk: it never runs ahead of what is durable, and so tells
when a spool was set back, be it by a truncated or altered log, which SQLite takes for the end of the log.
"""

import contextlib
import json
import os
import struct
import zlib
from dataclasses import dataclass, field
from pathlib import Path

from .errors import SpoolDamaged

# records appended, duplicate (offered again, not taken), rejected (no room), dropped (oldest, no room), damaged
# (taken, and not found again or not intact), stored; segments stored
COUNTERS = ("appended", "duplicate", "rejected", "dropped", "damaged", "stored", "segments")
LOSSES = ("rejected", "dropped", "damaged")

_MARK = struct.Struct("<8s16sQQQ")
_MAGIC = b"LEPMARK1"


@dataclass
class SpoolState:
    device: str
    spool: str  # identity, 32 hex digits
    next_segment: int = 0
    previous: str = ""  # digest of the segment before
    waiting: int = 0  # records that are not in a segment, and the bytes of their lines
    waiting_bytes: int = 0
    offered: int = -1  # the last segment that a target may have; segments are offered in order
    reported: int = 0  # losses that a segment's counters have told of
    counters: dict[str, int] = field(default_factory=lambda: dict.fromkeys(COUNTERS, 0))

    @property
    def losses(self) -> int:
        return sum(self.counters[name] for name in LOSSES)

    @property
    def gone(self) -> int:
        """Records that were taken and need not be here any more."""
        return self.counters["stored"] + self.counters["dropped"] + self.counters["damaged"]

    def count(self, name: str, n: int) -> None:
        self.counters[name] += n

    def pack(self) -> tuple[str, int]:
        """The row: text and checksum."""
        body = json.dumps(vars(self), separators=(",", ":"))
        return body, zlib.crc32(body.encode())

    @classmethod
    def unpack(cls, body: str, checksum: int) -> "SpoolState":
        """Raises `SpoolDamaged`."""
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
        """Note how far the spool is. A mark that cannot be written only detects less."""
        content = _MARK.pack(_MAGIC, bytes.fromhex(state.spool), state.counters["appended"], state.gone,
                             state.next_segment)
        with contextlib.suppress(OSError):
            if self._handle is None:
                self._handle = os.open(self.path, os.O_RDWR | os.O_CREAT, 0o600)
            os.pwrite(self._handle, content + struct.pack("<I", zlib.crc32(content)), 0)

    def read(self) -> dict | None:
        """`spool`, `appended`, `gone` and `next_segment`, if there is an intact mark."""
        try:
            content = self.path.read_bytes()
        except OSError:
            return None
        if len(content) != _MARK.size + 4 or struct.pack("<I", zlib.crc32(content[:-4])) != content[-4:]:
            return None
        magic, spool, appended, gone, next_segment = _MARK.unpack(content[:-4])
        if magic != _MAGIC:
            return None
        return {"spool": spool.hex(), "appended": appended, "gone": gone, "next_segment": next_segment}

    def hold_against(self, state: SpoolState) -> int:
        """Count as damaged what the mark knows to have been taken and the state does not; returns how many."""
        mark = self.read()
        if mark is None or mark["spool"] != state.spool:
            return 0
        lost = max(0, mark["appended"] - state.counters["appended"])
        state.count("appended", lost)
        state.count("damaged", lost)
        # sequences that may have been used are not used again
        state.next_segment = max(state.next_segment, mark["next_segment"])
        return lost
