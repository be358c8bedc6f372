"""Cards: the facts about a shipped network."""

import hashlib
import json
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypedDict

if TYPE_CHECKING:
    from ..graph import Graph

FOLDER = Path(__file__).parent
CARD = "card.json"
MEASURED = ("tiny", "base")  # presets for which a card has cycles


class ModelFilesError(ValueError):
    """A shipped file is not the one that its card describes."""


@dataclass(frozen=True)
class Card:
    """One network's facts, written by the script that trained it."""

    name: str
    title: str
    field: str
    task: str
    data: str
    licence: str
    synthetic: str  # what of the data is synthetic, or ""
    input: str
    output: str
    classes: tuple[str, ...]
    metric: str  # a name in `lepton.models.metrics.METRICS`
    float_value: float  # of the float network, by `metric`, on `tested` inputs
    int8_value: float  # of the int8 network on the same
    tested: int
    baselines: dict[str, float]  # the same metric of simple methods
    parameters: int
    macs: int  # of one inference
    cycles: dict[str, int]  # that the compiler predicts, by preset
    latency_ms: dict[str, float]  # of these cycles at the preset's clock; the host's part comes on top
    program: str  # name of the network's file
    files: dict[str, str]  # sha256 by name
    script: str  # the command that makes them again
    reference: str  # by what the samples' outputs were computed

    @property
    def folder(self) -> Path:
        return FOLDER / self.name

    @property
    def path(self) -> Path:
        """The network's file."""
        return self.folder / self.program

    def check(self) -> None:
        """Raises `ModelFilesError` where a file differs from that of the card."""
        for name, digest in self.files.items():
            path = self.folder / name
            if not path.is_file() or hashlib.sha256(path.read_bytes()).hexdigest() != digest:
                raise ModelFilesError(
                    f"{path}: is missing or not the file that the card of {self.name!r} describes; "
                    f"install Lepton again, or make it again with: {self.script}"
                )

    def as_dict(self) -> dict[str, Any]:
        return {name: list(value) if isinstance(value, tuple) else value for name, value in vars(self).items()}


def read_card(path: Path) -> Card:
    values: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    values["classes"] = tuple(values["classes"])
    return Card(**values)


def cards() -> dict[str, Card]:
    """All shipped networks by name."""
    found = [read_card(path) for path in sorted(FOLDER.glob(f"*/{CARD}"))]
    return {card.name: card for card in found}


def as_json(card: Card) -> bytes:
    return (json.dumps(card.as_dict(), indent=1, ensure_ascii=False) + "\n").encode()


class Predicted(TypedDict):
    """The fields of a card that the compiler gives."""

    macs: int
    cycles: dict[str, int]
    latency_ms: dict[str, float]


def predicted(graph: "Graph") -> Predicted:
    """Multiply-accumulates, and cycles with their time at the clock of `MEASURED` presets."""
    from ..arch import PRESETS
    from ..compiler import compile_graph

    models = {preset: compile_graph(graph, PRESETS[preset]) for preset in MEASURED}
    return {
        "macs": models["base"].macs,
        "cycles": {preset: round(model.cycles) for preset, model in models.items()},
        "latency_ms": {
            preset: round(model.cycles / PRESETS[preset].clock_mhz / 1000, 4) for preset, model in models.items()
        },
    }


def markdown(card: Card) -> str:
    """The card as a page."""

    def value(number: float) -> str:
        return f"{100 * number:.1f} %" if card.metric == "accuracy" else f"{number:.3f}"

    rows = [("field", card.field), ("task", card.task), ("input", card.input), ("output", card.output)]
    if card.classes:
        rows.append(("classes", ", ".join(card.classes)))
    rows += [
        (f"{card.metric}, float32", f"{value(card.float_value)} on {card.tested} inputs that trained nothing"),
        (f"{card.metric}, int8", f"{value(card.int8_value)} on the same"),
    ]
    rows += [(f"{card.metric} of: {name}", value(number)) for name, number in card.baselines.items()]
    rows += [("parameters", f"{card.parameters:,}"), ("multiply-accumulates", f"{card.macs:,}")]
    rows += [
        (f"cycles on `{preset}`, predicted", f"{cycles:,}, {card.latency_ms[preset]:.3f} ms at the chip's clock")
        for preset, cycles in card.cycles.items()
    ]
    files = "".join(
        f"- `{name}`, {(card.folder / name).stat().st_size:,} bytes, sha256 `{digest}`\n"
        for name, digest in card.files.items()
    )
    table = "".join(f"| {left} | {right} |\n" for left, right in rows)
    synthetic = f"\n**Synthetic:** {card.synthetic}.\n" if card.synthetic else ""
    return (
        f"# {card.name}\n\n{card.title[0].upper()}{card.title[1:]}.\n\n| | |\n|---|---|\n{table}{synthetic}\n"
        f"## Files\n\n{files}\nThe samples' `outputs` were computed by {card.reference}.\n\n"
        f"## How it was made\n\n    {card.script}\n\nmakes all files of this folder: AdamW with a one-cycle schedule, "
        "the "
        "epoch with the lowest loss on validation data, then Lepton's post-training quantizer. On another processor, "
        "floating point sums may round differently, and the weights with them.\n\n"
        f"## Data and license\n\n{card.data[0].upper()}{card.data[1:]}.\n\n"
        f"{card.licence[0].upper()}{card.licence[1:]}.\n"
    )
