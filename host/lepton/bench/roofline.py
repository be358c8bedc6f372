"""The roofline chart (Williams, Waterman, Patterson 2009) as SVG: what was achieved, and what would be possible."""

import math
from collections.abc import Sequence
from html import escape

from .measure import Measurement

WIDTH, HEIGHT = 1000, 600  # pixels
LEFT, RIGHT, TOP, BOTTOM = 80, 660, 50, 530  # of the plot
RADIUS = 7
MARGIN = 1.4  # around the points, as a factor
LEGEND_LEFT, LEGEND_STEP = 690, 21
INK, GREY, GRID, ROOF = "#222", "#666", "#ddd", "#b3541e"
COLORS = {True: "#2a7f4f", False: "#c0392b", None: "#2b6cb0"}  # goal reached, missed, none


def chart(measurements: Sequence[Measurement]) -> str:
    """An SVG document. Rows without cycles are left out.

    The diagonals are what memory allows: reads and writes together move at most twice the bus, one direction
    alone once.
    """
    points = [m for m in measurements if m.cycles and m.macs and m.read_bytes + m.write_bytes]
    if not points:
        return _document([_text(WIDTH / 2, HEIGHT / 2, "nothing was measured", "middle")])
    peak, bus = points[0].macs_per_cycle, points[0].bus_bytes
    intensity = [m.macs / (m.read_bytes + m.write_bytes) for m in points]
    achieved = [m.macs / m.cycles for m in points]
    x_range = min(*intensity, peak / bus / 2) / MARGIN, max(*intensity, 2 * peak / bus) * MARGIN
    y_range = min(achieved) / MARGIN, peak * MARGIN
    x, y = _axis(x_range, LEFT, RIGHT), _axis(y_range, BOTTOM, TOP)
    parts = _grid(x_range, y_range, x, y)
    for limit, dash in ((2 * bus, "6 4"), (bus, "")):
        parts.append(_roof(limit, peak, x_range, y_range, x, y, dash))
    parts.append(_text(RIGHT - 4, y(peak) - 6, f"{peak} MACs a cycle", "end", ROOF, 12))
    for number, (m, i, a) in enumerate(zip(points, intensity, achieved, strict=True), 1):
        color = COLORS[m.reached]
        parts.append(f'<g><title>{escape(m.name)}: {a:.1f} MACs a cycle, {i:.2f} MACs a byte</title>'
                     f'<circle cx="{x(i):.1f}" cy="{y(a):.1f}" r="{RADIUS}" fill="{color}" fill-opacity="0.85"/>'
                     + _text(x(i), y(a) + 3.5, str(number), "middle", "#fff", 10) + "</g>")
    parts += _legend(points, achieved)
    m = points[0]
    parts.append(_text(LEFT, 28, f"Lepton {m.config}, memory profile {m.memory}: achieved against compute and memory "
                                 "limits", size=16))
    return _document(parts)


def _legend(points: Sequence[Measurement], achieved: Sequence[float]) -> list[str]:
    parts = [_text(LEGEND_LEFT, TOP + 4, "MACs a cycle, share of the peak", size=12, color=GREY)]
    for number, (m, a) in enumerate(zip(points, achieved, strict=True), 1):
        at = TOP + 8 + number * LEGEND_STEP
        parts.append(f'<circle cx="{LEGEND_LEFT + 8}" cy="{at - 4}" r="{RADIUS}" fill="{COLORS[m.reached]}"/>')
        parts.append(_text(LEGEND_LEFT + 8, at - 0.5, str(number), "middle", "#fff", 10))
        parts.append(_text(LEGEND_LEFT + 22, at, m.name, size=12))
        parts.append(_text(WIDTH - 62, at, f"{a:.1f}", "end", size=12))
        parts.append(_text(WIDTH - 14, at, f"{100 * m.utilization:.0f} %", "end", size=12))
    notes = [(COLORS[reached], f"● {what}")
             for reached, what in ((True, "goal reached"), (False, "goal missed"), (None, "no goal"))]
    notes += [(ROOF, "― reads or writes alone"), (ROOF, "╌ reads and writes at once")]
    for i, (color, what) in enumerate(notes):
        parts.append(_text(LEFT + (0, 115, 230, 320, 490)[i], HEIGHT - 12, what, color=color, size=12))
    return parts


def _axis(bounds: tuple[float, float], start: float, stop: float):
    """A logarithmic scale to pixels."""
    low, high = map(math.log10, bounds)
    return lambda value: start + (math.log10(value) - low) / (high - low) * (stop - start)


def _ticks(bounds: tuple[float, float]) -> list[float]:
    """1, 2 and 5 times powers of 10 within a range."""
    low, high = bounds
    exponents = range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)
    return [step * 10.0**e for e in exponents for step in (1, 2, 5) if low <= step * 10.0**e <= high]


def _grid(x_range, y_range, x, y) -> list[str]:
    parts = []
    for value in _ticks(x_range):
        parts.append(_line(x(value), TOP, x(value), BOTTOM, GRID))
        parts.append(_text(x(value), BOTTOM + 18, f"{value:g}", "middle", GREY, 12))
    for value in _ticks(y_range):
        parts.append(_line(LEFT, y(value), RIGHT, y(value), GRID))
        parts.append(_text(LEFT - 8, y(value) + 4, f"{value:g}", "end", GREY, 12))
    middle = (TOP + BOTTOM) / 2
    parts.append(_text((LEFT + RIGHT) / 2, BOTTOM + 38, "MACs a byte of memory traffic, as the chip counted it",
                       "middle"))
    parts.append(f'<g transform="rotate(-90 24 {middle})">' + _text(24, middle, "MACs a cycle", "middle") + "</g>")
    return parts


def _roof(bytes_a_cycle: int, peak: int, x_range, y_range, x, y, dash: str) -> str:
    """From where the diagonal enters the plot to the knee, and flat to the right."""
    start = max(x_range[0], y_range[0] / bytes_a_cycle)
    knee, end = peak / bytes_a_cycle, x_range[1]
    corners = ((start, start * bytes_a_cycle), (knee, peak), (end, peak))
    path = " ".join(f"{x(a):.1f},{y(b):.1f}" for a, b in corners)
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
