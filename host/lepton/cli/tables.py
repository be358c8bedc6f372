"""Tables of the chip, the network, and the cycles of its layers."""

from collections.abc import Iterable, Mapping

from rich.console import Group
from rich.table import Table
from rich.text import Text

from ..arch import ChipConfig
from ..program import ChipStep, CompiledModel, TensorInfo
from ..runtime import CAUSES, Report
from .console import columns, facts, grouped, percent, scaled, shortened
from .host_work import operators

_CAUSE_TITLES = {"COMPUTE": "comp", "WAIT_READ": "read", "WAIT_WEIGHTS": "wgts", "WAIT_WRITE": "write",
                 "WAIT_SYNC": "sync", "IDLE": "idle"}
_CAPTION = """util %: MACs / (MACs a cycle x cycles). The columns after it are percent of the cycles in which the array
computed (comp), waited for input (read), for weights (wgts), for room to write its results (write) or for
its own earlier results (sync), or was idle."""
assert tuple(_CAUSE_TITLES) == CAUSES  # the same causes in the same order


def clock(config: ChipConfig) -> str:
    """The clock of times, with its origin: the configuration states it, nothing has measured it."""
    return f"an assumed {config.clock_mhz} MHz"


def chip_facts(config: ChipConfig, device: str) -> Table:
    """The chip's size, memories and bus."""
    return facts([
        ("chip", f"{config.name}: {config.lanes}x{config.columns} int8 multipliers, "
                 f"{config.macs_per_cycle} MACs a cycle, {clock(config)}, on device {device!r}"),
        ("memories", f"scratchpad {config.scratchpad_kib} KiB in {config.scratchpad_banks} banks, weights "
                     f"{config.weight_kib} KiB, {grouped(config.accumulator_rows)} accumulator rows"),
        ("bus", f"AXI4, {config.bus_bytes} bytes a cycle, {config.outstanding} bursts outstanding each way"),
    ])


def network_facts(model: CompiledModel) -> Table:
    """Layers, inputs, outputs and size of a compiled network."""
    def tensors(infos: Iterable[TensorInfo]) -> str:
        return ", ".join(f"{t.name} {'x'.join(map(str, t.shape))} {t.dtype}" for t in infos)

    programs = [len(step.program) for step in model.steps if isinstance(step, ChipStep)]
    host = len(model.steps) - len(programs)
    program = sum(programs)
    return facts([
        ("network", f"{model.name}: {len(model.layers)} layers, {scaled(model.macs)} MACs, "
                    f"{grouped(sum(la.weight_bytes for la in model.layers))} bytes of weights"),
        ("input", tensors(model.inputs)),
        ("output", tensors(model.outputs)),
        ("program", f"{grouped(program)} bytes" + (f"; {host} step{'s' * (host > 1)} on the host" if host else "")),
    ])


def layer_table(report: Report) -> Group:
    """One row per layer: shape, MACs, cycles, utilization, and the share of cycles by cause in percent.

    Without cycles if the device does not count them.
    """
    titles = ("cycles", "util %", *_CAUSE_TITLES.values()) if report.timed else ()
    table = columns("layer", "operator", "output", "MACs", *titles, left=3)

    def figures(cycles: int, utilization: str, causes: Mapping[str, int]) -> list[str]:
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
    """Latency and throughput of the chip."""
    if not report.timed:
        return [("latency", "unknown: this device does not count cycles")]
    alone = " on the chip alone" if operators(report.host) else ""
    return [("latency", f"{report.latency_ms:.3f} ms an image{alone}, {report.images_per_second:,.0f} images a second "
                        f"at {clock(report.config)} ({grouped(report.cycles)} cycles)".replace(",", " "))]
