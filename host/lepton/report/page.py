"""The HTML page."""

import json
from importlib.resources import files
from typing import Any

from jinja2 import Environment, StrictUndefined
from markupsafe import Markup

from . import charts
from .data import Data

_TOTALS = (
    ("cycles", "cycles"),
    ("predicted", "cycles, predicted"),
    ("macs", "multiply-accumulates"),
    ("weight_bytes", "bytes of weights"),
    ("chip_ms", "chip, ms"),
    ("host_ms", "host, ms"),
    ("latency_ms", "latency, ms"),
)


def page(data: Data, other: Data | None = None) -> str:
    """A self-contained HTML document. other: a second report, which is compared with the first."""
    environment = Environment(autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True)
    environment.filters["grouped"] = _grouped
    template = environment.from_string(files(__package__).joinpath("page.html.j2").read_text(encoding="utf-8"))
    noise = _noise(data["evaluation"])
    pictures = {
        "diagram": charts.diagram(data),
        "timeline": charts.timeline(data),
        "roofline": charts.roofline(data),
        "memory": charts.memory(data),
    }
    if noise:
        pictures["noise"] = charts.noise(noise)
    return template.render(
        data=data,
        other=other,
        pictures={name: Markup(svg) for name, svg in pictures.items()},
        style=Markup(files(__package__).joinpath("page.css").read_text(encoding="utf-8")),
        lost=charts.lost,
        noise=noise,
        accuracy=_accuracy(data["evaluation"]),
        totals=_TOTALS,
        pairs=_pairs(data, other) if other else [],
        as_json=Markup(json.dumps({"report": data, "compared": other}).replace("<", "\\u003c")),
    )


def _grouped(value: float | None) -> str:
    if value is None:
        return "-"
    return (
        f"{value:,.0f}".replace(",", "\N{NO-BREAK SPACE}") if value == int(value) or value >= 1000 else f"{value:.3f}"
    )


def _noise(evaluation: dict[str, Any] | None) -> list[tuple[str, float]]:
    """Layers with their decibels; exact ones, which have none, are left out."""
    rows = evaluation.get("noise_db", []) if evaluation else []
    return [(str(row["value"]), float(row["db"])) for row in rows if row["db"] is not None]


def _accuracy(evaluation: dict[str, Any] | None) -> list[tuple[str, float]]:
    return [(str(name), float(share)) for name, share in evaluation["accuracy"].items()] if evaluation else []


def _pairs(data: Data, other: Data) -> list[tuple[str, float | None, float | None]]:
    """Layers of both reports by name, with their cycles; None where one has no such layer."""
    mine = {layer["name"]: layer["cycles"] for layer in data["layers"]}
    others = {layer["name"]: layer["cycles"] for layer in other["layers"]}
    return [(name, mine.get(name), others.get(name)) for name in dict.fromkeys([*mine, *others])]
