"""Rows in processes of their own: what one uses up, or breaks, the next does not see."""

import multiprocessing
import signal
import time
import traceback
from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
from pathlib import Path

from .catalog import Entry
from .measure import Measurement, failed, measure

POLL_SECONDS = 0.5
STOP_SECONDS = 5.0

Progress = Callable[[Entry, str, float], None]  # row, what it does, seconds since its start


def run_rows(entries: Iterable[Entry], config: str = "base", memory: str = "default",
             progress: Progress = lambda entry, text, seconds: None, target=measure) -> Iterator[Measurement]:
    """Measure row after row, each in a fresh process; a row that fails gives a `Measurement` with `error`.

    `target` is what runs in the process, with the arguments of `measure`; it must be importable.
    """
    for entry in entries:
        yield _run(entry, config, memory, progress, target)


def _run(entry: Entry, config: str, memory: str, progress: Progress, target) -> Measurement:
    context = multiprocessing.get_context("spawn")  # a fork would carry our threads and memory along
    ours, theirs = context.Pipe(duplex=False)
    process = context.Process(target=_work, args=(theirs, target, entry, config, memory), daemon=True)
    started, text, answer = time.monotonic(), "starting", None
    process.start()
    theirs.close()
    try:
        while answer is None:
            if ours.poll(POLL_SECONDS):
                try:
                    kind, value = ours.recv()
                except EOFError:
                    break
                text, answer = (value, None) if kind == "progress" else (text, value)
            progress(entry, text, time.monotonic() - started)
        process.join(STOP_SECONDS)
    finally:
        ours.close()
        if process.is_alive():
            process.terminate()
            process.join()
    seconds = time.monotonic() - started
    if answer is None:
        answer = f"its process ended with {_exit(process.exitcode)}, while {text}"
    if isinstance(answer, str):
        return failed(entry, config, memory, answer, seconds)
    return replace(answer, seconds=seconds)


def _work(pipe, target, entry: Entry, config: str, memory: str) -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the parent's to handle
    try:
        result = target(entry, config, memory, lambda text: pipe.send(("progress", text)))
    except Exception as error:
        last = traceback.extract_tb(error.__traceback__)[-1]
        result = f"{type(error).__name__}: {error} ({Path(last.filename).name}:{last.lineno})"
    pipe.send(("done", result))


def _exit(code: int | None) -> str:
    if code is not None and code < 0:
        hint = ", perhaps for want of memory" if -code == signal.SIGKILL else ""
        return f"signal {signal.Signals(-code).name}{hint}"
    return f"status {code}"
