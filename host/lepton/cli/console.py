"""What the commands print with: sober, at most 100 columns, plain when not on a terminal."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from rich import box
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, SpinnerColumn, TextColumn, TimeElapsedColumn
from rich.table import Table

WIDTH = 100


def make_console(stderr: bool = False) -> Console:
    console = Console(stderr=stderr, highlight=False, emoji=False, markup=False)
    if not console.is_terminal or console.width > WIDTH:
        console = Console(stderr=stderr, highlight=False, emoji=False, markup=False, width=WIDTH)
    return console


def facts(pairs: list[tuple[str, str]]) -> Table:
    """Two columns: what, and its value."""
    table = Table.grid(padding=(0, 2))
    table.add_column(style="bold", no_wrap=True)
    table.add_column(overflow="fold")
    for name, value in pairs:
        table.add_row(name, value)
    return table


def columns(*names: str, left: int = 1, **options) -> Table:
    """A table whose first `left` columns are text and the others figures; a space divides them."""
    table = Table(box=box.SIMPLE_HEAD, padding=0, pad_edge=False, show_edge=False, **options)
    for i, name in enumerate(names):
        table.add_column(name, justify="left" if i < left else "right", no_wrap=True, overflow="ellipsis")
    return table


@contextmanager
def working(console: Console, what: str) -> Iterator[Callable[[str], None]]:
    """A spinner on a terminal, lines elsewhere, while something takes its time; yields how to say more."""
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
    """A bar for counted work, which disappears when it is done; silent when not on a terminal."""
    return Progress(SpinnerColumn(), TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(),
                    TimeElapsedColumn(), TextColumn("{task.fields[note]}"), console=console, transient=True,
                    disable=not console.is_terminal)


def grouped(value: int) -> str:
    """1234567 -> 1 234 567"""
    return f"{value:,}".replace(",", " ")


def scaled(value: float) -> str:
    """Three significant digits with k, M, G: 1234567 -> 1.23 M"""
    for factor, unit in ((1e9, "G"), (1e6, "M"), (1e3, "k")):
        if value >= factor:
            return f"{value / factor:.3g} {unit}" if value < factor * 999.5 else f"{value / factor:.0f} {unit}"
    return f"{value:.3g}"


def percent(value: float | None) -> str:
    return "-" if value is None else f"{100 * value:.1f}"


def shortened(text: str, width: int) -> str:
    """Long names keep their end, which is what tells the layers of a network apart."""
    return text if len(text) <= width else f"…{text[1 - width:]}"
