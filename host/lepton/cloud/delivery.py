"""Segments on their way from an outbox to a target: read ahead, several under way at once, confirmed together.

Those that send never wait for the spool's disk: meanwhile this thread reads the next segments and marks them as
offered, and confirms those that are stored, many in one transaction.
"""

import threading
import time
from collections import deque
from collections.abc import Callable, Sequence

from .errors import Refused
from .outbox import Outbox, Sealed
from .target import Target

WINDOW = 64  # segments that are read and offered together, once it goes well
LOW = 32  # ready segments with which reading begins again, and stored ones that are worth a confirmation
CONFIRM_SECONDS = 0.5  # that what is stored may wait for others to be confirmed with


class Delivery:
    """Segments to `target` until none is left or one fails; `stored` and `refused` are told what came of them.

    A target that has failed is sent one segment first (`probe`). `stopping` says whether to begin no more.
    """

    def __init__(self, outbox: Outbox, target: Target, *, stored: Callable[[Sequence[Sealed]], None],
                 refused: Callable[[Refused], None], stopping: Callable[[], bool], probe: bool = False):
        self._outbox, self._target, self._stopping = outbox, target, stopping
        self._tell_stored, self._tell_refused = stored, refused
        self._lanes = getattr(target, "lanes", 1)
        self._probe, self._window = probe, self._lanes  # the first leave before many are read
        self._lock = threading.Lock()
        self._work = threading.Condition(self._lock)  # for the lanes
        self._news = threading.Condition(self._lock)  # for the thread of `run`
        self._last, self._more = -1, True  # what has been read, and whether there is more
        self._ready: deque[Sealed] = deque()
        self._settled: list[tuple[Sealed, Refused | None]] = []
        self._since = 0.0  # when the first of those came
        self._under_way = 0
        self._threads: list[threading.Thread] = []
        self._ended = False
        self._error: Exception | None = None

    def run(self) -> bool:
        """Do it; False if there was nothing to send. Raises what the target raises."""
        try:
            while step := self._next_step():
                step()
        finally:
            self._end()
        if self._error is not None:
            raise self._error
        return self._last >= 0

    def _next_step(self) -> Callable[[], None] | None:
        """What is to be done next, once there is something; None when all is done but what is under way."""
        with self._lock:
            while True:
                if self._over():
                    return None
                if self._hungry():
                    return self._read
                if self._due():
                    return self._settle
                self._news.wait(self._patience() if self._settled else None)

    def _over(self) -> bool:
        self._ended = self._ended or self._stopping()
        return self._ended or not (self._more or self._ready or self._under_way)

    def _hungry(self) -> bool:
        """Whether to read on: before the lanes run dry, but only when it is known how a probe went."""
        return self._more and (not (self._under_way or self._ready) if self._probe else len(self._ready) < LOW)

    def _due(self) -> bool:
        """Whether to confirm what has come back; when only the last are under way, they are waited for."""
        worth = len(self._settled) >= LOW and (self._more or self._ready)
        return bool(self._settled and (worth or self._patience() <= 0))

    def _patience(self) -> float:
        """Seconds that what has come back may still wait for others."""
        return self._since + CONFIRM_SECONDS - time.monotonic()

    def _read(self) -> None:
        window = self._outbox.next(self._window, after=self._last)
        self._settle(window)
        with self._lock:
            self._more = bool(window)
            if window:
                self._last, self._window = window[-1].sequence, min(2 * self._window, WINDOW)
            self._ready.extend(window)
            self._work.notify(len(window))
            while len(self._threads) < min(self._lanes, self._under_way + len(self._ready)):
                self._threads.append(threading.Thread(target=self._lane, name="lepton-lane", daemon=True))
                self._threads[-1].start()

    def _lane(self) -> None:
        with self._lock:
            while True:
                while not (self._ended or (self._ready and not (self._probe and self._under_way))):
                    self._work.wait()
                if self._ended or self._stopping():
                    self._news.notify()
                    return
                sealed = self._ready.popleft()
                self._under_way += 1
                self._lock.release()
                error = None
                try:
                    self._target.put_new(sealed.key, sealed.data)
                except Exception as caught:
                    error = caught
                finally:
                    self._lock.acquire()
                self._under_way -= 1
                self._note(sealed, error)
                if self._over() or self._hungry() or self._due():
                    self._news.notify()

    def _note(self, sealed: Sealed, error: Exception | None) -> None:
        if error is not None and not isinstance(error, Refused):
            self._error, self._ended = self._error or error, True
            return
        if self._probe:
            self._probe = False
            self._work.notify_all()
        self._since = self._since if self._settled else time.monotonic()
        self._settled.append((sealed, error))

    def _settle(self, offered: Sequence[Sealed] = ()) -> None:
        """Put down what came back, and that others are to go."""
        with self._lock:
            settled, self._settled = self._settled, []
        stored = [sealed for sealed, error in settled if error is None]
        self._outbox.exchange(stored, offered)
        if stored:
            self._tell_stored(stored)
        for sealed, error in settled:
            if error is not None:
                self._outbox.refuse(sealed, str(error))
                self._tell_refused(error)

    def _end(self) -> None:
        """Whatever happened, what is under way comes to its end and what is stored is confirmed."""
        with self._lock:
            self._ended = True
            self._work.notify_all()
        for thread in self._threads:
            thread.join()
        self._settle()
