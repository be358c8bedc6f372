"""Threads that go on: after an unexpected error the work is taken up again, and one can see when it last was."""

import threading
import time
from collections.abc import Callable


class Worker:
    """Calls `work` over and over in a thread until `stopping`.

    An exception is handed to `failed`, which says how many seconds to wait before the next call; should that fail as
    well, it is `PATIENCE_SECONDS`. `seconds_since_turn` is the age of the last call that began.
    """

    PATIENCE_SECONDS = 1.0

    def __init__(self, name: str, work: Callable[[], object], *, failed: Callable[[BaseException], float],
                 pause: Callable[[float], None], stopping: Callable[[], bool]):
        self.name = name
        self._work = work
        self._failed = failed
        self._pause = pause
        self._stopping = stopping
        self._turn = time.monotonic()
        self._thread: threading.Thread | None = None

    def ensure_running(self) -> None:
        """Start the thread, or another in place of one that has ended. Daemons: a program's end does not wait."""
        if self._thread is None or not self._thread.is_alive():
            thread = threading.Thread(target=self._run, name=self.name, daemon=True)
            thread.start()
            self._thread = thread

    @property
    def alive(self) -> bool:
        return self._thread is not None and self._thread.is_alive()

    @property
    def seconds_since_turn(self) -> float:
        return time.monotonic() - self._turn

    def join(self, timeout: float) -> None:
        if self._thread is not None:
            self._thread.join(timeout)

    def _run(self) -> None:
        while not self._stopping():
            self._turn = time.monotonic()
            try:
                self._work()
            except BaseException as error:  # also SystemExit, with which a thread would end without a word
                self._recover(error)

    def _recover(self, error: BaseException) -> None:
        try:
            self._pause(self._failed(error))
        except BaseException:
            time.sleep(self.PATIENCE_SECONDS)
