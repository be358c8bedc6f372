"""The commands' output: at most 100 columns, and without colours or moving parts if it is not a terminal."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from rich import box
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, SpinnerColumn, TextColumn, TimeElapsedColumn
from rich.table import Table

WIDTH = 100


def make_console(stderr: bool = False) -> Console:
    """A console of at most `WIDTH` columns."""
    console = Console(stderr=stderr, highlight=False, emoji=False, markup=False)
    if not console.is_terminal or console.width > WIDTH:
        console = Console(stderr=stderr, highlight=False, emoji=False, markup=False, width=WIDTH)
    return console


def facts(pairs: list[tuple[str, str]]) -> Table:
    """A table of names and values."""
    table = Table.grid(padding=(0, 2))
    table.add_column(style="bold", no_wrap=True)
    table.add_column(overflow="fold")
    for name, value in pairs:
        table.add_row(name, value)
    return table


def columns(*names: str, left: int = 1, **options) -> Table:
    """A table; the first `left` columns are text, aligned to the left, the others are figures."""
    table = Table(box=box.SIMPLE_HEAD, padding=0, pad_edge=False, show_edge=False, **options)
    for i, name in enumerate(names):
        table.add_column(name, justify="left" if i < left else "right", no_wrap=True, overflow="ellipsis")
    return table


@contextmanager
def working(console: Console, what: str) -> Iterator[Callable[[str], None]]:
    """Shows that `what` is being done: a spinner on a terminal, otherwise lines. Yields a function for more text."""
    if console.is_terminal:
        with console.status(what) as status:
            yield lambda text: status.update(f"{what}: {text}")
    else:
        def show(text: str) -> None:
            console.print(text)
            console.file.flush()

        show(what)
        yield lambda text: show(f"  {text}")


def progress(console: Console) -> Progress:
    """A progress bar, which disappears at the end; nothing is shown if it is not a terminal."""
    return Progress(SpinnerColumn(), TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(),
                    TimeElapsedColumn(), TextColumn("{task.fields[note]}"), console=console, transient=True,
                    disable=not console.is_terminal)


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
