"""What of a compiled network runs where, and at what cost."""

from rich.table import Table

from .console import columns, grouped, scaled, shortened
from .cpu_alone import CpuTime
from .host_work import milliseconds

_SHORT = {"source": "in", "output": "out", "residual": "res"}


def placement_facts(model, costs) -> list[tuple[str, str]]:
    """Chip and host in a line each: operators, MACs, bytes; cycles as predicted, the host's time from its `costs`."""
    rows = {where: [r for r in model.placement if r.where == where] for where in ("chip", "host")}
    total = sum(r.macs for r in model.placement)
    lines = []
    for where, placed in rows.items():
        macs = sum(r.macs for r in placed)
        share = f" ({100 * macs / total:.1f} %)" if total else ""
        text = (f"{len(placed)} operator{'s' * (len(placed) != 1)}, {scaled(macs)} MACs{share}, "
                f"{scaled(sum(r.bytes for r in placed))} bytes")
        if where == "chip":
            jobs = sum(hasattr(step, "program") for step in model.steps)
            cycles = model.cycles
            latency = cycles / (model.config.clock_mhz * 1000)
            text += f"; {jobs} job{'s' * (jobs != 1)}, about {grouped(round(cycles))} cycles ({latency:.3g} ms)"
        else:
            text += f"; {milliseconds(sum(cost.seconds for cost in costs))} on this machine, layouts included"
        lines.append((f"on the {where}", text))
    return lines


def cpu_facts(model, costs, cpu: CpuTime | None) -> list[tuple[str, str]]:
    """What the framework takes without the chip, and whether that is less than chip and host together."""
    if cpu is None:
        return []
    together = model.cycles / (model.config.clock_mhz * 1e6) + sum(cost.seconds for cost in costs)
    text = f"{milliseconds(cpu.seconds)} by {cpu.framework} on one thread of this machine; "
    text += f"chip and host together take {milliseconds(together)}"
    if cpu.seconds < together:
        text += ": THE CPU ALONE IS FASTER for this network on this chip"
    return [("on the CPU alone", text)]


def host_table(model, costs) -> Table:
    """The operators on the host, their cost as `lepton.runtime.costs` measured it, and why they are there."""
    table = columns("on the host", "operator", "MACs", "bytes", "ms", left=2)
    table.add_column("why", justify="left", overflow="fold")
    seconds = {cost.step: cost.seconds for cost in costs}
    for row in model.placement:
        if row.where == "host":
            table.add_row(shortened(row.name, 20), row.op, scaled(row.macs) if row.macs else "", scaled(row.bytes),
                          f"{1000 * seconds[row.step]:.3f}", " " + row.reason)
    table.caption = "ms: measured now, on this machine, with made-up values; the least of several."
    table.caption_justify = "left"
    return table


def explain_table(model) -> Table:
    """Each layer's tile, what stays on the chip, predicted cycles and what bounds them."""
    table = columns("layer", "operator", "tile", "tiles", "cycles", "compute", "read", "weights", "tried", left=3)
    table.add_column(" bound by", justify="left")
    table.add_column(" in memory", justify="left")
    for layer in model.layers:
        plan = layer.plan
        table.add_row(
            shortened(layer.name, 14), shortened(layer.op, 15), "x".join(map(str, plan.tile)), str(plan.tiles),
            grouped(round(plan.cycles)), grouped(round(plan.compute_cycles)), grouped(round(plan.read_cycles)),
            grouped(round(plan.weight_cycles)), str(plan.tried), " " + plan.bound,
            " " + ",".join(_SHORT[name] for name in plan.streams))
    table.caption = ("tile: output rows x columns x channel blocks at a time. Cycles: predicted, then what the array "
                     "needs, the bus for activations, the bus for weights. tried: tilings that fitted, of which the "
                     "cheapest was taken. in memory: what does not stay on the chip (input, output, residual).")
    table.caption_justify = "left"
    return table
