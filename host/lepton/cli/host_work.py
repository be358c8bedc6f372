"""What the host's CPU did, or will do, beside the chip: MACs, bytes and time."""

from collections.abc import Sequence
from dataclasses import replace

from rich.table import Table

from ..runtime import Report
from ..runtime.costs import LAYOUT, HostCost
from .console import columns, scaled, shortened


def typical(reports: Sequence[Report]) -> list[HostCost]:
    """The host's work of one inference, with the least of each step's times: what else the machine did is no cost."""
    return [replace(costs[0], seconds=min(cost.seconds for cost in costs))
            for costs in zip(*(report.host for report in reports), strict=True)]


def milliseconds(seconds: float) -> str:
    return f"{1000 * seconds:.3g} ms"


def operators(costs: Sequence[HostCost]) -> list[HostCost]:
    """Without the changes of layout."""
    return [cost for cost in costs if cost.op != LAYOUT]


def host_work_table(costs: Sequence[HostCost]) -> Table:
    """One row per operator on the host, and one for all changes of layout; shares are of the host's time."""
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
        add("to the chip and back", LAYOUT, 0, sum(c.bytes for c in moved), sum(c.seconds for c in moved))
    return table


def host_facts(costs: Sequence[HostCost], chip_ms: float | None = None) -> list[tuple[str, str]]:
    """The host's time in a line, and its share beside the chip's where that is known."""
    if not costs:
        return []
    seconds, count = sum(cost.seconds for cost in costs), len(operators(costs))
    what = f"{count} operator{'s' * (count > 1)} and changes of layout" if count else "to the chip's layout and back"
    text = f"{milliseconds(seconds)} an image on this machine's CPU, {what}"
    if chip_ms and count:
        text += f"; {100000 * seconds / (1000 * seconds + chip_ms):.0f} % of what host and chip take together"
    return [("host", text)]
