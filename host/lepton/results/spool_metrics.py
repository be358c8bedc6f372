"""The state of a device's spools in Prometheus' text format, without its library, which a device need not install.

`lepton cloud status --metrics` prints it. Written to a file regularly, it is read by the textfile collector of
Prometheus' node_exporter.
"""

from collections.abc import Iterable
from dataclasses import dataclass

from .spool_status import SpoolStatus


@dataclass(frozen=True)
class SpoolReading:
    """A spool's status, and the age in seconds of its oldest record that is not stored; 0 if none waits."""

    status: SpoolStatus
    oldest_seconds: float


# name, type, help, and how the value follows
_METRICS = (
    ("lepton_spool_oldest_waiting_seconds", "gauge", "Age of the oldest record that is not stored yet",
     lambda state: state.oldest_seconds),
    ("lepton_spool_waiting_records", "gauge", "Records that are not stored yet",
     lambda state: state.status.waiting + state.status.sealed),
    ("lepton_spool_refused_records", "gauge", "Records in segments that the target has refused",
     lambda state: state.status.refused),
    ("lepton_spool_bytes", "gauge", "Size of the spool's files", lambda state: state.status.file_bytes),
    ("lepton_spool_max_bytes", "gauge", "Limit of the size of the spool's files", lambda state: state.status.max_bytes),
    ("lepton_spool_upload_failing", "gauge", "1 if the last attempt to upload has failed",
     lambda state: 1 if state.status.upload.get("error") else 0),
)


def text(states: Iterable[SpoolReading]) -> str:
    """All metrics of all spools."""
    found = list(states)
    lines = []
    for name, kind, description, value in _METRICS:
        lines += [f"# HELP {name} {description}", f"# TYPE {name} {kind}"]
        lines += [f"{name}{{{_labels(state.status)}}} {value(state)}" for state in found]
    lines += ["# HELP lepton_spool_records_total Records by what happened to them",
              "# TYPE lepton_spool_records_total counter"]
    lines += [f'lepton_spool_records_total{{{_labels(state.status)},outcome="{outcome}"}} {count}'
              for state in found for outcome, count in state.status.counters.items() if outcome != "segments"]
    lines += ["# HELP lepton_spool_segments_total Segments that were stored",
              "# TYPE lepton_spool_segments_total counter"]
    lines += [f"lepton_spool_segments_total{{{_labels(state.status)}}} {state.status.counters['segments']}"
              for state in found]
    return "\n".join(lines) + "\n"


def _labels(status: SpoolStatus) -> str:
    return f'device="{_escaped(status.device)}",spool="{_escaped(status.path)}"'


def _escaped(value: str) -> str:
    return value.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
