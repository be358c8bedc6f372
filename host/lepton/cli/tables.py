"""Tables of the chip, the network, and the cycles of its layers."""

from rich.console import Group
from rich.table import Table
from rich.text import Text

from ..arch import ChipConfig
from ..program import CompiledModel
from ..runtime import Report
from ..runtime.report import LEFT
from .console import columns, facts, grouped

_CAPTION = """util %: MACs / (MACs a cycle x cycles). The columns after it are percent of the cycles in which the array
computed (comp), waited for input (read), for weights (wgts), for room to write its results (write) or for
its own earlier results (sync), or was idle."""


def chip_facts(config: ChipConfig, device: str) -> Table:
    """The chip's size, memories and bus."""
    return facts([
        ("chip", f"{config.name}: {config.lanes}x{config.columns} int8 multipliers, "
                 f"{config.macs_per_cycle} MACs a cycle, {config.clock}, on device {device!r}"),
        ("memories", f"scratchpad {config.scratchpad_kib} KiB in {config.scratchpad_banks} banks, weights "
                     f"{config.weight_kib} KiB, {grouped(config.accumulator_rows)} accumulator rows"),
        ("bus", f"AXI4, {config.bus_bytes} bytes a cycle, {config.outstanding} bursts outstanding each way"),
    ])


def network_facts(model: CompiledModel) -> Table:
    """Layers, inputs, outputs and size of a compiled network."""
    return facts(model.facts())


def layer_table(report: Report) -> Group:
    """`Report.cells` for a terminal, with what the columns mean."""
    titles, rows = report.cells()
    table = columns(*titles, left=LEFT)
    for row in rows[:-1]:
        table.add_row(*row)
    table.add_section()
    table.add_row(*rows[-1], style="bold")
    return Group(table, Text(_CAPTION, style="dim")) if report.timed else Group(table)
