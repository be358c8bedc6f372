"""The oldest records of a spool, as far as they become one segment: those of one run, up to a number and a size."""

import json
import time
from dataclasses import dataclass
from typing import Any
from zlib import crc32

from . import records as lines
from .database import SpoolDatabase
from .schema import run_crc


@dataclass(frozen=True)
class Batch:
    """Consecutive rows that become one segment; `lines` has only the undamaged ones."""

    ids: list[int]
    good: list[int]  # identities of `lines`
    lines: list[bytes]
    size: int  # bytes of all lines, damaged ones included
    damaged: int
    about: dict[str, Any]  # arguments of `segment.seal`

    def ranges(self) -> list[tuple[int, int]]:
        """The identities as (first, last) of runs without gaps."""
        found: list[tuple[int, int]] = []
        for identity in self.ids:
            if found and identity == found[-1][1] + 1:
                found[-1] = (found[-1][0], identity)
            else:
                found.append((identity, identity))
        return found


def oldest(database: SpoolDatabase, max_records: int, max_bytes: int) -> Batch:
    """The oldest rows, as far as they belong to one run and their numbers ascend."""
    ids: list[int] = []
    good: list[int] = []
    text: list[bytes] = []
    times: list[int] = []
    numbers: list[int] = []
    run: str | None = None
    mark = b""  # what the lines of the run have before their number
    size = 0
    damaged = 0
    for identity, time_ms, crc, line in database.iterate(
            "SELECT id, time_ms, crc, line FROM records ORDER BY id LIMIT ?", max_records):
        found: tuple[str, int] | None = None
        if isinstance(line, bytes) and crc32(line) == crc:
            # mostly the run is that of the record before: then the search for its name takes a tenth of the time
            at = line.rfind(mark, -lines.MAX_TAIL) if mark else -1
            number = line[at + len(mark):-1] if at >= 0 else b""
            found = (run, int(number)) if run and number.isdigit() else lines.tail(line)
        length = len(line) if found else 0
        if ids and (size + length > max_bytes or (found and run and (found[0] != run or found[1] <= numbers[-1]))):
            break
        ids.append(identity)
        size += length
        if found is None:
            damaged += 1
            continue
        if run != found[0]:
            run = found[0]
            mark = lines.before_number(run)
        numbers.append(found[1])
        good.append(identity)
        text.append(line)
        times.append(time_ms if isinstance(time_ms, int) else 0)
    if not times:  # only counters: they are as old as the segment
        times = [time.time_ns() // 1_000_000]
    about = {"run": run or "", "first": numbers[0] if numbers else 0, "last": numbers[-1] if numbers else -1,
             "from_ms": max(0, times[0]), "to_ms": max(0, times[-1]),
             "origin": _origin(database, run) if run else {}}
    return Batch(ids, good, text, size, damaged, about)


def _origin(database: SpoolDatabase, run: str) -> dict[str, str]:
    for last, origin, crc in database.rows("SELECT last, origin, crc FROM runs WHERE run = ?", run):
        if run_crc(run, last, origin) == crc:
            return json.loads(origin)
    return {}  # the row was removed or altered; each record has these fields too
