"""Tables of the host's part of an inference: MACs, bytes and time."""

from collections.abc import Sequence
from dataclasses import replace

from rich.table import Table

from ..runtime import Report
from ..runtime.costs import LAYOUT, HostCost
from .console import columns, scaled, shortened


def typical(reports: Sequence[Report], alone: Sequence[HostCost]) -> list[HostCost]:
    """The host's work of one inference; each step's time is the least of all inferences, without other load.

    `alone`: as `costs.measured` finds it. A simulated board leaves little in the caches for the steps between its
    runs, and a real one is not on this processor.
    """
    return [replace(costs[0], seconds=min(cost.seconds for cost in costs))
            for costs in zip(alone, *(report.host for report in reports), strict=True)]


def operators(costs: Sequence[HostCost]) -> list[HostCost]:
    """The costs of operators, without those of layout changes."""
    return [cost for cost in costs if cost.op != LAYOUT]


def host_work_table(costs: Sequence[HostCost]) -> Table:
    """One row per operator on the host and one for all layout changes, with shares of the host's time."""
    total = sum(cost.seconds for cost in costs)
    table = columns("on the host", "operator", "MACs", "bytes", "ms", "%", left=2)

    def add(name: str, op: str, macs: int, size: int, seconds: float) -> None:
        share = f"{100 * seconds / total:.0f}" if total else "-"
        table.add_row(shortened(name, 24), op, scaled(macs) if macs else "", scaled(size), f"{1000 * seconds:.3f}",
                      share)

    for cost in operators(costs):
        add(cost.name, cost.op, cost.macs, cost.bytes, cost.seconds)
    moved = [cost for cost in costs if cost.op == LAYOUT]
    if moved:
        add("chip layout and back", LAYOUT, 0, sum(c.bytes for c in moved), sum(c.seconds for c in moved))
    return table
