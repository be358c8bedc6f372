"""Where the cycles went: per layer and in total, from the chip's own counters."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from ..arch import COUNTERS, ChipConfig
from ..driver import Completion
from ..program import LayerInfo
from .costs import HostCost

CAUSES = tuple(name for name, _ in COUNTERS[1:7])  # they add up to CYCLES
FINISH = "finish"  # name of the row for what follows a program's last layer
_WRAP = 1 << 32  # counters have 32 bits


@dataclass(frozen=True)
class Row:
    """One layer: `cycles` from the end of the layer before, by cause; `macs` of the network, without padding."""

    name: str
    op: str
    input_shape: tuple[int, ...]
    output_shape: tuple[int, ...]
    macs: int
    cycles: int
    causes: Mapping[str, int]  # by the names in CAUSES
    read_beats: int
    macs_per_cycle: int

    @property
    def utilization(self) -> float | None:
        """MACs / (MACs per cycle * cycles); None where nothing was counted or there is nothing to multiply."""
        return self.macs / (self.macs_per_cycle * self.cycles) if self.cycles and self.macs else None


@dataclass(frozen=True)
class Report:
    """One inference: `rows` of what the chip did, in cycles, `host` of what the host did, in time.

    Cycles, MACs, utilization and latency are the chip's alone; `host_seconds` is what the host's CPU took for the
    operators that the chip does not take and for bringing tensors into the chip's layout and back.
    """

    config: ChipConfig
    rows: tuple[Row, ...]
    counters: Mapping[str, int]  # summed over the jobs, by the names of `lepton.arch.COUNTERS`
    seconds: float  # that the board and the host took, in real time
    host: tuple[HostCost, ...] = ()  # one for each step of the model

    @property
    def timed(self) -> bool:
        """False for backends that count no cycles, like the golden model."""
        return self.cycles > 0

    @property
    def cycles(self) -> int:
        """From doorbell to completion, summed over the jobs."""
        return self.counters["CYCLES"]

    @property
    def macs(self) -> int:
        return sum(row.macs for row in self.rows)

    @property
    def host_seconds(self) -> float:
        return sum(cost.seconds for cost in self.host)

    @property
    def causes(self) -> dict[str, int]:
        return {name: self.counters[name] for name in CAUSES}

    @property
    def utilization(self) -> float | None:
        """MACs of the network / (MACs per cycle * cycles)."""
        return self.macs / (self.config.macs_per_cycle * self.cycles) if self.timed else None

    @property
    def latency_ms(self) -> float:
        """Milliseconds at `config.clock_mhz`."""
        return self.cycles / (self.config.clock_mhz * 1000)

    @property
    def images_per_second(self) -> float | None:
        return 1000 / self.latency_ms if self.timed else None


def job_rows(completion: Completion, layers: Iterable[LayerInfo], config: ChipConfig) -> list[Row]:
    """Rows of one job: differences of consecutive snapshots, then what came after the last.

    `layers` are the job's `LayerInfo`s in order of execution.
    """
    rows: list[Row] = []
    before: Mapping[str, int] = {}
    for layer in layers:
        at = completion.snapshots[layer.index]
        rows.append(_row(layer, before, at, config))
        before = at
    rows.append(_row(_AFTER_LAST, before, completion.counters, config))
    return rows


_AFTER_LAST = LayerInfo(-1, FINISH, "", (), (), 0, 0)


def _row(layer: LayerInfo, before: Mapping[str, int], at: Mapping[str, int], config: ChipConfig) -> Row:
    """What was counted between two snapshots, as the row of `layer`."""
    spent = {counter: (at[counter] - before.get(counter, 0)) % _WRAP for counter in ("CYCLES", *CAUSES, "READ_BEATS")}
    return Row(layer.name, layer.op, tuple(layer.input_shape), tuple(layer.output_shape), layer.macs, spent["CYCLES"],
               {cause: spent[cause] for cause in CAUSES}, spent["READ_BEATS"], config.macs_per_cycle)
