"""Bursts on the memory port as tracks of the timeline: reads of LOAD, fetches of commands, writes of STORE.

The board records every burst with its cycles. Bursts of one direction are served one after another, so a burst's span
begins at its address, or at the end of the burst before, and ends with its last beat (reads) or response (writes).
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import numpy as np

from ..arch import REGISTERS, Region
from ..arch.commands import ENGINE_RECORDS
from ..runtime import FINISH, Report, Session
from .board import REGISTER, WRITE

LOAD = "LOAD: reads"
FETCH = "commands: reads"
STORE = "STORE: writes"
TRACKS = (LOAD, FETCH, STORE)


@dataclass(frozen=True)
class Span:
    """One burst; `first` is in cycles of the chip since the first doorbell, `name` says what was moved."""

    track: str
    name: str
    first: int
    cycles: int
    address: int
    bytes: int


def spans(session: Session, report: Report, events: Iterable[np.void]) -> list[Span]:
    """The spans of one run. `events` are a board's, recorded since before its first doorbell."""
    found: list[Span] = []
    jobs = _jobs(session, report)
    job: _JobRanges | None = None
    doorbell = 0
    ends: dict[int, int] = {}  # by kind: the cycle after the end of the last burst
    for event in events:
        first, last, address, beats, kind = (int(event[n]) for n in ("first", "last", "address", "beats", "kind"))
        if kind == REGISTER:
            if address == REGISTERS["DOORBELL"].offset:
                job = next(jobs)
                doorbell = last
                ends = {}
            continue
        if job is None:
            continue
        name = _name_at(job.buffers, address) or "unknown"
        stream = _name_at(job.streams, address)
        track = STORE if kind == WRITE else FETCH if stream else LOAD
        start = max(first, ends.get(kind, 0))
        ends[kind] = last + 1
        found.append(Span(track, stream or name, job.begin + start - doorbell, last + 1 - start, address,
                          beats * report.config.bus_bytes))
    return found


@dataclass(frozen=True)
class _JobRanges:
    """A job's first cycle, and (name, first address, end) of its command streams and buffers."""

    begin: int
    streams: list[tuple[str, int, int]]
    buffers: list[tuple[str, int, int]]


def _name_at(ranges: list[tuple[str, int, int]], address: int) -> str | None:
    return next((name for name, start, end in ranges if start <= address < end), None)


def _jobs(session: Session, report: Report) -> Iterator[_JobRanges]:
    begins = [0]
    at = 0
    for row in report.rows:
        at += row.cycles
        if row.name == FINISH and not row.op:
            begins.append(at)
    for begin, (step, buffers) in zip(begins, session.placed(), strict=False):
        base = buffers[Region.PROGRAM].address
        streams = [(f"{engine.name} commands", base + s.offset, base + s.offset + s.count * ENGINE_RECORDS[engine].size)
                   for engine, s in step.streams.items()]
        ranges = [("weights and parameters" if region is Region.PROGRAM else region.name.lower(),
                   buffer.address, buffer.address + buffer.size) for region, buffer in buffers.items()]
        yield _JobRanges(begin, streams, ranges)
