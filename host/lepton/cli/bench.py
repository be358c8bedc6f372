"""`lepton bench`: measures networks and layers on the RTL, and compares with goals and other accelerators."""

import json
import time
from argparse import Namespace
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from rich.console import Console, Group
from rich.table import Table
from rich.text import Text

from ..bench import Measurement, run_rows, select
from ..bench.cloud import CLOUD_ROWS, SERVICE, SERVICE_NAMES, CloudMeasurement, measure_rows
from ..bench.controller import ControllerMeasurement, measure_controller
from ..bench.roofline import chart
from ..runtime import CAUSES
from .console import columns, facts, grouped, make_console, percent, scaled, shortened
from .files import write_text_atomically
from .status import EXIT_DIFFERENT
from .tables import chip_facts

CONTROLLER = "controller"  # the row with the costs of the controller
WORST = 3  # layers shown of each network
_CAPTION = ("bound: MACs / (MACs a cycle), the lower bound of the cycles. util %: bound / cycles. exact: all bytes "
            "that the programs wrote equal the golden model's. others: cycles, or utilization in %.")
_WORST_CAPTION = ("lost: cycles beyond the layer's bound. main causes: as in `lepton profile`; EMPTY: the array "
                  "computed, but some lanes, columns or weights were padding.")

_Show = Callable[[int, str, str, float], None]  # index of a row, its name, what it is doing, seconds since its start


class RowError(ValueError):
    """The name of a row is unknown."""


def run(arguments: Namespace) -> int:
    console = make_console()
    cloud = [name for name in CLOUD_ROWS if name in arguments.names or not arguments.names]
    cloud += [name for name in SERVICE_NAMES if name in arguments.names or SERVICE in arguments.names]
    names = [name for name in arguments.names
             if name not in (*CLOUD_ROWS, *SERVICE_NAMES, SERVICE, CONTROLLER)]
    with_controller = CONTROLLER in arguments.names or not (arguments.names or arguments.quick)
    try:
        entries = select(names, arguments.quick) if names or not arguments.names else []
    except ValueError as error:
        raise RowError(str(error)) from error
    for entry in entries:
        if entry.missing:
            console.print(f"{entry.name}: skipped, {entry.missing}", style="yellow", soft_wrap=True)
    entries = [entry for entry in entries if not entry.missing]
    folder = Path(arguments.output)
    folder.mkdir(parents=True, exist_ok=True)
    started = time.monotonic()
    done: list[Measurement] = []
    ways: list[CloudMeasurement] = []
    if entries:
        console.print(chip_facts(arguments.config, "rtl"))
    with _progress(console, len(entries), started) as show:
        for measurement in run_rows(entries, arguments.config, arguments.memory,
                                    lambda entry, text, seconds: show(len(done), entry.name, text, seconds)):
            done.append(measurement)
            console.print(_line(measurement))
            _write(folder, done, ways)
    for way in measure_rows(cloud, folder):
        ways.append(way)
        console.print(_cloud_line(way))
        _write(folder, done, ways)
    cost = measure_controller(arguments.config, arguments.memory) if with_controller else None
    if cost is not None:
        _write(folder, done, ways, cost)
        console.print(facts(controller_facts(cost)))
    console.print()
    if done:
        console.print(result_table(done))
    if any(len(m.layers) > 2 for m in done):
        console.print()
        console.print(worst_table(done))
    console.print()
    console.print(facts(_summary(done, ways, folder, time.monotonic() - started)))
    good = all(m.exact and not m.error for m in done) and not any(w.error for w in ways)
    return 0 if good and (cost is None or cost.exact) else EXIT_DIFFERENT


@contextmanager
def _progress(console: Console, count: int, started: float) -> Iterator[_Show]:
    """Yields a function that shows the progress of a row: one changing line on a terminal, otherwise a line per row."""
    def text(index: int, name: str, what: str, seconds: float) -> str:
        return f"{index + 1}/{count} {name}: {what}, {seconds:.0f} s of {time.monotonic() - started:.0f} s"

    if console.is_terminal:
        with console.status("starting") as status:
            yield lambda *state: status.update(text(*state))
    else:
        shown: set[str] = set()

        def show(index: int, name: str, what: str, seconds: float) -> None:
            if name not in shown:
                shown.add(name)
                console.print(text(index, name, what, seconds))
                console.file.flush()

        yield show


def _line(m: Measurement) -> Text:
    if m.cycles is None:
        return Text(f"{m.name}: {m.error}", style="bold red")
    found = "exact" if m.exact else "NOT EXACT"
    goal = "" if m.reached is None else f", goal {'reached' if m.reached else 'missed'}"
    line = f"{m.name}: {grouped(m.cycles)} cycles, {percent(m.utilization)} %, {found}{goal}, {m.seconds:.1f} s"
    return Text(line + (f"; {m.error}" if m.error else ""), style="bold red" if m.error else "")


def result_table(measurements: list[Measurement]) -> Group:
    """One row per measurement, with its bound, its goal and others' figures; then the errors in full."""
    table = columns("", "bound", "cycles", "goal", "util %", "exact", "others")
    table.columns[-1].justify = "left"
    for m in measurements:
        goal = "" if m.goal_cycles is None else grouped(m.goal_cycles)
        bound = "" if m.bound_cycles is None else grouped(m.bound_cycles)
        if m.cycles is None:
            table.add_row(m.name, bound, "failed", goal, "", "no", m.others, style="red")
            continue
        style = {True: "green", False: "yellow", None: ""}[m.reached]
        table.add_row(m.name, bound, Text(grouped(m.cycles), style=style), goal, percent(m.utilization),
                      "yes" if m.exact else Text("NO", style="bold red"), m.others)
    errors = [Text(f"{m.name}: {m.error}", style="red") for m in measurements if m.error]
    return Group(table, Text(_CAPTION, style="dim"), *errors)


def losses(layer: dict[str, Any], macs_per_cycle: int) -> dict[str, int]:
    """Cycles of a layer beyond its bound by cause, the largest first; EMPTY: the array computed with padding."""
    causes = {cause: layer["causes"][cause] for cause in CAUSES if cause != "COMPUTE"}
    causes["EMPTY"] = layer["causes"]["COMPUTE"] - -(-layer["macs"] // macs_per_cycle)
    return dict(sorted(causes.items(), key=lambda item: -item[1]))


def worst_table(measurements: list[Measurement]) -> Group:
    """The layers of each network that lose most cycles, and the main causes."""
    table: Table = columns("network", "layer", "main causes", "cycles", "lost", "% of all", left=3)
    for m in measurements:
        if not m.cycles or len(m.layers) <= 2:  # a row for a single layer has two: the layer and `finish`
            continue
        lost = [(sum(causes.values()), causes, layer)
                for layer in m.layers for causes in (losses(layer, m.macs_per_cycle),)]
        for total, causes, layer in sorted(lost, key=lambda item: -item[0])[:WORST]:
            most = ", ".join(f"{cause} {scaled(n)}" for cause, n in list(causes.items())[:2] if n > 0)
            table.add_row(m.name, shortened(layer["name"], 18), most, grouped(layer["cycles"]), grouped(total),
                          percent(total / m.cycles))
    return Group(table, Text(_WORST_CAPTION, style="dim"))


def _cloud_line(m: CloudMeasurement) -> Text:
    if m.value is None or m.disk_syncs is None:
        return Text(f"{m.name}: {m.error}", style="bold red")
    goal = f"goal {'at least' if m.least else 'at most'} {m.goal:g}, {'reached' if m.reached else 'missed'}"
    value = f"{m.value:.1f}" if m.value < 1000 else grouped(round(m.value))
    return Text(f"{m.name}: {value} {m.unit}, {goal}; the disk did {grouped(round(m.disk_syncs))} syncs a second"
                f"{'; ' + m.bound if m.bound else ''}", style="" if m.reached else "yellow")


def controller_facts(cost: ControllerMeasurement) -> list[tuple[str, str]]:
    """The costs of the controller, and which goals are missed."""
    missed = {name: "" if ok else ", goal missed" for name, ok in cost.reached.items()}
    return [
        ("controller", f"{cost.network} takes {grouped(round(cost.cycles))} cycles, without controller "
                       f"{grouped(cost.direct_cycles)}: {100 * cost.loss:.2f} % more{missed['loss']}"),
        ("submission", f"{grouped(cost.submission_cycles)} cycles from the doorbell to the first command"
                       f"{missed['submission_cycles']}"),
        ("boot", f"{grouped(cost.boot_cycles)} cycles{missed['boot_cycles']}"),
        ("simulation", f"{scaled(cost.simulated_hz)} cycles a second, without controller "
                       f"{scaled(cost.direct_simulated_hz)}{missed['simulation_loss']}"),
        ("results", "exact" if cost.exact else "NOT EXACT")]


def _write(folder: Path, done: list[Measurement], ways: list[CloudMeasurement],
           cost: ControllerMeasurement | None = None) -> None:
    """Write the files. Called after every row, so that an interruption loses nothing."""
    rows = [*(m.record() for m in done), *(w.record() for w in ways), *([cost.record()] if cost else [])]
    for name, text in (("bench.json", json.dumps(rows, indent=1)),
                       ("bench_layers.json", json.dumps([m.details() for m in done], indent=1)),
                       ("bench.svg", chart(done))):
        write_text_atomically(folder / name, text + "\n")


def _summary(done: list[Measurement], ways: list[CloudMeasurement], folder: Path,
             seconds: float) -> list[tuple[str, str]]:
    reached = [bool(m.reached) for m in done if m.goal_cycles is not None] + [w.reached for w in ways]
    lines = [("exact", f"{sum(m.exact for m in done)} of {len(done)}")] if done else []
    if reached:
        lines.append(("goals reached", f"{sum(reached)} of {len(reached)}"))
    speeds = [m.simulated_hz for m in done if m.simulated_hz]
    if speeds:
        lines.append(("simulation", f"{scaled(min(speeds))} to {scaled(max(speeds))} cycles a second"))
    return [*lines, ("written", f"{folder / 'bench.json'}, {folder / 'bench_layers.json'} (layer by layer), "
                                f"{folder / 'bench.svg'} (roofline)"), ("took", f"{seconds:.0f} s")]
