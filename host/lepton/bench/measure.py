"""Measures one row: compiles a network, runs it on the RTL, and compares all bytes written with the golden model."""

from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from typing import Any

from .. import device as devices
from ..arch import PRESETS, ChipConfig
from ..arch.memory import MEMORIES
from ..compiler import compile_graph
from ..graph import GraphError
from ..models import topologies
from ..program import CompiledModel
from ..runtime import CAUSES, ComparingSession, Report
from .board import open_board
from .catalog import Entry

SPARE_MEMORY = 1 << 20  # bytes: buffers are aligned to 4 KiB, so this is enough for 256 of them
PAGE = 4096


@dataclass(frozen=True)
class Measurement:
    """The figures of one row. They are None if it did not run to its end; `error` then says why."""

    name: str
    macs: int | None
    cycles: int | None
    goal_cycles: int | None
    causes: dict[str, int] | None  # by `lepton.runtime.CAUSES`; they add up to `cycles`
    read_bytes: int | None  # on the bus
    write_bytes: int | None
    simulated_hz: float | None  # of the board alone, without the Python code around it
    config: str
    macs_per_cycle: int
    bus_bytes: int
    memory: str
    exact: bool
    seconds: float  # real time of the whole row
    others: str = ""
    error: str | None = None
    # name, op, macs, cycles, causes and read_bytes of each layer, in order
    layers: list[dict[str, Any]] = field(default_factory=list)

    @property
    def utilization(self) -> float | None:
        """MACs / (MACs a cycle * cycles)."""
        return self.macs / (self.macs_per_cycle * self.cycles) if self.cycles and self.macs is not None else None

    @property
    def bound_cycles(self) -> int | None:
        """The lower bound of the cycles: MACs / (MACs a cycle), rounded up."""
        return None if self.macs is None else -(-self.macs // self.macs_per_cycle)

    @property
    def reached(self) -> bool | None:
        """Whether the goal is reached; None without a goal or without cycles."""
        return None if not (self.cycles and self.goal_cycles) else self.cycles <= self.goal_cycles

    def record(self) -> dict[str, Any]:
        """The row of bench.json. It has `error` only if there was one."""
        row = {
            "name": self.name, "macs": self.macs, "cycles": self.cycles, "utilization": self.utilization,
            "goal_cycles": self.goal_cycles,
            "stalls": self.causes and {cause: n for cause, n in self.causes.items() if cause != "COMPUTE"},
            "simulated_hz": self.simulated_hz and round(self.simulated_hz), "config": self.config,
            "memory": self.memory, "exact": self.exact}
        return row | ({"error": self.error} if self.error else {})

    def details(self) -> dict[str, Any]:
        """The row of bench_layers.json: all fields, with the layers."""
        return asdict(self) | {"utilization": self.utilization, "bound_cycles": self.bound_cycles}


def _resolved(config: str | ChipConfig) -> ChipConfig:
    return PRESETS[config] if isinstance(config, str) else config


def failed(entry: Entry, config: str | ChipConfig, memory: str, error: str, seconds: float) -> Measurement:
    """The measurement of a row that did not run."""
    chip = _resolved(config)
    return Measurement(entry.name, None, None, goal_of(entry, chip, memory), None, None, None, None, chip.name,
                       chip.macs_per_cycle, chip.bus_bytes, memory, False, seconds, entry.others, error)


def goal_of(entry: Entry, config: str | ChipConfig, memory: str) -> int | None:
    """The goal in cycles; None for other configurations and memories than the goals are for."""
    return entry.goal_cycles if (_resolved(config), memory) == (PRESETS["base"], "default") else None


def measure(entry: Entry, config: str | ChipConfig = "base", memory: str = "default",
            progress: Callable[[str], None] = lambda text: None) -> Measurement:
    """Compile and run one row on a new board. `seconds` is 0; the caller fills it in.

    Raises the errors of compiling, building and running. If bytes differ from the golden model, `exact` is False and
    `error` has the first difference.
    """
    progress("building the network")
    graph = entry.graph()
    macs = topologies.count_macs(graph)
    progress("compiling")
    model = compile_graph(graph, config, memory=MEMORIES[memory])
    away = next((row for row in model.placement if row.where == "host" and row.macs), None)
    if away is not None:  # cycles of a part of the network could not be compared
        raise GraphError(f"{away.op} {away.name!r} does not run on chip {model.config.name}: {away.reason}")
    progress("opening the board")
    size = memory_bytes(model)
    with open_board(config, memory=memory, memory_bytes=size, progress=progress) as board, \
            devices.open("golden", config=config, memory_bytes=size) as golden, \
            ComparingSession(model, board, golden) as session:
        compared = session.run(topologies.random_inputs(graph),
                               progress=lambda step, cycles: progress(f"{cycles:,} cycles".replace(",", " ")))
        speed = board.simulated_hz
    report = compared.result.report
    chip = model.config
    error = None
    if compared.differences:
        error = f"differs from the golden model: {compared.differences[0]}"
    if (total := sum(report.causes.values())) != report.cycles:
        error = f"the causes add up to {total} cycles, not {report.cycles}"
    return Measurement(
        entry.name, macs, report.cycles, goal_of(entry, config, memory), report.causes,
        report.counters["READ_BEATS"] * chip.bus_bytes, report.counters["WRITE_BEATS"] * chip.bus_bytes, speed,
        chip.name, chip.macs_per_cycle, chip.bus_bytes, memory, not compared.differences, 0.0, entry.others, error,
        _layers(report))


def memory_bytes(model: CompiledModel) -> int:
    """Device memory that a model's buffers need, in whole pages."""
    used = sum(buffer.offset + buffer.size for buffer in model.buffers)
    return -(-(used + SPARE_MEMORY) // PAGE) * PAGE


def _layers(report: Report) -> list[dict[str, Any]]:
    return [{"name": row.name, "op": row.op, "macs": row.macs, "cycles": row.cycles,
             "causes": {cause: row.causes[cause] for cause in CAUSES},
             "read_bytes": row.read_beats * report.config.bus_bytes} for row in report.rows]
