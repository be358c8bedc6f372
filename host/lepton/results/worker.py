"""A thread that repeats its work, also after an unexpected error, and shows when the work last began."""

import threading
import time
from collections.abc import Callable


class Worker:
    """Calls `work` repeatedly in a thread until `stopping` returns True.

    `failed` gets each exception and returns the seconds to wait before the next call; `pause` waits. If one of them
    raises an exception itself, the pause is `PATIENCE_SECONDS`.
    """

    PATIENCE_SECONDS = 1.0  # a loop that always fails must not occupy a processor

    def __init__(self, name: str, work: Callable[[], object], *, failed: Callable[[BaseException], float],
                 pause: Callable[[float], object], stopping: Callable[[], bool]):
        self.name = name
        self._work = work
        self._failed = failed
        self._pause = pause
        self._stopping = stopping
        self._turn = time.monotonic()
        self._thread: threading.Thread | None = None

    def ensure_running(self) -> None:
        """Start the thread, also again after it has ended. It is a daemon, so it does not delay the program's exit."""
        if self._thread is None or not self._thread.is_alive():
            thread = threading.Thread(target=self._run, name=self.name, daemon=True)
            thread.start()
            self._thread = thread

    @property
    def alive(self) -> bool:
        return self._thread is not None and self._thread.is_alive()

    @property
    def seconds_since_turn(self) -> float:
        """Seconds since the last call of `work` began."""
        return time.monotonic() - self._turn

    def join(self, timeout: float) -> None:
        if self._thread is not None:
            self._thread.join(timeout)

    def _run(self) -> None:
        while not self._stopping():
            self._turn = time.monotonic()
            try:
                self._work()
            except BaseException as error:  # also SystemExit, which would end the thread without a message
                self._recover(error)

    def _recover(self, error: BaseException) -> None:
        try:
            self._pause(self._failed(error))
        except BaseException:
            time.sleep(self.PATIENCE_SECONDS)
