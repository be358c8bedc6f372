"""One run of a session at a time."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager

from .errors import RuntimeModelError


class RunLock:
    """What a session and its states share: held for each run, and for each change between runs."""

    def __init__(self, model: str) -> None:
        self._model = model
        self._lock = threading.RLock()
        self._running = False

    @contextmanager
    def held(self, what: str) -> Iterator[None]:
        """Inside, no run is under way; waits for one of another thread.

        `what` is about to be done, for the text of the `RuntimeModelError` that a call from the `progress` of an own
        run gets.
        """
        with self._lock:
            if self._running:  # another thread's run has the lock
                raise RuntimeModelError(f"the session of model {self._model!r} cannot be {what} from the progress of "
                                        "its own run; do so when the run has returned")
            yield

    @contextmanager
    def run(self) -> Iterator[None]:
        """Inside, a run is under way. Raises as `held` does."""
        with self.held("run"):
            self._running = True
            try:
                yield
            finally:
                self._running = False
