"""The INPUT region of a job, of which only the bytes that have changed are written again."""

from collections.abc import Iterator

import numpy as np

from ..driver import Buffer

# Bytes that are compared and written together: a burst on the chip's bus is as long (64 bytes), and shorter pieces
# would spend more on addresses than they save.
_PIECE = 64


class InputMemory:
    """For models with state, whose caches differ in few bytes from one run to the next.

    It knows what it has written, as long as nothing else writes to the buffer (`Buffer.generation`) and no job fails;
    else everything is written.
    """

    def __init__(self, buffer: Buffer) -> None:
        self._buffer = buffer
        self._held: dict[int, np.ndarray] = {}  # by offset
        self._generation = -1

    def write(self, data: np.ndarray, offset: int) -> None:
        """Bring `data`, any array in C order, to `offset` bytes of the region."""
        new = data.reshape(-1).view(np.uint8)
        if self._generation != self._buffer.generation:
            self._held.clear()
        old = self._held.pop(offset, None)  # forgotten while it is written, for a write that fails halfway
        spans = [(0, new.size)] if old is None or old.size != new.size else _changed(old, new)
        for start, end in spans:
            self._buffer.write(new[start:end], offset + start)
        self._held[offset] = new.copy()
        self._generation = self._buffer.generation

    def forget(self) -> None:
        """Write everything the next time: a job has failed, and what it has left is not known."""
        self._held.clear()


def _changed(old: np.ndarray, new: np.ndarray) -> Iterator[tuple[int, int]]:
    """The first and the last byte but one of runs of pieces that differ."""
    pieces = np.unique(np.flatnonzero(old != new) // _PIECE)
    for run in np.split(pieces, np.flatnonzero(np.diff(pieces) > 1) + 1):
        if run.size:
            yield int(run[0]) * _PIECE, min((int(run[-1]) + 1) * _PIECE, new.size)
