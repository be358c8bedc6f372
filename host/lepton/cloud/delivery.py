"""Segments on their way from an outbox to a target: read ahead, several under way at once, confirmed together.

Whoever sends never waits for the spool's disk: the next segments are read and marked as offered, and those that
are stored confirmed, meanwhile, each in one transaction for many.
"""

import threading
import time
from collections import deque
from collections.abc import Callable, Sequence

from .errors import Refused
from .outbox import Outbox, Sealed
from .target import Target

WINDOW = 32  # segments that are read, offered and confirmed together
CONFIRM_SECONDS = 0.5  # that what is stored may wait for others to be confirmed with


class Delivery:
    """Segments to `target` until none is left or one fails; `stored` and `refused` are told what came of them.

    A target that has failed is offered one segment first (`probe`). `stopping` says whether to begin no more.
    """

    def __init__(self, outbox: Outbox, target: Target, *, stored: Callable[[Sequence[Sealed]], None],
                 refused: Callable[[Refused], None], stopping: Callable[[], bool], probe: bool = False):
        self._outbox, self._target, self._stopping, self._probe = outbox, target, stopping, probe
        self._tell_stored, self._tell_refused = stored, refused
        self._lanes = getattr(target, "lanes", 1)
        self._changed = threading.Condition()  # its lock is reentrant
        self._ready: deque[Sealed] = deque()
        self._settled: list[tuple[Sealed, Refused | None]] = []
        self._since = 0.0  # when the first of those came
        self._under_way = 0
        self._threads: list[threading.Thread] = []
        self._ended = False
        self._error: Exception | None = None

    def run(self) -> bool:
        """Send until nothing is left or something fails; False if there was nothing. Raises what the target raises."""
        last, more = -1, True
        try:
            while not self._over(more):
                if more and self._hungry():
                    window = self._outbox.next(1 if self._probe else WINDOW, after=last)
                    more = bool(window)
                    if window:
                        last = window[-1].sequence
                        self._outbox.offer(window)
                        self._hand_over(window)
                elif self._due():
                    self._settle()
                else:
                    self._wait(more)
        finally:
            self._end()
        if self._error is not None:
            raise self._error
        return last >= 0

    def _over(self, more: bool) -> bool:
        """Whether nothing is left to do here but to let what is under way come to its end."""
        with self._changed:
            self._ended = self._ended or self._stopping()
            return self._ended or not (more or self._ready or self._under_way)

    def _hungry(self) -> bool:
        """Whether to read on: before the lanes run dry, but only when it is known how a probe went."""
        with self._changed:
            return not (self._under_way or self._ready) if self._probe else len(self._ready) < WINDOW // 2

    def _due(self) -> bool:
        with self._changed:
            return bool(self._settled) and (len(self._settled) >= WINDOW or self._patience() <= 0)

    def _patience(self) -> float:
        """Seconds that what has come back may still wait for others."""
        return self._since + CONFIRM_SECONDS - time.monotonic()

    def _wait(self, more: bool) -> None:
        """Until one of the above may have changed."""
        with self._changed:
            if not self._over(more) and not (more and self._hungry()) and not self._due():
                self._changed.wait(self._patience() if self._settled else None)

    def _hand_over(self, window: Sequence[Sealed]) -> None:
        with self._changed:
            self._ready.extend(window)
            self._changed.notify_all()
            while len(self._threads) < min(self._lanes, self._under_way + len(self._ready)):
                thread = threading.Thread(target=self._lane, name="lepton-lane", daemon=True)
                self._threads.append(thread)
                thread.start()

    def _lane(self) -> None:
        while True:
            with self._changed:
                while not (self._ready or self._ended):
                    self._changed.wait()
                if self._ended or self._stopping():
                    self._ended = True
                    self._changed.notify_all()
                    return
                sealed = self._ready.popleft()
                self._under_way += 1
            error = None
            try:
                self._target.put_new(sealed.key, sealed.data)
            except Exception as caught:
                error = caught
            with self._changed:
                self._under_way -= 1
                if error is None or isinstance(error, Refused):
                    self._probe = False
                    self._since = self._since if self._settled else time.monotonic()
                    self._settled.append((sealed, error))
                else:
                    self._error, self._ended = self._error or error, True
                self._changed.notify_all()

    def _settle(self) -> None:
        with self._changed:
            settled, self._settled = self._settled, []
        stored = [sealed for sealed, error in settled if error is None]
        if stored:
            self._outbox.confirm(stored)
            self._tell_stored(stored)
        for sealed, error in settled:
            if error is not None:
                self._outbox.refuse(sealed, str(error))
                self._tell_refused(error)

    def _end(self) -> None:
        """Whatever happened, what is under way comes to its end and what is stored is confirmed."""
        with self._changed:
            self._ended = True
            self._changed.notify_all()
        for thread in self._threads:
            thread.join()
        self._settle()
