"""The chip, the network and where its cycles went, as tables."""

from rich.table import Table

from ..arch import ChipConfig
from ..runtime import CAUSES, Report
from .console import columns, facts, grouped, percent, scaled

_CAUSE_TITLES = {"COMPUTE": "comp.", "WAIT_READ": "read", "WAIT_WEIGHTS": "weight", "WAIT_WRITE": "write",
                 "WAIT_SYNC": "sync", "IDLE": "idle"}


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


def layer_table(report: Report) -> Table:
    """One row per layer: shape, MACs, cycles, utilization, and the cycles by cause in percent."""
    table = columns("layer", "operator", "output", "MACs", "cycles", "util %",
                    *(f"{_CAUSE_TITLES[c]} %" for c in CAUSES), left=3)
    table.columns[0].max_width = 16
    table.columns[1].max_width = 12
    for row in report.rows:
        table.add_row(row.name, row.op, "x".join(map(str, row.output_shape[1:] or row.output_shape)),
                      scaled(row.macs) if row.macs else "", grouped(row.cycles),
                      percent(row.utilization) if row.macs else "",
                      *(percent(row.causes[c] / row.cycles if row.cycles else None) for c in CAUSES))
    table.add_section()
    table.add_row("total", "", "", scaled(report.macs), grouped(report.cycles), percent(report.utilization),
                  *(percent(value / report.cycles if report.timed else None) for value in report.causes.values()),
                  style="bold")
    return table


def speed_facts(report: Report) -> list[tuple[str, str]]:
    if not report.timed:
        return [("latency", "not counted: this device has no cycles")]
    return [("latency", f"{report.latency_ms:.3f} ms an image, {report.images_per_second:,.0f} images a second "
                        f"at {report.config.clock_mhz} MHz ({grouped(report.cycles)} cycles)".replace(",", " "))]
