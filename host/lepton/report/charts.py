"""The pictures of a page, as SVG that takes its colours from the page: readable in light and dark, and in print."""

import io
import re
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import matplotlib
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from .data import Data, ReportLayer

# Colours that stand for variables of the page's style; matplotlib knows colours only.
_INK = "#010203"
_FAINT = "#040506"
_PANEL = "#070809"
_VARIABLES = {_INK: "var(--ink)", _FAINT: "var(--faint)", _PANEL: "var(--panel)"}
# Okabe and Ito, "Color Universal Design", 2008: told apart by people with any kind of colour vision.
CAUSES = {
    "COMPUTE": ("computing", "#009e73"),
    "WAIT_READ": ("waiting for inputs", "#e69f00"),
    "WAIT_WEIGHTS": ("waiting for weights", "#cc79a7"),
    "WAIT_WRITE": ("waiting for room for results", "#56b4e9"),
    "WAIT_SYNC": ("waiting for earlier results", "#0072b2"),
    "IDLE": ("no command", "#999999"),
}
_BLUE = "#0072b2"
_ORANGE = "#d55e00"
MOST_NAMES = 12  # layers named in the roofline
APART = 1.5  # factor between named points, so that names do not hide each other
MOST_ROWS = 150  # layers in a chart; of deeper networks those with the most cycles
_STYLE: dict[Any, Any] = {  # matplotlib's type for its keys is a list of them all
    "svg.fonttype": "none",
    "svg.hashsalt": "lepton",
    "font.family": "sans-serif",
    "font.size": 10,
    "text.color": _INK,
    "axes.labelcolor": _INK,
    "axes.edgecolor": _FAINT,
    "xtick.color": _INK,
    "ytick.color": _INK,
    "axes.facecolor": "none",
    "figure.facecolor": "none",
    "grid.color": _FAINT,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "legend.frameon": False,
}


@contextmanager
def _drawing(width: float, height: float) -> Iterator[Figure]:
    with matplotlib.rc_context(_STYLE):
        yield Figure(figsize=(width, height), layout="constrained")


def _svg(figure: Figure) -> str:
    file = io.StringIO()
    figure.savefig(file, format="svg", metadata={"Date": None})
    text = file.getvalue()
    text = text[text.index("<svg") :]
    for color, variable in _VARIABLES.items():
        text = text.replace(color, variable)
    return re.sub(r'<svg ([^>]*?)width="[^"]*" height="[^"]*"', r"<svg \1", text, count=1)


def timeline(data: Data) -> str:
    """Every layer from its first cycle to its last, divided by what the chip did."""
    starts = []
    at = 0.0
    for layer in data["layers"]:
        starts.append(at)
        at += layer["cycles"]
    shown = sorted(range(len(starts)), key=lambda i: -data["layers"][i]["cycles"])[:MOST_ROWS]
    shown.sort()
    with _drawing(9, max(2.0, 0.24 * len(shown) + 1.2)) as figure:
        axes = figure.add_subplot()
        seen = set()
        for row, index in enumerate(shown):
            layer = data["layers"][index]
            left = starts[index]
            for cause, count in layer["causes"].items():
                if count > 0:
                    title, color = CAUSES[cause]
                    axes.barh(row, count, left=left, height=0.75, color=color, label="" if cause in seen else title)
                    seen.add(cause)
                    left += count
        axes.set_yticks(range(len(shown)), [_short(data["layers"][i]["name"]) for i in shown])
        axes.invert_yaxis()
        axes.set_xlabel(f"cycles, {data['source']}")
        axes.grid(axis="x", linewidth=0.4)
        axes.set_axisbelow(True)
        if seen:
            figure.legend(loc="outside upper center", ncols=3)
        return _svg(figure)


def roofline(data: Data) -> str:
    """MACs a cycle of each layer against what the array and the memory admit (Williams et al., CACM 52(4), 2009)."""
    points = [layer for layer in data["layers"] if layer["macs"] and layer["cycles"] and layer["read_bytes"]]
    peak = data["macs_per_cycle"]
    bus = data["config"]["bus_bytes"]
    with _drawing(9, 4.2) as figure:
        axes = figure.add_subplot()
        x = [layer["macs"] / layer["read_bytes"] for layer in points]
        y = [layer["macs"] / layer["cycles"] for layer in points]
        low = min([0.5 * peak / bus, *x]) / 2
        high = max([2 * peak / bus, *x]) * 2
        axes.plot(
            [low, peak / bus, high], [low * bus, peak, peak], color=_ORANGE, label="the limit: memory, then array"
        )
        axes.scatter(x, y, color=_BLUE, zorder=3, label="layers")
        named: list[tuple[float, float]] = []
        for layer, left, top in sorted(zip(points, x, y, strict=True), key=lambda p: -p[0]["cycles"]):
            if len(named) < MOST_NAMES and all(max(left / a, a / left, top / b, b / top) > APART for a, b in named):
                named.append((left, top))
                axes.annotate(_short(layer["name"]), (left, top), textcoords="offset points", xytext=(5, 4), fontsize=8)
        axes.set_ylim(min([peak / 4, *y]) / 2, peak * 2)
        axes.set(xscale="log", yscale="log", xlabel="MACs for each byte read", ylabel="MACs a cycle")
        axes.grid(linewidth=0.4)
        axes.legend(loc="lower right")
        return _svg(figure)


def memory(data: Data) -> str:
    """The regions of device memory of each job, and the buffers in them."""
    rows = sorted({(block["step"], block["region"]) for block in data["memory"]})
    with _drawing(9, max(1.8, 0.4 * len(rows) + 1)) as figure:
        axes = figure.add_subplot()
        for number, key in enumerate(rows):
            blocks = [b for b in data["memory"] if (b["step"], b["region"]) == key]
            for i, block in enumerate(blocks):
                axes.barh(
                    number,
                    block["size"] / 1024,
                    left=block["offset"] / 1024,
                    height=0.7,
                    edgecolor=_PANEL,
                    color=(_BLUE, "#56b4e9")[i % 2],
                )
        axes.set_yticks(range(len(rows)), [f"job {step}: {region.lower()}" for step, region in rows])
        axes.invert_yaxis()
        axes.set_xlabel("KiB from the start of the region")
        axes.grid(axis="x", linewidth=0.4)
        axes.set_axisbelow(True)
        return _svg(figure)


def diagram(data: Data) -> str:
    """The chip's blocks; each engine with the share of cycles in which it is busy."""
    config = data["config"]
    engines = data["engines"]
    boxes = {
        "memory": (0, 0, 1.7, 3.2, "device\nmemory", None),
        "LOAD": (2.4, 2.2, 1.7, 1, "load engine", engines["LOAD"]),
        "STORE": (2.4, 0, 1.7, 1, "store engine", engines["STORE"]),
        "scratchpad": (4.8, 0, 1.9, 1, f"scratchpad\n{config['scratchpad_kib']} KiB", None),
        "weights": (4.8, 2.2, 1.9, 1, f"weight memory\n{config['weight_kib']} KiB", None),
        "TENSOR": (
            7.4,
            0,
            2.6,
            3.2,
            f"tensor engine\n{config['lanes']} x {config['columns']}\nmultipliers",
            engines["TENSOR"],
        ),
    }
    with _drawing(9, 3.2) as figure:
        axes = figure.add_subplot()
        for left, bottom, width, height, title, share in boxes.values():
            axes.add_patch(Rectangle((left, bottom), width, height, facecolor=_PANEL, edgecolor=_INK))
            if share is not None:
                axes.add_patch(Rectangle((left, bottom), width * min(1, share), 0.14, facecolor="#009e73"))
                title += f"\n{100 * share:.0f} % busy"
            axes.text(left + width / 2, bottom + height / 2, title, ha="center", va="center", fontsize=9)
        for start, end in (
            ((1.7, 2.7), (2.4, 2.7)),
            ((4.1, 2.7), (4.8, 2.7)),
            ((4.1, 2.4), (4.8, 0.9)),
            ((6.7, 2.7), (7.4, 2.7)),
            ((6.7, 0.7), (7.4, 0.7)),
            ((7.4, 0.3), (6.7, 0.3)),
            ((4.8, 0.4), (4.1, 0.4)),
            ((2.4, 0.4), (1.7, 0.4)),
        ):
            axes.annotate("", end, start, arrowprops={"arrowstyle": "->", "color": _INK})
        axes.set_xlim(-0.1, 10.1)
        axes.set_ylim(-0.1, 3.3)
        axes.set_axis_off()
        return _svg(figure)


def noise(layers: list[tuple[str, float]]) -> str:
    """The signal-to-noise of each layer's int8 values against float, in decibels."""
    with _drawing(9, max(1.8, 0.24 * len(layers) + 0.8)) as figure:
        axes = figure.add_subplot()
        axes.barh([_short(name) for name, _ in layers], [value for _, value in layers], color=_BLUE)
        axes.invert_yaxis()
        axes.set_xlabel("signal-to-noise of int8 against float, dB (20 dB: an error of a tenth)")
        axes.grid(axis="x", linewidth=0.4)
        return _svg(figure)


def lost(layer: ReportLayer) -> str:
    """Where a layer's cycles went besides computing, the largest first, as text."""
    waits = sorted(
        ((count, cause) for cause, count in layer["causes"].items() if cause != "COMPUTE" and count > 0), reverse=True
    )
    total = layer["cycles"] or 1
    return ", ".join(
        f"{CAUSES[cause][0]} {100 * count / total:.0f} %" for count, cause in waits[:3] if count / total >= 0.005
    )


def _short(name: str) -> str:
    return name if len(name) <= 26 else f"…{name[-25:]}"
