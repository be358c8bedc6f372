"""What has arrived of uploads whose connection broke, so that devices go on from there.

The requests are a part of the IETF's resumable uploads (draft-ietf-httpbis-resumable-upload): HEAD asks for the
`Upload-Offset`, PATCH sends the rest from there. A body that is complete is checked against the digest in its key, so
what is kept here need not be durable.
"""

import contextlib
import os
import time
from collections.abc import Callable
from pathlib import Path

from .identity import Identity

LEAST_BYTES = 1 << 10  # less is not worth a file: a TLS handshake takes as much
MOST_BYTES = 256 << 20  # of a tenant; beyond, the oldest are deleted
KEPT_SECONDS = 86_400.0


class Partials:
    """Files in `folder`, which the processes of a service on one machine share; one of each device.

    A device has one name and sends one body at a time, so a file has one writer.
    """

    def __init__(self, folder: Path, clock: Callable[[], float] = time.time):
        self._folder = folder
        self._clock = clock

    def size(self, sender: Identity, key: str) -> int:
        """How many bytes of the body for `key` are here."""
        with contextlib.suppress(OSError):
            found = self._path(sender, key).stat()
            if found.st_mtime + KEPT_SECONDS > self._clock():
                return found.st_size
        return 0

    def read(self, sender: Identity, key: str) -> bytes:
        """The bytes that are here."""
        with contextlib.suppress(OSError):
            return self._path(sender, key).read_bytes()
        return b""

    def keep(self, sender: Identity, key: str, offset: int, content: bytes) -> None:
        """Keep `content`, which begins at `offset` of the body. An error is ignored: the device begins again."""
        if len(content) < LEAST_BYTES and not offset:
            return
        path = self._path(sender, key)
        with contextlib.suppress(OSError):
            path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
            if not offset:
                self.drop(sender)
                self._make_room(path.parent.parent, len(content))
            handle = os.open(path, os.O_WRONLY | os.O_CREAT, 0o600)
            try:
                if os.fstat(handle).st_size >= offset:
                    os.pwrite(handle, content, offset)
            finally:
                os.close(handle)

    def drop(self, sender: Identity) -> None:
        """Forget what is here of a device."""
        with contextlib.suppress(OSError):
            for path in self._of(sender).iterdir():
                path.unlink(missing_ok=True)

    def _of(self, sender: Identity) -> Path:
        return self._folder / sender.tenant / sender.name

    def _path(self, sender: Identity, key: str) -> Path:
        return self._of(sender) / key.rpartition("/")[2]

    def _make_room(self, tenant: Path, size: int) -> None:
        """Delete files of a tenant that are too old, and then the oldest, until `size` bytes more are allowed."""
        found = sorted(((path.stat().st_mtime, path.stat().st_size, path) for path in tenant.glob("*/*")),
                       key=lambda item: item[0])
        total = size + sum(bytes_ for _, bytes_, _ in found)
        for changed, bytes_, path in found:
            if total <= MOST_BYTES and changed + KEPT_SECONDS > self._clock():
                break
            path.unlink(missing_ok=True)
            total -= bytes_
