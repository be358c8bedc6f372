"""Writes results of inference as records: the model, the device, the cycles and the outputs."""

import contextlib
import os
import secrets
import threading
import time
from collections import deque
from collections.abc import Mapping
from types import MappingProxyType

import numpy as np

from .errors import RecordError, SpoolError, SpoolFull
from .outputs import FULL, FULL_BYTES, MODES, Scale, describe
from .segment import check_name
from .spool import Spool

BATCH = 256  # records per commit; with it the spool takes more than 20 000 records a second (docs/cloud.md, Figures)
BATCH_SECONDS = 1.0  # a smaller batch is committed after this time, so a crash loses at most the results of 1 s
QUEUE = 16  # batches that may wait for the disk; then `add` waits. At 1000 results a second that is 4 s


class ResultLog:
    """Writes the results of one run to a spool, in commits of up to `BATCH` records or `BATCH_SECONDS`.

    A separate thread commits, so that inference does not wait for the disk. `model_hash`, `program_hash` and
    `config_hash` are in every record and in the header of its segment, so that each result can be traced to the model,
    program and configuration that made it. The last results are only in memory until `flush`, or the end of the `with`
    block, makes them durable.

    `keep` says what of the outputs is kept: all values ("full"), the five largest ("top5") or a digest ("hash"). In
    full, outputs beyond `full_bytes` of a result are kept as "top5", and the result says so. `scales` has scale and
    zero point of quantized outputs by name.

    A full spool does not stop inference: results that it rejects are counted in `lost`, and by the spool. So is a
    result that can never be stored; `add` raises `RecordError` for that one alone. Other errors of the spool are raised
    by the next `add`, which has taken its own result nevertheless, or by `flush`.

    Threads may share a log. A forked process cannot use it (`SpoolError`).
    """

    def __init__(self, spool: Spool, *, model: str, model_hash: str, program_hash: str, config_hash: str,
                 device: str, run: str | None = None, keep: str = FULL, full_bytes: int = FULL_BYTES,
                 scales: Mapping[str, Scale] = MappingProxyType({})):
        if keep not in MODES:
            raise RecordError(f"what is kept of results must be one of {', '.join(MODES)}, not {keep!r}")
        self.spool = spool
        self._keep = keep
        # a result must fit a batch of the spool; as base64 its outputs take 4/3 of their bytes
        self._full_bytes = min(full_bytes, spool.database.max_batch_bytes // 2)
        self._scales = dict(scales)
        self.run = check_name(run, "run") if run is not None else secrets.token_hex(8)
        self._common = {"model": str(model), "model_hash": str(model_hash), "program_hash": str(program_hash),
                        "config_hash": str(config_hash), "backend": str(device)}
        self.lost = 0
        self._process = os.getpid()
        self._batch_bytes = spool.database.max_batch_bytes // 2
        self._changed = threading.Condition()
        self._waiting: deque[bytes] = deque()
        self._waiting_bytes = 0
        self._since = 0.0  # when the first of `_waiting` was added
        self._committing = 0
        self._flushing = 0
        self._stop = False
        self._error: BaseException | None = None
        self._thread: threading.Thread | None = None

    def __enter__(self) -> "ResultLog":
        return self

    def __exit__(self, *exc) -> None:
        self.close()

    def close(self) -> None:
        """Flush, and end the thread."""
        self._check_process()
        try:
            self.flush()
        finally:
            with self._changed:
                self._stop = True
                self._changed.notify_all()
            if self._thread is not None:
                self._thread.join()
                self._thread = None

    def add(self, outputs: Mapping[str, np.ndarray], *, cycles: int, **fields: object) -> None:
        """Add one inference: its outputs, cycles, and `fields`.

        Values of `fields` must be JSON or something that `lepton.results.records` writes as JSON: NaN and infinities,
        numpy's numbers, paths, dates. Raises `RecordError` for anything else, and for a result that is too large.
        """
        self._check_process()
        try:
            body = self._encode(outputs, cycles, fields)
        except RecordError:
            with self._changed:
                self.lost += 1
            self.spool.count_rejected(1)
            raise
        with self._changed:
            while self._full() and self._error is None:
                self._changed.wait()
            if not self._waiting:
                self._since = time.monotonic()
            self._waiting.append(body)
            self._waiting_bytes += len(body)
            if self._thread is None:
                self._stop = False
                thread = threading.Thread(target=self._work, name="lepton-results", daemon=True)
                thread.start()
                self._thread = thread
            elif len(self._waiting) in (1, BATCH) or self._waiting_bytes >= self._batch_bytes:
                self._changed.notify_all()
            self._raise()

    def flush(self) -> None:
        """Wait until all added results are on disk, or counted as lost."""
        self._check_process()
        with self._changed:
            self._flushing += 1
            self._changed.notify_all()
            while (self._waiting or self._committing) and self._error is None:
                self._changed.wait()
            self._flushing -= 1
            self._raise()

    def _encode(self, outputs: Mapping[str, np.ndarray], cycles: int, fields: Mapping[str, object]) -> bytes:
        if taken := {"run", "number", "time", "outputs", *self._common} & {*fields}:
            raise RecordError(f"a result cannot have a field {sorted(taken)[0]!r}: the log writes it itself; give it "
                              "another name")
        described = describe(outputs, self._keep, self._scales, self._full_bytes)
        return self.spool.encode({**self._common, "time": time.time_ns() // 1000 / 1e6, "cycles": cycles,
                                  "outputs": described, **fields})

    def _check_process(self) -> None:
        if os.getpid() != self._process:
            raise SpoolError(f"the log was opened by process {self._process} and cannot be used in the forked process "
                             f"{os.getpid()}; open a spool and a log in each process")

    def _full(self) -> bool:
        return len(self._waiting) >= QUEUE * BATCH or self._waiting_bytes >= QUEUE * self._batch_bytes

    def _raise(self) -> None:
        error = self._error
        self._error = None
        if error is not None:
            raise error

    def _due(self) -> float:
        """Seconds until the waiting results are to be committed."""
        if self._stop or self._flushing or len(self._waiting) >= BATCH or self._waiting_bytes >= self._batch_bytes:
            return 0.0
        return self._since + BATCH_SECONDS - time.monotonic()

    def _next_batch(self) -> list[bytes]:
        """The oldest results, as many as fit one commit."""
        batch: list[bytes] = []
        size = 0
        while self._waiting and len(batch) < BATCH:
            need = self.spool.stored_bytes(self._waiting[0])
            if batch and size + need > self._batch_bytes:
                break
            size += need
            batch.append(self._waiting.popleft())
            self._waiting_bytes -= len(batch[-1])
        return batch

    def _work(self) -> None:
        while True:
            with self._changed:
                while not self._waiting or self._due() > 0:
                    if self._stop and not self._waiting:
                        return
                    self._changed.wait(self._due() if self._waiting else None)
                batch = self._next_batch()
                self._since = time.monotonic()
                self._committing = len(batch)
            lost, failure = self._commit(batch)
            with self._changed:
                self.lost += lost
                self._error = failure or self._error
                self._committing = 0
                self._changed.notify_all()

    def _commit(self, batch: list[bytes]) -> tuple[int, BaseException | None]:
        """Number of lost results, and the error unless the spool was full.

        Never raises an exception, because `flush` waits for this thread.
        """
        try:
            self.spool.append_encoded(self.run, batch, origin=self._common)
        except SpoolFull:  # the spool has counted them
            return len(batch), None
        except BaseException as error:
            with contextlib.suppress(Exception):
                self.spool.count_rejected(len(batch))
            return len(batch), error
        return 0, None
