"""Where the cycles went: per layer and in total, from the chip's own counters."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from ..arch import COUNTERS, ChipConfig
from ..driver import Completion
from ..program import LayerInfo
from ..text import dimensions, fact_lines, grouped, milliseconds, percent, scaled, shortened, table
from .costs import LAYOUT, HostCost

CAUSES = tuple(name for name, _ in COUNTERS[1:7])  # they add up to CYCLES
CAUSE_TITLES = ("comp", "read", "wgts", "write", "sync", "idle")  # of CAUSES, in the same order
LEFT = 3  # columns of text in the table of layers
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

    Cycles, MACs and utilization are the chip's alone; `host_seconds` is what the host's CPU took for the operators that
    the chip does not take and for bringing tensors into the chip's layout and back. Latency is both together. `print`
    shows a table.
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
    def chip_ms(self) -> float:
        """Milliseconds of the chip, at `config.clock_mhz`."""
        return self.cycles / (self.config.clock_mhz * 1000)

    @property
    def latency_ms(self) -> float | None:
        """Milliseconds of chip and host, one after the other; None where the device counts no cycles."""
        return self.chip_ms + 1000 * self.host_seconds if self.timed else None

    @property
    def images_per_second(self) -> float | None:
        """Inferences one after the other; None where the device counts no cycles."""
        return 1000 / self.latency_ms if self.latency_ms else None

    def __str__(self) -> str:
        titles, rows = self.cells()
        return f"{table(titles, rows, LEFT, total=True)}\n\n{fact_lines(self.facts())}"

    def cells(self) -> tuple[tuple[str, ...], list[list[str]]]:
        """Titles and rows of the table of layers, the first `LEFT` columns text; the last row is the total.

        A row has shape, MACs, cycles, utilization and the percentage of the cycles for each cause; no cycles where the
        device does not count them.
        """
        titles = ("layer", "operator", "output", "MACs", *(("cycles", "util %", *CAUSE_TITLES) if self.timed else ()))

        def figures(cycles: int, utilization: str, causes: Mapping[str, int]) -> list[str]:
            if not self.timed:
                return []
            shares = (f"{100 * causes[c] / cycles:.0f}" if cycles else "-" for c in CAUSES)
            return [grouped(cycles), utilization, *shares]

        rows = [[shortened(row.name, 18), shortened(row.op, 15), dimensions(row.output_shape[1:] or row.output_shape),
                 scaled(row.macs) if row.macs else "",
                 *figures(row.cycles, percent(row.utilization) if row.macs else "", row.causes)] for row in self.rows]
        rows.append(["total", "", "", scaled(self.macs),
                     *figures(self.cycles, percent(self.utilization), self.causes)])
        return titles, rows

    def facts(self, host: Sequence[HostCost] | None = None) -> list[tuple[str, str]]:
        """Latency as a whole, and its parts. `host`: other times of the host's steps than this inference's."""
        costs = self.host if host is None else host
        seconds = sum(cost.seconds for cost in costs)
        lines = []
        if self.timed:
            whole = self.chip_ms + 1000 * seconds
            lines += [("latency", f"{whole:.3f} ms an image, {grouped(round(1000 / whole))} images a second, host "
                                  "included"),
                      ("chip", f"{self.chip_ms:.3f} ms: {grouped(self.cycles)} cycles at {self.config.clock}")]
        else:
            lines.append(("latency", "unknown: this device does not count cycles"))
        if costs:
            count = sum(cost.op != LAYOUT for cost in costs)
            what = f"{count} operator{'s' * (count > 1)} and layout changes" if count else "layout changes"
            share = f"; {100 * seconds / (seconds + self.chip_ms / 1000):.0f} % of the latency" if self.timed else ""
            lines.append(("host", f"{milliseconds(seconds)} on this machine's CPU, {what}{share}"))
        return lines


def job_rows(completion: Completion, layers: Iterable[LayerInfo], config: ChipConfig) -> list[Row]:
    """Rows of one job: differences of consecutive snapshots, then what came after the last.

    Layers may overlap: the time of one counts from the end of the one that ended before it.
    """
    rows: dict[int, Row] = {}
    before: Mapping[str, int] = {}
    known = list(layers)
    for layer in sorted(known, key=lambda layer: completion.snapshots[layer.index]["CYCLES"]):
        at = completion.snapshots[layer.index]
        rows[layer.index] = _row(layer, before, at, config)
        before = at
    return [*(rows[layer.index] for layer in known), _row(_AFTER_LAST, before, completion.counters, config)]


_AFTER_LAST = LayerInfo(-1, FINISH, "", (), (), 0, 0)


def _row(layer: LayerInfo, before: Mapping[str, int], at: Mapping[str, int], config: ChipConfig) -> Row:
    """What was counted between two snapshots, as the row of `layer`."""
    spent = {counter: (at[counter] - before.get(counter, 0)) % _WRAP for counter in ("CYCLES", *CAUSES, "READ_BEATS")}
    return Row(layer.name, layer.op, tuple(layer.input_shape), tuple(layer.output_shape), layer.macs, spent["CYCLES"],
               {cause: spent[cause] for cause in CAUSES}, spent["READ_BEATS"], config.macs_per_cycle)
