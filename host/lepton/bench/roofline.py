"""The roofline chart as SVG: achieved MACs a cycle, and the limits of array and memory.

S. Williams, A. Waterman, D. Patterson, "Roofline: an insightful visual performance model for multicore architectures",
Communications of the ACM 52(4), 2009.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from html import escape

from .measure import Measurement

WIDTH = 1000  # of the document, in pixels
HEIGHT = 600
LEFT = 80  # edges of the plot
RIGHT = 660
TOP = 50
BOTTOM = 530
RADIUS = 7
MARGIN = 1.4  # around the points, as a factor
LEGEND_LEFT = 690
LEGEND_STEP = 21
INK = "#222"
GREY = "#666"
GRID = "#ddd"
ROOF = "#b3541e"
COLORS = {True: "#2a7f4f", False: "#c0392b", None: "#2b6cb0"}  # goal reached, missed, none

Range = tuple[float, float]


@dataclass(frozen=True)
class _Point:
    """A row of the chart; `intensity` is in MACs a byte, `achieved` in MACs a cycle."""

    name: str
    intensity: float
    achieved: float
    reached: bool | None


@dataclass(frozen=True)
class _Plot:
    """The ranges of both axes, and the functions from values to pixels."""

    x_range: Range
    y_range: Range
    x: Callable[[float], float]
    y: Callable[[float], float]


def chart(measurements: Sequence[Measurement]) -> str:
    """An SVG document. Rows without cycles are left out.

    The diagonals are the limits of memory: reads and writes at the same time move twice the bus's width a cycle, one
    direction alone moves it once.
    """
    points = [point for point in map(_point, measurements) if point is not None]
    if not points:
        return _document([_text(WIDTH / 2, HEIGHT / 2, "nothing was measured", "middle")])
    first = next(m for m in measurements if _point(m) is not None)
    peak = first.macs_per_cycle
    bus = first.bus_bytes
    intensity = [point.intensity for point in points]
    x_range = (min(*intensity, peak / bus / 2) / MARGIN, max(*intensity, 2 * peak / bus) * MARGIN)
    y_range = (min(point.achieved for point in points) / MARGIN, peak * MARGIN)
    plot = _Plot(x_range, y_range, _axis(x_range, LEFT, RIGHT), _axis(y_range, BOTTOM, TOP))
    parts = _grid(plot)
    for limit, dash in ((2 * bus, "6 4"), (bus, "")):
        parts.append(_roof(limit, peak, plot, dash))
    parts.append(_text(RIGHT - 4, plot.y(peak) - 6, f"{peak} MACs a cycle", "end", ROOF, 12))
    for number, point in enumerate(points, 1):
        x = plot.x(point.intensity)
        y = plot.y(point.achieved)
        parts.append(f'<g><title>{escape(point.name)}: {point.achieved:.1f} MACs a cycle, {point.intensity:.2f} MACs a '
                     f'byte</title><circle cx="{x:.1f}" cy="{y:.1f}" r="{RADIUS}" fill="{COLORS[point.reached]}" '
                     'fill-opacity="0.85"/>' + _text(x, y + 3.5, str(number), "middle", "#fff", 10) + "</g>")
    parts += _legend(points, peak)
    parts.append(_text(LEFT, 28, f"Lepton {first.config}, memory profile {first.memory}: achieved against compute and "
                                 "memory limits", size=16))
    return _document(parts)


def _point(m: Measurement) -> _Point | None:
    if not m.cycles or not m.macs or m.read_bytes is None or m.write_bytes is None or not m.read_bytes + m.write_bytes:
        return None
    return _Point(m.name, m.macs / (m.read_bytes + m.write_bytes), m.macs / m.cycles, m.reached)


def _legend(points: Sequence[_Point], peak: int) -> list[str]:
    parts = [_text(LEGEND_LEFT, TOP + 4, "MACs a cycle, share of the peak", size=12, color=GREY)]
    for number, point in enumerate(points, 1):
        at = TOP + 8 + number * LEGEND_STEP
        parts.append(f'<circle cx="{LEGEND_LEFT + 8}" cy="{at - 4}" r="{RADIUS}" fill="{COLORS[point.reached]}"/>')
        parts.append(_text(LEGEND_LEFT + 8, at - 0.5, str(number), "middle", "#fff", 10))
        parts.append(_text(LEGEND_LEFT + 22, at, point.name, size=12))
        parts.append(_text(WIDTH - 62, at, f"{point.achieved:.1f}", "end", size=12))
        parts.append(_text(WIDTH - 14, at, f"{100 * point.achieved / peak:.0f} %", "end", size=12))
    notes = [(COLORS[reached], f"● {what}")
             for reached, what in ((True, "goal reached"), (False, "goal missed"), (None, "no goal"))]
    notes += [(ROOF, "― reads or writes alone"), (ROOF, "╌ reads and writes at once")]
    for i, (color, what) in enumerate(notes):
        parts.append(_text(LEFT + (0, 115, 230, 320, 490)[i], HEIGHT - 12, what, color=color, size=12))
    return parts


def _axis(bounds: Range, start: float, stop: float) -> Callable[[float], float]:
    """A logarithmic scale: from values within `bounds` to pixels."""
    low, high = map(math.log10, bounds)
    return lambda value: start + (math.log10(value) - low) / (high - low) * (stop - start)


def _ticks(bounds: Range) -> list[float]:
    """1, 2 and 5 times powers of 10 within a range."""
    low, high = bounds
    exponents = range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)
    return [step * 10.0**e for e in exponents for step in (1, 2, 5) if low <= step * 10.0**e <= high]


def _grid(plot: _Plot) -> list[str]:
    parts = []
    for value in _ticks(plot.x_range):
        x = plot.x(value)
        parts.append(_line(x, TOP, x, BOTTOM, GRID))
        parts.append(_text(x, BOTTOM + 18, f"{value:g}", "middle", GREY, 12))
    for value in _ticks(plot.y_range):
        y = plot.y(value)
        parts.append(_line(LEFT, y, RIGHT, y, GRID))
        parts.append(_text(LEFT - 8, y + 4, f"{value:g}", "end", GREY, 12))
    middle = (TOP + BOTTOM) / 2
    parts.append(_text((LEFT + RIGHT) / 2, BOTTOM + 38, "MACs a byte of memory traffic, as the chip counted it",
                       "middle"))
    parts.append(f'<g transform="rotate(-90 24 {middle})">' + _text(24, middle, "MACs a cycle", "middle") + "</g>")
    return parts


def _roof(bytes_a_cycle: int, peak: int, plot: _Plot, dash: str) -> str:
    """The line from where the diagonal enters the plot to the peak, and from there to the right edge."""
    start = max(plot.x_range[0], plot.y_range[0] / bytes_a_cycle)
    corners = ((start, start * bytes_a_cycle), (peak / bytes_a_cycle, peak), (plot.x_range[1], peak))
    path = " ".join(f"{plot.x(a):.1f},{plot.y(b):.1f}" for a, b in corners)
    style = f' stroke-dasharray="{dash}"' if dash else ""
    return f'<polyline points="{path}" fill="none" stroke="{ROOF}" stroke-width="2"{style}/>'


def _line(x1: float, y1: float, x2: float, y2: float, color: str) -> str:
    return f'<line x1="{x1:.1f}" y1="{y1:.1f}" x2="{x2:.1f}" y2="{y2:.1f}" stroke="{color}"/>'


def _text(x: float, y: float, text: str, anchor: str = "start", color: str = INK, size: int = 13) -> str:
    return (f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}" fill="{color}" font-size="{size}">'
            f'{escape(text)}</text>')


def _document(parts: list[str]) -> str:
    body = "\n".join(parts)
    return (f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" width="{WIDTH}" '
            f'height="{HEIGHT}" font-family="sans-serif">\n<rect width="{WIDTH}" height="{HEIGHT}" fill="#fff"/>\n'
            f"{body}\n</svg>\n")
