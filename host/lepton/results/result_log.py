"""Results of inference as records: what ran, on what, and what came out."""

import hashlib
import secrets
import threading
import time
from collections.abc import Mapping

import numpy as np

from .errors import SpoolFull
from .spool import Spool

BATCH = 256  # records per commit,
BATCH_SECONDS = 1.0  # or those of so long
QUEUE = 16  # batches that may wait for the disk before inference has to


class ResultLog:
    """Writes the results of one run to a spool, in commits of up to `BATCH` records or `BATCH_SECONDS`.

    A thread of its own commits, so that inference does not wait for the disk. `model_hash`, `program_hash`
    and `config_hash` go into every record and the header of its segment, so that each result can be traced
    to what made it. `flush` (or leaving the `with`) makes the rest durable; before that, the last results
    are only in memory. A full spool does not stop inference: what it does not take is counted in `lost`,
    and by the spool as rejected. Other errors of the spool are raised by the next `add` or `flush`.
    """

    def __init__(self, spool: Spool, *, model: str, model_hash: str, program_hash: str, config_hash: str,
                 device: str, run: str | None = None):
        self.spool = spool
        self.run = run or secrets.token_hex(8)
        self._common = {"model": model, "model_hash": model_hash, "program_hash": program_hash,
                        "config_hash": config_hash, "backend": device}
        self.lost = 0
        self._limit = min(BATCH, spool.database.max_batch_bytes // 4096)
        self._changed = threading.Condition()
        self._waiting: list[dict] = []
        self._since = 0.0  # when the first of those came
        self._committing = self._flushing = 0
        self._stop = False
        self._error: Exception | None = None
        self._thread: threading.Thread | None = None

    def __enter__(self) -> "ResultLog":
        return self

    def __exit__(self, *exc) -> None:
        self.close()

    def close(self) -> None:
        """Flush, and end the thread."""
        try:
            self.flush()
        finally:
            with self._changed:
                self._stop = True
                self._changed.notify_all()
            if self._thread is not None:
                self._thread.join()
                self._thread = None

    def add(self, outputs: Mapping[str, np.ndarray], *, cycles: int, **fields) -> None:
        """One inference: digests of its outputs, their values where small, its cycles, and what else is known of it."""
        record = {**self._common, "time": time.time(), "cycles": cycles,
                  "outputs": [_describe(name, array) for name, array in outputs.items()], **fields}
        with self._changed:
            while len(self._waiting) >= QUEUE * self._limit and self._error is None:
                self._changed.wait()
            self._raise()
            if not self._waiting:
                self._since = time.monotonic()
            self._waiting.append(record)
            if self._thread is None:
                self._stop = False
                self._thread = threading.Thread(target=self._work, name="lepton-results", daemon=True)
                self._thread.start()
            elif len(self._waiting) in (1, self._limit):
                self._changed.notify_all()

    def flush(self) -> None:
        """Wait until what was added is on disk, or counted as lost."""
        with self._changed:
            self._flushing += 1
            self._changed.notify_all()
            while (self._waiting or self._committing) and self._error is None:
                self._changed.wait()
            self._flushing -= 1
            self._raise()

    def _raise(self) -> None:
        error, self._error = self._error, None
        if error is not None:
            raise error

    def _due(self) -> float:
        """Seconds until what waits is to be committed."""
        if self._stop or self._flushing or len(self._waiting) >= self._limit:
            return 0.0
        return self._since + BATCH_SECONDS - time.monotonic()

    def _work(self) -> None:
        while True:
            with self._changed:
                while not self._waiting or self._due() > 0:
                    if self._stop and not self._waiting:
                        return
                    self._changed.wait(self._due() if self._waiting else None)
                batch, self._waiting = self._waiting[:self._limit], self._waiting[self._limit:]
                self._since, self._committing = time.monotonic(), len(batch)
            lost, failure = 0, None
            try:
                self.spool.append_many(self.run, batch, origin=self._common)
            except SpoolFull:
                lost = len(batch)
            except Exception as error:
                lost, failure = len(batch), error
            with self._changed:
                self.lost += lost
                self._error = failure or self._error
                self._committing = 0
                self._changed.notify_all()


def _describe(name: str, array: np.ndarray, small: int = 64) -> dict:
    array = np.ascontiguousarray(array)
    described = {"name": name, "shape": list(array.shape), "dtype": str(array.dtype),
                 "sha256": hashlib.sha256(array.tobytes()).hexdigest()}
    if array.size <= small:
        described["values"] = array.reshape(-1).tolist()
    return described
