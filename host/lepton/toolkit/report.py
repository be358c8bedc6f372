"""A network before and after compression."""

from dataclasses import dataclass, field

from ..text import grouped, percent, table


@dataclass(frozen=True)
class Figures:
    """One state of a network. Accuracies between 0 and 1, None where there are no classes or labels."""

    weight_bytes: int  # as int8, biases left out
    accuracy: float | None  # of the float network
    int8_accuracy: float | None  # of the int8 network, on the golden model
    predicted_cycles: int  # by the compiler
    measured_cycles: int | None  # by the chip's counters; None where its device counts none


@dataclass
class OptimizationReport:
    """What `LeptonNetwork.optimize` did. `print` shows a table."""

    before: Figures
    after: Figures
    notes: list[str] = field(default_factory=list)

    def __str__(self) -> str:
        def cycles(value: int | None) -> str:
            return "-" if value is None else grouped(value)

        rows = []
        for name, left, right in (
                ("bytes of weights, int8", grouped(self.before.weight_bytes), grouped(self.after.weight_bytes)),
                ("accuracy %, float", percent(self.before.accuracy), percent(self.after.accuracy)),
                ("accuracy %, int8", percent(self.before.int8_accuracy), percent(self.after.int8_accuracy)),
                ("cycles, predicted", cycles(self.before.predicted_cycles), cycles(self.after.predicted_cycles)),
                ("cycles, measured", cycles(self.before.measured_cycles), cycles(self.after.measured_cycles))):
            rows.append([name, left, right])
        return "\n".join([table(("", "before", "after"), rows), *(f"note: {note}" for note in self.notes)])
