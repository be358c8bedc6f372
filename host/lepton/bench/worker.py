"""Runs each row in its own process: memory that one row uses, or its crash, does not affect the next one."""

import multiprocessing
import signal
import time
import traceback
from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
from multiprocessing.connection import Connection
from pathlib import Path

from ..arch import ChipConfig
from .catalog import Entry
from .measure import Measurement, failed, measure

POLL_SECONDS = 0.5  # between updates of the progress line
STOP_SECONDS = 5.0  # for a process to end after its answer

Progress = Callable[[Entry, str, float], None]  # row, what it is doing, seconds since its start
Measure = Callable[[Entry, str | ChipConfig, str, Callable[[str], None]], Measurement]


def run_rows(entries: Iterable[Entry], config: str | ChipConfig = "base", memory: str = "default",
             progress: Progress = lambda entry, text, seconds: None, target: Measure = measure
             ) -> Iterator[Measurement]:
    """Measure one row after the other, each in a new process; a row that fails gives a `Measurement` with `error`.

    `target` is called in the process with the arguments of `measure`; it must be importable.
    """
    for entry in entries:
        yield _run(entry, config, memory, progress, target)


def _run(entry: Entry, config: str | ChipConfig, memory: str, progress: Progress, target: Measure) -> Measurement:
    context = multiprocessing.get_context("spawn")  # a forked process would have this one's memory and locks
    ours, theirs = context.Pipe(duplex=False)
    process = context.Process(target=_work, args=(theirs, target, entry, config, memory), daemon=True)
    started = time.monotonic()
    text = "starting"
    answer: Measurement | str | None = None
    process.start()
    theirs.close()
    try:
        while answer is None:
            if ours.poll(POLL_SECONDS):
                try:
                    kind, value = ours.recv()
                except EOFError:
                    break
                if kind == "progress":
                    text = value
                else:
                    answer = value
            progress(entry, text, time.monotonic() - started)
        process.join(STOP_SECONDS)
    finally:
        ours.close()
        if process.is_alive():
            process.terminate()
            process.join()
    seconds = time.monotonic() - started
    if answer is None:
        answer = f"its process ended with {_exit(process.exitcode)} while {text}"
    if isinstance(answer, str):
        return failed(entry, config, memory, answer, seconds)
    return replace(answer, seconds=seconds)


def _work(pipe: Connection, target: Measure, entry: Entry, config: str | ChipConfig, memory: str) -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent process handles Ctrl-C
    result: Measurement | str
    try:
        result = target(entry, config, memory, lambda text: pipe.send(("progress", text)))
    except Exception as error:
        last = traceback.extract_tb(error.__traceback__)[-1]
        result = f"{type(error).__name__}: {error} ({Path(last.filename).name}:{last.lineno})"
    pipe.send(("done", result))


def _exit(code: int | None) -> str:
    if code is not None and code < 0:
        hint = " (perhaps the machine ran out of memory)" if -code == signal.SIGKILL else ""
        return f"signal {signal.Signals(-code).name}{hint}"
    return f"status {code}"
