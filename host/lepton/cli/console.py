"""The commands' output: at most 100 columns, and without colours or moving parts if it is not a terminal."""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from rich import box
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, SpinnerColumn, TextColumn, TimeElapsedColumn
from rich.table import Table

from ..text import grouped, percent, scaled, shortened

__all__ = ["calibrating", "columns", "facts", "grouped", "make_console", "percent", "progress", "scaled", "shortened",
           "working"]

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


def calibrating(say: Callable[[str], None]) -> Callable[..., None]:
    """The callback of front ends: number of calibration inputs done, and their total if it is known.

    It says so at most once a second, and at the end.
    """
    first: tuple[float, int] | None = None  # time and count of the first report: what comes before it is preparation
    last = time.monotonic()

    def report(done: int, total: int | None = None) -> None:
        nonlocal first, last
        now = time.monotonic()
        if first is None:
            first = now, done
        if now - last < 1 and done != total:
            return
        last = now
        left = ""
        if total is not None and first[1] < done < total:
            left = f", about {(total - done) * (now - first[0]) / (done - first[1]):.0f} s left"
        say(f"calibration, {done}{f' of {total}' if total else ''} inputs{left}")

    return report


def progress(console: Console) -> Progress:
    """A progress bar, which disappears at the end; nothing is shown if it is not a terminal."""
    return Progress(SpinnerColumn(), TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(),
                    TimeElapsedColumn(), TextColumn("{task.fields[note]}"), console=console, transient=True,
                    disable=not console.is_terminal)
