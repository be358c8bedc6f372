"""Figures and tables as plain text, for `print` and for the commands' tables."""

from collections.abc import Sequence


def grouped(value: int) -> str:
    """Digits in groups of three: 1234567 -> 1 234 567"""
    return f"{value:,}".replace(",", " ")


def scaled(value: float) -> str:
    """Three significant digits with k, M, G: 1234567 -> 1.23 M"""
    for factor, unit in ((1e9, "G"), (1e6, "M"), (1e3, "k")):
        if value >= factor:
            return f"{value / factor:.3g} {unit}" if value < factor * 999.5 else f"{value / factor:.0f} {unit}"
    return f"{value:.3g}"


def percent(value: float | None) -> str:
    """A share in percent with one decimal, without the sign; "-" for None."""
    return "-" if value is None else f"{100 * value:.1f}"


def shortened(text: str, width: int) -> str:
    """`text`, or its end after an ellipsis: names of a network's layers differ at their ends."""
    return text if len(text) <= width else f"…{text[1 - width:]}"


def milliseconds(seconds: float) -> str:
    """Three significant digits, with the unit."""
    return f"{1000 * seconds:.3g} ms"


def dimensions(shape: Sequence[int]) -> str:
    """(1, 28, 28) -> 1x28x28"""
    return "x".join(map(str, shape))


def fact_lines(pairs: Sequence[tuple[str, str]]) -> str:
    """Names and values in two columns."""
    width = max((len(name) for name, _ in pairs), default=0)
    return "\n".join(f"{name:{width}}  {value}".rstrip() for name, value in pairs)


def table(titles: Sequence[str], rows: Sequence[Sequence[str]], left: int = 1, total: bool = False) -> str:
    """Columns under titles; the first `left` are aligned to the left. `total`: the last row is a sum, below a rule."""
    widths = [max(map(len, column)) for column in zip(titles, *rows, strict=True)]

    def line(cells: Sequence[str]) -> str:
        return "  ".join(f"{cell:<{width}}" if i < left else f"{cell:>{width}}"
                         for i, (cell, width) in enumerate(zip(cells, widths, strict=True))).rstrip()

    rule = "─" * (sum(widths) + 2 * (len(widths) - 1))
    body = [line(row) for row in rows]
    if total:
        body.insert(-1, rule)
    return "\n".join([line(titles), rule, *body])
