"""The data of a report page, as values that JSON can hold."""

import dataclasses
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any, TypedDict

from .. import __version__
from ..program import CompiledModel, LayerInfo
from ..runtime import Report
from ..runtime.costs import LAYOUT, HostCost

FORMAT = 1  # of the data; readers refuse others
MEASURED = "measured"
PREDICTED = "predicted"
_PLANNED = (("COMPUTE", "compute_cycles"), ("WAIT_READ", "read_cycles"), ("WAIT_WEIGHTS", "weight_cycles"))


class ReportDataError(ValueError):
    """A file that holds no data of a report; the text says why."""


class ReportLayer(TypedDict):
    """One layer. `causes` add up to `cycles`, by the names of the chip's counters."""

    name: str
    op: str
    output: list[int]
    macs: int
    weight_bytes: int
    read_bytes: int  # from memory: measured, or weights and input where nothing was measured
    cycles: float
    predicted: float
    utilization: float | None
    causes: dict[str, float]
    tile: str
    bound: str


class HostRow(TypedDict):
    """One step of the host's."""

    name: str
    op: str
    why: str
    milliseconds: float
    bytes: int


class MemoryBlock(TypedDict):
    """One buffer in device memory."""

    step: int
    name: str
    region: str
    offset: int
    size: int


class Data(TypedDict):
    """Everything that a page shows."""

    format: int
    version: str
    network: str
    device: str
    source: str  # of the cycles: MEASURED or PREDICTED
    config: dict[str, Any]
    macs_per_cycle: int
    cycles: float
    predicted: float
    macs: int
    weight_bytes: int
    chip_ms: float
    host_ms: float
    latency_ms: float
    engines: dict[str, float | None]  # share of the cycles in which each is busy; None where nothing was measured
    causes: dict[str, float]
    layers: list[ReportLayer]
    host: list[HostRow]
    memory: list[MemoryBlock]
    evaluation: dict[str, Any] | None  # of `lepton eval --json`


def collect(
    model: CompiledModel,
    device: str,
    report: Report,
    host: Sequence[HostCost],
    evaluation: dict[str, Any] | None = None,
) -> Data:
    """The data of one inference. Where the device counts no cycles, they are the compiler's predictions."""
    config = model.config
    counters = report.counters
    cycles = float(report.cycles) if report.timed else model.cycles
    layers = _measured(model, report) if report.timed else [_predicted(model, layer) for layer in model.layers]
    causes: dict[str, float] = {}
    for layer in layers:
        for cause, count in layer["causes"].items():
            causes[cause] = causes.get(cause, 0) + count
    engines: dict[str, float | None] = {"LOAD": None, "TENSOR": None, "STORE": None}
    if report.timed:
        engines = {
            name: counters[counter] / cycles
            for name, counter in (("LOAD", "READ_BEATS"), ("TENSOR", "COMPUTE"), ("STORE", "WRITE_BEATS"))
        }
    chip_ms = cycles / (config.clock_mhz * 1000)
    host_ms = 1000 * sum(cost.seconds for cost in host)
    why = {placed.name: placed.reason for placed in model.placement if placed.where == "host"}
    return {
        "format": FORMAT,
        "version": __version__,
        "network": model.name,
        "device": device,
        "source": MEASURED if report.timed else PREDICTED,
        "config": dataclasses.asdict(config),
        "macs_per_cycle": config.macs_per_cycle,
        "cycles": cycles,
        "predicted": model.cycles,
        "macs": model.macs,
        "weight_bytes": sum(layer.weight_bytes for layer in model.layers),
        "chip_ms": chip_ms,
        "host_ms": host_ms,
        "latency_ms": chip_ms + host_ms,
        "engines": engines,
        "causes": causes,
        "layers": layers,
        "host": [
            {
                "name": cost.name,
                "op": cost.op,
                "why": "brings tensors into the chip's layout and back"
                if cost.op == LAYOUT
                else why.get(cost.name, ""),
                "milliseconds": 1000 * cost.seconds,
                "bytes": cost.bytes,
            }
            for cost in host
        ],
        "memory": [
            {"step": b.step, "name": b.name, "region": b.region.name, "offset": b.offset, "size": b.size}
            for b in model.buffers
            if b.size
        ],
        "evaluation": evaluation,
    }


def _measured(model: CompiledModel, report: Report) -> list[ReportLayer]:
    plans: dict[str, list[LayerInfo]] = {}
    for layer in model.layers:
        plans.setdefault(layer.name, []).append(layer)
    made: list[ReportLayer] = []
    for row in report.rows:
        known = plans.get(row.name)
        info = known.pop(0) if known else None
        plan = info.plan if info is not None else None
        made.append(
            {
                "name": row.name,
                "op": row.op,
                "output": list(row.output_shape),
                "macs": row.macs,
                "weight_bytes": info.weight_bytes if info is not None else 0,
                "read_bytes": row.read_beats * model.config.bus_bytes,
                "cycles": row.cycles,
                "predicted": plan.cycles if plan else 0,
                "utilization": row.utilization,
                "causes": {name: float(count) for name, count in row.causes.items()},
                "tile": "x".join(map(str, plan.tile)) if plan else "",
                "bound": plan.bound if plan else "",
            }
        )
    return made


def _predicted(model: CompiledModel, layer: LayerInfo) -> ReportLayer:
    """The plan's cycles, divided by what takes longest: the array, or the bus for activations or for weights."""
    plan = layer.plan
    cycles = plan.cycles if plan else 0.0
    causes = {}
    left = cycles
    if plan:
        for cause, name in _PLANNED:
            share = min(left, getattr(plan, name))
            causes[cause] = share
            left -= share
    causes["IDLE"] = left
    size = 1
    for extent in layer.input_shape:
        size *= extent
    peak = model.config.macs_per_cycle
    return {
        "name": layer.name,
        "op": layer.op,
        "output": list(layer.output_shape),
        "macs": layer.macs,
        "weight_bytes": layer.weight_bytes,
        "read_bytes": layer.weight_bytes + size,
        "cycles": cycles,
        "predicted": cycles,
        "utilization": layer.macs / (peak * cycles) if cycles and layer.macs else None,
        "causes": causes,
        "tile": "x".join(map(str, plan.tile)) if plan else "",
        "bound": plan.bound if plan else "",
    }


def read_data(path: str | Path) -> Data:
    """The data in a JSON file that `lepton report --json` wrote. Raises `ReportDataError`, and OSError."""
    try:
        values = json.loads(Path(path).read_text(encoding="utf-8"))
    except ValueError:
        raise ReportDataError(f"{path}: is no JSON; give a file that lepton report --json wrote") from None
    if not isinstance(values, dict) or values.get("format") != FORMAT or not set(Data.__annotations__) <= set(values):
        raise ReportDataError(
            f"{path}: does not hold the data of a report of format {FORMAT}; write it again with lepton report --json"
        )
    return values  # type: ignore[return-value]  # the names were checked, and only this package writes them
