"""Tables of a compiled network: which operators run on the chip and on the host, and their costs."""

from collections.abc import Sequence

from rich.table import Table

from ..program import ChipStep, CompiledModel
from ..runtime.costs import HostCost
from ..text import milliseconds
from .console import columns, grouped, scaled, shortened
from .cpu_alone import CpuTime

_SHORT = {"source": "in", "output": "out", "residual": "res"}


def placement_facts(model: CompiledModel, costs: Sequence[HostCost]) -> list[tuple[str, str]]:
    """One line each for chip and host: operators, MACs, bytes; predicted cycles, and the host's time from `costs`."""
    rows = {where: [r for r in model.placement if r.where == where] for where in ("chip", "host")}
    total = sum(r.macs for r in model.placement)
    lines = []
    for where, placed in rows.items():
        macs = sum(r.macs for r in placed)
        share = f" ({100 * macs / total:.1f} %)" if total else ""
        text = (f"{len(placed)} operator{'s' * (len(placed) != 1)}, {scaled(macs)} MACs{share}, "
                f"{scaled(sum(r.bytes for r in placed))} bytes")
        if where == "chip":
            jobs = sum(isinstance(step, ChipStep) for step in model.steps)
            cycles = model.cycles
            latency = cycles / (model.config.clock_mhz * 1000)
            text += (f"; {jobs} job{'s' * (jobs != 1)}, about {grouped(round(cycles))} cycles ({latency:.3g} ms at "
                     f"{model.config.clock})")
        else:
            text += f"; {milliseconds(sum(cost.seconds for cost in costs))} on this machine, with layout changes"
        lines.append((f"on the {where}", text))
    return lines


def cpu_facts(model: CompiledModel, costs: Sequence[HostCost], cpu: CpuTime | None) -> list[tuple[str, str]]:
    """The framework's time without the chip, and whether it is less than that of chip and host together."""
    if cpu is None:
        return []
    together = model.cycles / (model.config.clock_mhz * 1e6) + sum(cost.seconds for cost in costs)
    text = f"{milliseconds(cpu.seconds)} by {cpu.framework} on one thread of this machine; "
    text += f"chip, at {model.config.clock}, and host together take {milliseconds(together)}"
    if cpu.seconds < together:
        text += ": THE CPU ALONE IS FASTER for this network"
    return [("on the CPU alone", text)]


def host_table(model: CompiledModel, costs: Sequence[HostCost]) -> Table:
    """The operators on the host, their costs as measured by `lepton.runtime.costs`, and the reasons."""
    table = columns("on the host", "operator", "MACs", "bytes", "ms", left=2)
    table.add_column("why", justify="left", overflow="fold")
    seconds = {cost.step: cost.seconds for cost in costs}
    for row in model.placement:
        if row.where == "host":
            table.add_row(shortened(row.name, 20), row.op, scaled(row.macs) if row.macs else "", scaled(row.bytes),
                          f"{1000 * seconds[row.step]:.3f}", " " + row.reason)
    table.caption = "ms: measured now on this machine with arbitrary values, the least of several runs."
    table.caption_justify = "left"
    return table


def explain_table(model: CompiledModel) -> Table:
    """Each layer's tile, the tensors in memory, predicted cycles and what bounds them."""
    table = columns("layer", "operator", "tile", "tiles", "cycles", "compute", "read", "weights", "tried", left=3)
    table.add_column(" bound by", justify="left")
    table.add_column(" in memory", justify="left")
    for layer in model.layers:
        plan = layer.plan
        if plan is None:  # a layer without tiles
            continue
        table.add_row(
            shortened(layer.name, 14), shortened(layer.op, 15), "x".join(map(str, plan.tile)), str(plan.tiles),
            grouped(round(plan.cycles)), grouped(round(plan.compute_cycles)), grouped(round(plan.read_cycles)),
            grouped(round(plan.weight_cycles)), str(plan.tried), " " + plan.bound,
            " " + ",".join(_SHORT[name] for name in plan.streams))
    table.caption = ("tile: output rows x columns x channel blocks of one command. cycles: predicted; compute: of the "
                     "array; read, weights: of the bus, for activations and weights. tried: tilings that fit; the one "
                     "with the fewest cycles is used. in memory: tensors outside the chip (input, output, residual).")
    table.caption_justify = "left"
    return table
