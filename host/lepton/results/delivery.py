"""Segments on their way from an outbox to a target: several under way at once, confirmed together.

One thread keeps the books: it notes which segments the target may have from now on and which it has, many in one
transaction. The lanes read segments from the spool and send them; they wait neither for the spool's disk nor for each
other.
"""

import threading
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence

from .errors import TargetRefused
from .outbox import Outbox, Sealed
from .target import Target

WINDOW = 128  # segments that are offered together, once it is known that the target answers
LOW = 64  # segments left for the lanes with which more are offered, and stored ones that are worth a confirmation
CONFIRM_SECONDS = 0.5  # that what is stored may wait for others to be confirmed with

_Outcome = tuple[Sealed, TargetRefused | None]


class Delivery:
    """Segments to `target` until none is left or one fails; `stored` and `refused` are told what came of them.

    A target that has failed is sent one segment first (`probe`). `stopping` says whether to begin no more. `identify`
    raises unless the target is the one that it was: it is called before anything is offered, and again before what
    came back as stored is confirmed, since the disk or bucket may have been replaced in between.
    """

    def __init__(self, outbox: Outbox, target: Target, *, stored: Callable[[Sequence[Sealed]], None],
                 refused: Callable[[TargetRefused], None], stopping: Callable[[], bool], probe: bool = False,
                 identify: Callable[[], None] = lambda: None):
        self._outbox, self._target, self._stopping = outbox, target, stopping
        self._tell_stored, self._tell_refused = stored, refused
        self._lanes, self._group = getattr(target, "lanes", 1), getattr(target, "group", 1)
        self._probe, self._identify = probe, identify
        self._lock = threading.Lock()
        self._work = threading.Condition(self._lock)  # for the lanes
        self._news = threading.Condition(self._lock)  # for the thread of `run`
        self._last, self._more = -1, True  # what has been offered, and whether there may be more
        self._ready: deque[int] = deque()  # sequence numbers for the lanes
        self._under_way = 0
        self._settled: list[_Outcome] = []
        self._since = 0.0  # when the first of those came
        self._threads: list[threading.Thread] = []
        self._ended = False
        self._error: BaseException | None = None

    def run(self) -> bool:
        """Do it; False if there was nothing to send. Raises what the target raises."""
        try:
            while self._wait():
                self._keep_books()
        finally:
            self._end()
        if self._error is not None:
            raise self._error
        return self._last >= 0

    def _wait(self) -> bool:
        """Until there is something to offer or to confirm; False when all is done but what is under way."""
        with self._lock:
            while True:
                if self._over():
                    return False
                if self._hungry() or self._due():
                    return True
                self._news.wait(self._patience() if self._settled else None)

    def _over(self) -> bool:
        self._ended = self._ended or self._stopping()
        return self._ended or not (self._more or self._ready or self._under_way)

    def _hungry(self) -> bool:
        """Whether to offer more: before the lanes run dry, but only when it is known how a probe went."""
        return self._more and len(self._ready) < LOW and not (self._probe and (self._under_way or self._ready))

    def _due(self) -> bool:
        """Whether to confirm what has come back; when only the last are under way, they are waited for."""
        worth = len(self._settled) >= LOW and (self._more or self._ready)
        return bool(self._settled and (worth or self._patience() <= 0))

    def _patience(self) -> float:
        """Seconds that what has come back may still wait for others."""
        return self._since + CONFIRM_SECONDS - time.monotonic()

    def _keep_books(self) -> None:
        with self._lock:
            hungry, after, window = self._hungry(), self._last, 1 if self._probe else WINDOW
            settled, self._settled = self._settled, []
        offered = self._outbox.sequences(window, after=after) if hungry else []
        stored = [sealed for sealed, error in settled if error is None]
        if stored or (offered and after < 0):
            self._identify()
        self._outbox.exchange(stored, offered[-1] if offered else -1)
        if hungry:
            self._hand_out(offered)
        if stored:
            self._tell_stored(stored)
        for sealed, error in settled:
            if error is not None:
                self._outbox.refuse(sealed, str(error))
                self._tell_refused(error)

    def _hand_out(self, offered: Sequence[int]) -> None:
        with self._lock:
            self._more = bool(offered)
            self._last = max([self._last, *offered])
            self._ready.extend(offered)
            self._work.notify_all()
            while len(self._threads) < min(self._lanes, self._under_way + len(self._ready)):
                lane = threading.Thread(target=self._lane, name="lepton-lane", daemon=True)
                try:
                    lane.start()
                except RuntimeError:  # the system gives no more threads
                    if not self._threads:
                        raise
                    break
                self._threads.append(lane)

    def _lane(self) -> None:
        while taken := self._take():
            outcomes: list[_Outcome] = []
            error: BaseException | None = None
            try:
                outcomes = self._send(taken)
            except BaseException as caught:  # also SystemExit: whoever waits for the lane must learn of it
                error = caught
            self._note(len(taken), outcomes, error)

    def _take(self) -> list[int]:
        """The next segments for a lane, as soon as there are some: the lanes' fair shares; none when it is over."""
        with self._lock:
            while not (self._ended or (self._ready and not (self._probe and self._under_way))):
                self._work.wait()
            if self._ended or self._stopping():
                self._news.notify()
                return []
            share = 1 if self._probe else min(self._group, -(-len(self._ready) // self._lanes))
            taken = [self._ready.popleft() for _ in range(share)]
            self._under_way += share
            if self._hungry():
                self._news.notify()
            return taken

    def _send(self, sequences: Sequence[int]) -> list[_Outcome]:
        if len(sequences) == 1:
            return self._send_one(sequences[0])
        sent: dict[str, Sealed] = {}
        left = self._target.put_all(self._objects(sequences, sent))
        singly = [outcome for key in left for outcome in self._send_one(sent.pop(key).sequence)]
        return [(sealed, None) for sealed in sent.values()] + singly

    def _send_one(self, sequence: int) -> list[_Outcome]:
        sent: dict[str, Sealed] = {}
        for key, data in self._objects([sequence], sent):
            try:
                self._target.put_new(key, data)
            except TargetRefused as refusal:
                return [(sent[key], refusal)]
        return [(sealed, None) for sealed in sent.values()]

    def _objects(self, sequences: Sequence[int], sent: dict[str, Sealed]) -> Iterator[tuple[str, bytes]]:
        """Key and bytes of the segments that are there, read one after the other, as the target takes them.

        What is noted in `sent` is without its bytes: memory is as warm as few of them are alive.
        """
        for sequence in sequences:
            sealed = self._outbox.read(sequence)
            if sealed is not None:
                sent[sealed.key] = Sealed(sealed.sequence, sealed.key, sealed.records, b"")
                yield sealed.key, sealed.data

    def _note(self, taken: int, outcomes: Sequence[_Outcome], error: BaseException | None) -> None:
        with self._lock:
            self._under_way -= taken
            if error is not None:
                self._error, self._ended = self._error or error, True
            elif self._probe and outcomes:  # one that was not there any more says nothing of the target
                self._probe = False
                self._work.notify_all()
            first = not self._settled  # that the thread of `run` is to have patience with
            self._since = time.monotonic() if first else self._since
            self._settled.extend(outcomes)
            if first or self._over() or self._hungry() or self._due():
                self._news.notify()

    def _end(self) -> None:
        """Whatever happened, what is under way comes to its end and what is stored is confirmed."""
        with self._lock:
            self._ended = True
            self._work.notify_all()
        for thread in self._threads:
            thread.join()
        with self._lock:
            self._more = False
        self._keep_books()
