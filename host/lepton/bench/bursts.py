"""What the memory port did, as tracks of the timeline: reads of LOAD, fetches of commands, writes of STORE.

The board notes every burst with its cycles. Bursts of one direction are served one after another, so a burst's span
lasts from the end of the one before, or its own address, to its last beat (reads) or its response (writes).
"""

from collections.abc import Iterable
from dataclasses import dataclass

from ..arch import REGISTERS, Region
from ..arch.commands import Dma, Engine, Tensor
from ..runtime import FINISH, Report, Session

LOAD, FETCH, STORE = "LOAD: reads", "commands: reads", "STORE: writes"
TRACKS = (LOAD, FETCH, STORE)
_READ, _WRITE, _REGISTER = range(3)  # lepton_sim/harness/recorder.h


@dataclass(frozen=True)
class Span:
    """One burst: cycles from the first doorbell, chip time only; `name` says what was moved."""

    track: str
    name: str
    first: int
    cycles: int
    address: int
    bytes: int


def spans(session: Session, report: Report, events: Iterable) -> list[Span]:
    """The spans of one run. `events` are a board's, recorded from before its first doorbell."""
    found: list[Span] = []
    jobs = _jobs(session, report)
    job, doorbell, ends = None, 0, {}
    for event in events:
        first, last, address, beats, kind = (int(event[n]) for n in ("first", "last", "address", "beats", "kind"))
        if kind == _REGISTER:
            if address == REGISTERS["DOORBELL"].offset:
                job, doorbell, ends = next(jobs), last, {}
            continue
        if job is None:
            continue
        begin, streams, buffers = job
        name = next((name for name, start, end in buffers if start <= address < end), "unknown")
        stream = next((name for name, start, end in streams if start <= address < end), None)
        track = STORE if kind == _WRITE else FETCH if stream else LOAD
        start = max(first, ends.get(kind, 0))
        ends[kind] = last + 1
        found.append(Span(track, stream or name, begin + start - doorbell, last + 1 - start, address,
                          beats * report.config.bus_bytes))
    return found


def _jobs(session: Session, report: Report):
    """Per job: its first cycle, and the address ranges of its command streams and buffers."""
    begins, at = [], 0
    begins.append(0)
    for row in report.rows:
        at += row.cycles
        if row.name == FINISH and not row.op:
            begins.append(at)
    sizes = {Engine.LOAD: Dma.size, Engine.TENSOR: Tensor.size, Engine.STORE: Dma.size}
    for begin, (step, buffers) in zip(begins, session.placed(), strict=False):
        base = buffers[Region.PROGRAM].address
        streams = [(f"{engine.name} commands", base + s.offset, base + s.offset + s.count * sizes[engine])
                   for engine, s in step.streams.items()]
        ranges = [("weights and parameters" if region is Region.PROGRAM else region.name.lower(),
                   buffer.address, buffer.address + buffer.size) for region, buffer in buffers.items()]
        yield begin, streams, ranges
