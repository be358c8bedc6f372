"""The uploader: a thread that carries the spool's records to the store.

It never gives up and never stands in the way of inference: it works on the
spool's own connection only for moments, and what fails is tried again after a
random time that grows (full jitter: uniform in 0..min(cap, base * 2^failures)).
"""

import contextlib
import random
import threading
import time
from dataclasses import dataclass

from .errors import CloudError
from .spool import Spool
from .store import Store


@dataclass(frozen=True)
class UploaderStatus:
    """`failures` in a row, the text of the last one, and what has been stored since the start."""

    failures: int
    last_error: str
    segments: int
    records: int


class Uploader:
    """Uploads from `spool` to `store` in the background from `start` (or `with`) to `close`.

    A segment is made of at most `segment_records` records or `segment_bytes`
    bytes before compression; fewer leave after `linger` seconds. Backoff times are in seconds.
    """

    def __init__(self, spool: Spool, store: Store, *, segment_records: int = 5000, segment_bytes: int = 4 << 20,
                 linger: float = 0.5, backoff_base: float = 0.5, backoff_cap: float = 300.0,
                 rng: random.Random | None = None):
        self.spool, self.store = spool, store
        self._segment_records, self._segment_bytes = segment_records, segment_bytes
        self._linger, self._backoff_base, self._backoff_cap = linger, backoff_base, backoff_cap
        self._rng = rng or random.Random()
        self._changed = threading.Condition()
        self._stop = False
        self._flush_until = 0  # records up to this identity are not to linger
        self._status = UploaderStatus(0, "", 0, 0)
        self._thread: threading.Thread | None = None

    def __enter__(self) -> "Uploader":
        self.start()
        return self

    def __exit__(self, *exc) -> None:
        self.close()

    @property
    def status(self) -> UploaderStatus:
        return self._status

    def start(self) -> None:
        if self._thread is None:
            # a daemon: leaving the program does not wait for a store; the spool keeps what is left
            self._thread = threading.Thread(target=self._run, name="lepton-uploader", daemon=True)
            self._thread.start()

    def close(self, timeout: float = 5.0) -> None:
        """Stop after the upload that is under way; what is left stays in the spool for the next time."""
        with self._changed:
            self._stop = True
            self._changed.notify_all()
        if self._thread is not None:
            self._thread.join(timeout)

    def flush(self, timeout: float) -> bool:
        """Wait until all records that are in the spool now are stored; False if `timeout` seconds did not suffice."""
        if self._thread is None or not self._thread.is_alive():
            raise CloudError("the uploader is not running; call start() before flush()")
        deadline = time.monotonic() + timeout
        target = self.spool.last_record()
        with self._changed:
            self._flush_until = max(self._flush_until, target)
            self._changed.notify_all()
            while self.spool.left_until(target):
                left = deadline - time.monotonic()
                if left <= 0:
                    return False
                self._changed.wait(min(left, 0.25))  # another process may be the one that uploads
            return True

    def step(self) -> bool:
        """Upload one segment if there is one to be had; False if there was not. Raises what the store raises."""
        segment = self.spool.sealed() or self._seal()
        if segment is None:
            return False
        self.store.put_new(segment.key, segment.body)
        self.spool.confirm(segment)
        old = self._status
        with self._changed:
            self._status = UploaderStatus(0, "", old.segments + 1, old.records + segment.records)
            self._changed.notify_all()
        if old.failures:
            self.spool.note_upload(error="", failures="0")
        return True

    def _seal(self):
        waiting, size = self.spool.waiting()
        if not waiting:
            return None
        if waiting < self._segment_records and size < self._segment_bytes and not self._flushing():
            self._pause(self._linger)
        return self.spool.seal(self._segment_records, self._segment_bytes)

    def _run(self) -> None:
        with contextlib.suppress(CloudError):
            self.spool.note_upload(store=self.store.where)
        while not self._stop:
            try:
                if not self.step():
                    self._pause(self._linger)
            except Exception as error:
                self._pause(self._note_failure(error))

    def _note_failure(self, error: Exception) -> float:
        """Record the failure; seconds until the next try."""
        old = self._status
        failures = old.failures + 1
        text = (str(error).strip().splitlines() or [type(error).__name__])[0]
        self._status = UploaderStatus(failures, text, old.segments, old.records)
        with contextlib.suppress(CloudError):  # the spool itself may be what fails
            self.spool.note_upload(error=text, failures=str(failures))
        delay = self._rng.uniform(0, min(self._backoff_cap, self._backoff_base * 2 ** min(failures - 1, 60)))
        return min(delay, 1.0) if self._flushing() else delay  # someone waits for it

    def _flushing(self) -> bool:
        return self._stop or bool(self._flush_until and self.spool.left_until(self._flush_until))

    def _pause(self, seconds: float) -> None:
        with self._changed:
            if not self._stop:
                self._changed.wait(seconds)
