"""The uploader: two threads that send the spool's records to a target.

It never gives up, also after unexpected errors (`worker`), and does not delay inference. One thread seals: it makes
segments, also while the target does not answer, so that a backlog is compressed and ready. The other one sends
(`delivery`). After a failure it waits for at least the time that the target asked for, or for a random time that grows
("full jitter": uniform in 0..min(cap, base * 2^failures); M. Brooker, "Exponential Backoff And Jitter", AWS
Architecture Blog, 2015). Times are measured by the monotonic clock, so the device's clock may jump.
"""

import contextlib
import os
import random
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from .delivery import Delivery
from .errors import CloudError, TargetRefused, Unavailable
from .keys import DeviceKeys
from .outbox import Outbox, Sealed
from .spool import Spool
from .target import Target
from .worker import Worker

RETRY_JITTER = 0.5  # of the time that a target asks to wait: 1000 devices told to wait 10 s return over 5 s


@dataclass(frozen=True)
class UploaderStatus:
    """Consecutive `failures`, the text of the last error, and what was stored and refused since the start.

    `idle_seconds`: seconds since the slower of the two threads last began its work. It begins nothing while it waits
    for the target or for the next attempt.
    """

    failures: int = 0
    last_error: str = ""
    segments: int = 0
    records: int = 0
    refused: int = 0  # segments
    idle_seconds: float = 0.0


class Uploader:
    """Uploads from `spool` to `target` in the background, from `start` (or `with`) to `close`.

    A segment has at most `segment_records` records and `segment_bytes` bytes before compression; a smaller one is sent
    after `linger` seconds. `backoff_base` and `backoff_cap` are in seconds.
    """

    def __init__(self, spool: Spool, target: Target, keys: DeviceKeys, *, segment_records: int = 5000,
                 segment_bytes: int = 4 << 20, linger: float = 0.5, backoff_base: float = 0.5,
                 backoff_cap: float = 300.0, rng: random.Random | None = None):
        self.spool = spool
        self.target = target
        self.outbox = Outbox(spool, keys, target.tenant)
        self._segment_records = segment_records
        self._segment_bytes = segment_bytes
        self._linger = linger
        self._backoff_base = backoff_base
        self._backoff_cap = backoff_cap
        self._rng = rng or random.Random()
        self._changed = threading.Condition()
        self._stop = False
        self._flush_until = -1  # records up to this identity are sent without waiting for `linger`
        self._waiting_since: float | None = None
        self._status = UploaderStatus()
        self._announced = False  # whether the spool's notes name this target
        self._head_due = True  # whether the target may have an older head than the spool's ledger
        self._process = os.getpid()
        self._workers = [Worker(name, work, failed=self._note_failure, pause=pause, stopping=lambda: self._stop)
                         for name, work, pause in (
                             ("lepton-sealer", self._sealer, self._pause),
                             ("lepton-sender", self._sender, self._pause_after_failure))]

    def __enter__(self) -> "Uploader":
        self.start()
        return self

    def __exit__(self, *exc) -> None:
        self.close()

    @property
    def status(self) -> UploaderStatus:
        return replace(self._status, idle_seconds=max(worker.seconds_since_turn for worker in self._workers))

    def start(self) -> None:
        """Start the threads; restart those that have ended."""
        self.spool.database.check_process()
        self._stop = False
        for worker in self._workers:
            worker.ensure_running()

    def close(self, timeout: float = 5.0) -> None:
        """Stop after the current upload; the rest stays in the spool for the next program."""
        if os.getpid() != self._process:
            return  # a forked process does not have its parent's threads
        with self._changed:
            self._stop = True
            self._changed.notify_all()
        deadline = time.monotonic() + timeout
        for worker in self._workers:
            worker.join(max(0.0, deadline - time.monotonic()))

    def flush(self, timeout: float) -> bool:
        """Wait until all records that are in the spool now are stored or refused; False after `timeout` seconds."""
        self.spool.database.check_process()
        if self._stop or not any(worker.alive for worker in self._workers):
            raise CloudError("the uploader is not running; call start() before flush()")
        self.start()
        deadline = time.monotonic() + timeout
        target = self.spool.last_record()
        with self._changed:
            self._flush_until = max(self._flush_until, target)
            self._changed.notify_all()
        while not self.outbox.settled(target) or self._head_due:
            left = deadline - time.monotonic()
            if left <= 0:
                return False
            with self._changed:
                self._changed.wait(min(left, 0.05))  # another process may be uploading: only polling shows its progress
        return True

    def step(self) -> bool:
        """Send the sealed segments, or make one and send it; False if there was nothing to send.

        Raises what the target raises.
        """
        if self._send_with_head():
            return True
        return (self.outbox.seal(self._segment_records, self._segment_bytes) is not None) and self._send_with_head()

    def _put_head(self) -> None:
        """Store the spool's signed head, if the target has confirmed anything since the last one."""
        if not self._head_due:
            return
        head = self.outbox.head(self.target.place)
        if head is not None:
            self._identify()
            try:
                self.target.put_head(*head)
            except TargetRefused as error:  # the segments are stored all the same
                self._note_refusal(error)
            if self._status.failures:
                self._note_stored(())
        with self._changed:
            self._head_due = False
            self._changed.notify_all()  # `flush`, which also waits for the head

    def _seal(self) -> bool:
        """Make a segment if there are enough records, or if it can be sent at once; True if one was made."""
        waiting, size = self.outbox.waiting()
        if not waiting:
            self._waiting_since = None
            return False
        now = time.monotonic()
        since = now if self._waiting_since is None else self._waiting_since
        self._waiting_since = since
        full = waiting >= self._segment_records or size >= self._segment_bytes
        lingered = now - since >= self._linger and not self.outbox.backlog()
        if not (full or lingered or self._flushing()):
            return False
        self._waiting_since = None
        return self.outbox.seal(self._segment_records, self._segment_bytes) is not None

    def _send(self) -> bool:
        return Delivery(self.outbox, self.target, stored=self._note_stored, refused=self._note_refusal,
                        stopping=lambda: self._stop, probe=self._status.failures > 0, identify=self._identify).run()

    def _send_with_head(self) -> bool:
        sent = self._send()
        self._put_head()
        return sent

    def _identify(self) -> None:
        """Raise `Unavailable` if this spool has used another target at the same place before."""
        self._head_due = True  # what this is called for may be confirmed next; before that, so that `flush` waits
        place = self.target.place
        known = self.spool.target_identity(place)
        found = self.target.identify(known)
        if known is None:
            self.spool.remember_target(place, found)

    def _note_stored(self, sent: Sequence[Sealed]) -> None:
        old = self._status
        with self._changed:
            self._status = replace(old, failures=0, last_error="", segments=old.segments + len(sent),
                                   records=old.records + sum(s.records for s in sent))
            self._changed.notify_all()
        if old.failures:
            self.spool.note(error="", failures="0")

    def _note_refusal(self, error: TargetRefused) -> None:
        with self._changed:
            self._status = replace(self._status, refused=self._status.refused + 1, last_error=str(error))
            self._changed.notify_all()
        self.spool.note(error=str(error))

    def _sealer(self) -> None:
        if self._seal():
            with self._changed:
                self._changed.notify_all()  # the sender
        else:
            self._pause(self._linger)

    def _sender(self) -> None:
        if not self._announced:
            self.spool.note(store=self.target.where)
            self.outbox.offer_refused()
            self._announced = True
        if not self._send_with_head():
            self._pause(self._linger)

    def _note_failure(self, error: BaseException) -> float:
        """Record the failure; returns the seconds until the next attempt."""
        text = (str(error).strip().splitlines() or [""])[0] or type(error).__name__
        if not isinstance(error, CloudError | OSError):
            text = f"unexpected {type(error).__name__}: {text}"
        with self._changed:
            failures = self._status.failures + 1
            self._status = replace(self._status, failures=failures, last_error=text)
        with contextlib.suppress(CloudError):  # the spool itself may have failed
            self.spool.note(error=text, failures=str(failures))
        asked = error.retry_after if isinstance(error, Unavailable) else None
        if asked is not None:  # a floor, since a target may ask for 0 s, and jitter, since it asks all devices
            return min(max(asked, self._backoff_base) * self._rng.uniform(1, 1 + RETRY_JITTER), self._backoff_cap)
        delay = self._rng.uniform(0, min(self._backoff_cap, self._backoff_base * 2 ** min(failures - 1, 60)))
        return min(delay, 1.0) if self._flushing() else delay  # a caller of `flush` is waiting

    def _flushing(self) -> bool:
        if self._stop:
            return True
        with contextlib.suppress(CloudError):  # a spool that cannot be read is tried again soon
            return self._flush_until >= 0 and not self.outbox.settled(self._flush_until)
        return True

    def _pause(self, seconds: float) -> None:
        """Wait for `seconds`, or until something has changed."""
        self._wait(seconds, lambda: True)

    def _pause_after_failure(self, seconds: float) -> None:
        """Wait for `seconds`, or until the next call of `flush`."""
        flush = self._flush_until
        self._wait(seconds, lambda: self._flush_until != flush)

    def _wait(self, seconds: float, enough: Callable[[], bool]) -> None:
        deadline = time.monotonic() + seconds
        with self._changed:
            while not self._stop and (left := deadline - time.monotonic()) > 0:
                if self._changed.wait(left) and enough():
                    return
