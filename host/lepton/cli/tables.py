"""The chip, the network and where its cycles went, as tables."""

from rich.console import Group
from rich.table import Table
from rich.text import Text

from ..arch import ChipConfig
from ..runtime import CAUSES, Report
from .console import columns, facts, grouped, percent, scaled, shortened
from .host_work import operators

_CAUSE_TITLES = {"COMPUTE": "comp", "WAIT_READ": "read", "WAIT_WEIGHTS": "wgts", "WAIT_WRITE": "write",
                 "WAIT_SYNC": "sync", "IDLE": "idle"}
_CAPTION = """util %: MACs / (MACs a cycle x cycles). After it, in percent of the cycles: the array computed;
it waited for input to be read, for weights, for room to write, for its own results; it was idle."""
assert tuple(_CAUSE_TITLES) == CAUSES  # the same causes in the same order


def chip_facts(config: ChipConfig, device: str) -> Table:
    return facts([
        ("chip", f"{config.name}: {config.lanes}x{config.columns} int8 multipliers, "
                 f"{config.macs_per_cycle} MACs a cycle, {config.clock_mhz} MHz, on device {device!r}"),
        ("memories", f"scratchpad {config.scratchpad_kib} KiB in {config.scratchpad_banks} banks, weights "
                     f"{config.weight_kib} KiB, {grouped(config.accumulator_rows)} accumulator rows"),
        ("bus", f"AXI4, {config.bus_bytes} bytes a cycle, {config.outstanding} bursts in flight each way"),
    ])


def network_facts(model) -> Table:
    """A `CompiledModel` in a few lines."""
    def tensors(infos):
        return ", ".join(f"{t.name} {'x'.join(map(str, t.shape))} {t.dtype}" for t in infos)

    host = sum(not hasattr(step, "program") for step in model.steps)
    program = sum(len(step.program) for step in model.steps if hasattr(step, "program"))
    return facts([
        ("network", f"{model.name}: {len(model.layers)} layers, {scaled(model.macs)} MACs, "
                    f"{grouped(sum(la.weight_bytes for la in model.layers))} bytes of weights"),
        ("input", tensors(model.inputs)),
        ("output", tensors(model.outputs)),
        ("program", f"{grouped(program)} bytes" + (f"; {host} step{'s' * (host > 1)} on the host" if host else "")),
    ])


def layer_table(report: Report) -> Group:
    """One row per layer: shape, MACs, cycles, utilization, and the share of cycles by cause in percent.

    Without the cycles where the device counted none.
    """
    titles = ("cycles", "util %", *_CAUSE_TITLES.values()) if report.timed else ()
    table = columns("layer", "operator", "output", "MACs", *titles, left=3)

    def figures(cycles, utilization, causes):
        if not report.timed:
            return []
        return [grouped(cycles), utilization, *(f"{100 * causes[c] / cycles:.0f}" if cycles else "-" for c in CAUSES)]

    for row in report.rows:
        shape = "x".join(map(str, row.output_shape[1:] or row.output_shape))
        table.add_row(shortened(row.name, 18), shortened(row.op, 15), shape, scaled(row.macs) if row.macs else "",
                      *figures(row.cycles, percent(row.utilization) if row.macs else "", row.causes))
    table.add_section()
    table.add_row("total", "", "", scaled(report.macs),
                  *figures(report.cycles, percent(report.utilization), report.causes), style="bold")
    return Group(table, Text(_CAPTION, style="dim")) if report.timed else Group(table)


def speed_facts(report: Report) -> list[tuple[str, str]]:
    if not report.timed:
        return [("latency", "not counted: this device has no cycles")]
    alone = " on the chip alone" if operators(report.host) else ""
    return [("latency", f"{report.latency_ms:.3f} ms an image{alone}, {report.images_per_second:,.0f} images a second "
                        f"at {report.config.clock_mhz} MHz ({grouped(report.cycles)} cycles)".replace(",", " "))]
