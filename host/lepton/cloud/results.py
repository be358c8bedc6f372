"""Results of inference as records: what ran, on what, and what came out."""

import hashlib
import secrets
import time
from collections.abc import Mapping

import numpy as np

from .errors import SpoolFull
from .spool import Spool

BATCH = 256  # records per commit,
BATCH_SECONDS = 1.0  # or those of so long


class ResultLog:
    """Writes the results of one run to a spool, in commits of up to `BATCH` records or `BATCH_SECONDS`.

    `model_hash`, `program_hash` and `config_hash` go into every record and the header of its segment,
    so that each result can be traced to what made it. `flush` (or leaving the `with`) makes
    the rest durable; before that, the last results are only in memory.
    A full spool does not stop inference: what it does not take is counted in `lost`, and by the spool as rejected.
    """

    def __init__(self, spool: Spool, *, model: str, model_hash: str, program_hash: str, config_hash: str,
                 device: str, run: str | None = None):
        self.spool = spool
        self.run = run or secrets.token_hex(8)
        self._common = {"model": model, "model_hash": model_hash, "program_hash": program_hash,
                        "config_hash": config_hash, "backend": device}
        self.lost = 0
        self._batch: list[dict] = []
        self._limit = min(BATCH, spool.database.max_batch_bytes // 4096)
        self._since = 0.0  # when the first of the batch came

    def __enter__(self) -> "ResultLog":
        return self

    def __exit__(self, *exc) -> None:
        self.flush()

    def add(self, outputs: Mapping[str, np.ndarray], *, cycles: int, **fields) -> None:
        """One inference: digests of its outputs, their values where small, its cycles, and what else is known of it."""
        self._batch.append({**self._common, "time": time.time(), "cycles": cycles,
                            "outputs": [_describe(name, array) for name, array in outputs.items()], **fields})
        if len(self._batch) == 1:
            self._since = time.monotonic()
        if len(self._batch) >= self._limit or time.monotonic() - self._since >= BATCH_SECONDS:
            self.flush()

    def flush(self) -> None:
        """Append what is waiting."""
        batch, self._batch = self._batch, []
        if batch:
            try:
                self.spool.append_many(self.run, batch, origin=self._common)
            except SpoolFull:
                self.lost += len(batch)


def _describe(name: str, array: np.ndarray, small: int = 64) -> dict:
    array = np.ascontiguousarray(array)
    described = {"name": name, "shape": list(array.shape), "dtype": str(array.dtype),
                 "sha256": hashlib.sha256(array.tobytes()).hexdigest()}
    if array.size <= small:
        described["values"] = array.reshape(-1).tolist()
    return described
