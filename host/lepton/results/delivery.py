"""Sends segments from an outbox to a target: several at the same time, confirmed together.

One thread does the bookkeeping: it records which segments the target may have from now on and which ones it has stored,
many in one transaction. The lanes (threads) read segments from the spool and send them; they wait neither for the
spool's disk nor for each other.
"""

import threading
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence

from .errors import TargetRefused
from .outbox import Outbox, Sealed
from .target import Target

# A transaction waits for the disk; for 128 segments at a time that wait is small against sending them (decision 15).
LOW = 128  # offer more segments when fewer than this are left for the lanes; confirm when this many are stored
WINDOW = 2 * LOW  # segments that are offered together, so that the lanes have work while the next ones are offered
CONFIRM_SECONDS = 0.5  # stored segments wait at most this long for others to be confirmed with them

_Outcome = tuple[Sealed, TargetRefused | None]


class Delivery:
    """Sends segments to `target` until none is left or one fails; calls `stored` and `refused` with the outcomes.

    `probe`: send one segment alone first, because the target has failed before. `stopping`: returns True if no further
    segment is to be sent. `identify`: raises an exception unless the target is the same as before. It is called before
    anything is offered, and again before stored segments are confirmed, since the disk or bucket may have been replaced
    in between.
    """

    def __init__(self, outbox: Outbox, target: Target, *, stored: Callable[[Sequence[Sealed]], None],
                 refused: Callable[[TargetRefused], None], stopping: Callable[[], bool], probe: bool = False,
                 identify: Callable[[], None] = lambda: None):
        self._outbox = outbox
        self._target = target
        self._stopping = stopping
        self._tell_stored = stored
        self._tell_refused = refused
        self._lanes = target.lanes
        self._group = target.group
        self._probe = probe
        self._identify = identify
        self._lock = threading.Lock()
        self._work = threading.Condition(self._lock)  # the lanes wait for it
        self._news = threading.Condition(self._lock)  # the thread of `run` waits for it
        self._last = -1  # sequence number of the last segment that was offered
        self._more = True  # whether there may be further segments to offer
        self._ready: deque[int] = deque()  # sequence numbers for the lanes
        self._under_way = 0  # segments that the lanes are sending
        self._settled: list[_Outcome] = []  # outcomes that are not recorded yet
        self._since = 0.0  # when the first of `_settled` arrived
        self._threads: list[threading.Thread] = []
        self._ended = False
        self._error: BaseException | None = None

    def run(self) -> bool:
        """Send the segments; False if there was none. Raises what the target raises."""
        try:
            while self._wait():
                self._record()
        finally:
            self._end()
        if self._error is not None:
            raise self._error
        return self._last >= 0

    def _wait(self) -> bool:
        """Wait until there is something to offer or to confirm; False when nothing more is to be begun."""
        with self._lock:
            while True:
                if self._over():
                    return False
                if self._low() or self._due():
                    return True
                self._news.wait(self._patience() if self._settled else None)

    def _over(self) -> bool:
        self._ended = self._ended or self._stopping()
        return self._ended or not (self._more or self._ready or self._under_way)

    def _low(self) -> bool:
        """Whether to offer more segments: before the lanes have none left, and after a probe has succeeded."""
        return self._more and len(self._ready) < LOW and not (self._probe and (self._under_way or self._ready))

    def _due(self) -> bool:
        """Whether to confirm stored segments now. If only the last ones are being sent, wait for them."""
        worth = len(self._settled) >= LOW and (self._more or self._ready)
        return bool(self._settled and (worth or self._patience() <= 0))

    def _patience(self) -> float:
        """Seconds that the stored segments may still wait for others."""
        return self._since + CONFIRM_SECONDS - time.monotonic()

    def _record(self) -> None:
        """One transaction: confirm the stored segments, offer the next ones, record the refused ones."""
        with self._lock:
            low = self._low()
            after = self._last
            window = 1 if self._probe else WINDOW
            settled = self._settled
            self._settled = []
        offered = self._outbox.sequences(window, after=after) if low else []
        stored = [sealed for sealed, error in settled if error is None]
        if stored or (offered and after < 0):
            self._identify()
        self._outbox.exchange(stored, offered[-1] if offered else -1, self._target.place)
        if low:
            self._hand_out(offered)
        if stored:
            self._tell_stored(stored)
        for sealed, error in settled:
            if error is not None:
                self._outbox.refuse(sealed, str(error))
                self._tell_refused(error)

    def _hand_out(self, offered: Sequence[int]) -> None:
        """Give segments to the lanes; start lanes if there are too few."""
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
            except BaseException as caught:  # also SystemExit: the thread of `run` waits for the lane's outcome
                error = caught
            self._note(len(taken), outcomes, error)

    def _take(self) -> list[int]:
        """Wait for the next segments of a lane, at most its fair share; empty when there is nothing more to do."""
        with self._lock:
            while not (self._ended or (self._ready and not (self._probe and self._under_way))):
                self._work.wait()
            if self._ended or self._stopping():
                self._news.notify()
                return []
            share = 1 if self._probe else min(self._group, -(-len(self._ready) // self._lanes))
            taken = [self._ready.popleft() for _ in range(share)]
            self._under_way += share
            if self._low():
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
        """Key and bytes of the segments that the spool still has, each read when the target asks for the next one.

        `sent` gets them without their bytes: few segments in memory at a time mean few page faults (decision 15).
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
                self._error = self._error or error
                self._ended = True
            elif self._probe and outcomes:  # a segment that the spool no longer had shows nothing about the target
                self._probe = False
                self._work.notify_all()
            first = not self._settled  # from now on the thread of `run` waits at most CONFIRM_SECONDS
            self._since = time.monotonic() if first else self._since
            self._settled.extend(outcomes)
            if first or self._over() or self._low() or self._due():
                self._news.notify()

    def _end(self) -> None:
        """Wait for the lanes, and confirm what they have stored; also after an error."""
        with self._lock:
            self._ended = True
            self._work.notify_all()
        for thread in self._threads:
            thread.join()
        with self._lock:
            self._more = False
        self._record()
