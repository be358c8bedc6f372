"""One inference as a timeline in the Chrome trace format, which Perfetto (ui.perfetto.dev) opens.

The chip copies its counters when a layer's last command has finished. A layer's span therefore lasts from the end of
the layer before to its own end; the counters do not resolve what happens within it. Shares of causes and the read rate
are averages over the span.
"""

from collections.abc import Iterable, Mapping
from typing import Any

from ..runtime import CAUSES, FINISH, Report
from .bursts import TRACKS, Span

PROCESS = 1  # the trace's process, and the thread (track) of the layers in it
TENSOR = 1


def chrome_trace(report: Report, name: str, bursts: Iterable[Span] = ()) -> dict[str, Any]:
    """The JSON object of a trace: layers on the track TENSOR, `bursts` on further tracks, causes and read rate as
    counters.

    Times are microseconds at `report.config.clock_mhz` since the first doorbell. Jobs follow one another directly: the
    chip does not count the host's time between them.
    """
    clock = report.config.clock_mhz
    events = [_name("process_name", f"Lepton {report.config.name}: {name}"), _name("thread_name", "TENSOR")]
    at = 0
    for row in report.rows:
        if not row.cycles:
            continue
        span = {"cat": row.op or FINISH, "ph": "X", "pid": PROCESS, "tid": TENSOR, "name": row.name,
                "ts": at / clock, "dur": row.cycles / clock}
        figures: dict[str, Any] = {"first cycle": at, "cycles": row.cycles, **row.causes,
                                   "read bytes": row.read_beats * report.config.bus_bytes}
        if row.macs and row.utilization is not None:
            figures |= {"macs": row.macs, "utilization %": round(100 * row.utilization, 1)}
        if row.output_shape:
            figures |= {"input": "x".join(map(str, row.input_shape)), "output": "x".join(map(str, row.output_shape))}
        events.append(span | {"args": figures})
        events.append(_counter("cycles by cause, %", at / clock,
                               {cause: round(100 * row.causes[cause] / row.cycles, 2) for cause in CAUSES}))
        events.append(_counter("read, bytes a cycle", at / clock,
                               {"average": round(row.read_beats * report.config.bus_bytes / row.cycles, 3)}))
        at += row.cycles
    events.append(_counter("cycles by cause, %", at / clock, dict.fromkeys(CAUSES, 0)))
    events.append(_counter("read, bytes a cycle", at / clock, {"average": 0}))
    for number, track in enumerate(TRACKS, TENSOR + 1):
        inside = [span for span in bursts if span.track == track]
        if inside:
            events.append(_name("thread_name", track, number))
        events += [{"cat": "burst", "ph": "X", "pid": PROCESS, "tid": number, "name": span.name,
                    "ts": span.first / clock, "dur": span.cycles / clock,
                    "args": {"first cycle": span.first, "cycles": span.cycles, "address": hex(span.address),
                             "bytes": span.bytes}} for span in inside]
    return {"traceEvents": events, "displayTimeUnit": "ns",
            "otherData": {"network": name, "config": report.config.name, "clock_mhz": clock,
                          "clock": report.config.clock, "cycles": report.cycles,
                          "read_bytes": report.counters["READ_BEATS"] * report.config.bus_bytes,
                          "write_bytes": report.counters["WRITE_BEATS"] * report.config.bus_bytes}}


def _name(what: str, value: str, track: int = TENSOR) -> dict[str, Any]:
    return {"ph": "M", "pid": PROCESS, "tid": track, "name": what, "args": {"name": value}}


def _counter(name: str, ts: float, values: Mapping[str, float]) -> dict[str, Any]:
    return {"ph": "C", "pid": PROCESS, "name": name, "ts": ts, "args": values}
