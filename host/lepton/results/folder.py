"""A folder as a store, written through to its disk.

obstore reads and lists it, but does not write it: it neither syncs what it writes nor gives writers of one key files
of their own. What is being written lies aside in `staging/`, outside of what readers see.
"""

import contextlib
import os
import time
from collections.abc import Callable, Iterable
from pathlib import Path

from . import durable

STAGING = "staging"
# A writer's file lives for the moments that it takes to write and sync at most 64 MiB. One that has not been touched
# for a day is what a killed writer left; should its writer live (a machine that slept), it begins again.
REMAINS_SECONDS = 86_400.0
ATTEMPTS = 3
MODE = 0o666  # less the umask


class Folder:
    """Keys are paths in the folder `path`. Raises `OSError`."""

    def __init__(self, path: str | Path):
        self.path = Path(path).expanduser().resolve()
        durable.make_folder(self.path)
        self._staging = self.path / STAGING
        self._next_clearing = 0.0

    def create(self, key: str, data: bytes) -> None:
        """Store an object. Raises `FileExistsError` if there is one."""
        self._write(durable.create, key, data)

    def create_all(self, objects: Iterable[tuple[str, bytes]]) -> list[str]:
        """Store objects at once; returns the keys of those for which this did not go smoothly, left to `create`.

        The disk has all of them to write before it is waited for, and a folder is synced once for all in it.
        """
        self._clear_remains()
        begun, left = [], []
        with contextlib.ExitStack() as stack:
            for key, data in objects:
                path = self.path / key
                try:
                    staging, handle = stack.enter_context(durable.unnamed(self._staging, path.name, data, MODE))
                except FileNotFoundError:
                    left.append(key)
                    continue
                durable.begin(handle)
                begun.append((key, path, staging, handle))
            for *_, handle in begun:
                os.fsync(handle)
            named = set()
            for key, path, staging, _ in begun:
                try:
                    os.link(staging, path)
                    named.add(path.parent)
                except (FileExistsError, FileNotFoundError):
                    left.append(key)
        for folder in named:
            durable.sync(folder)
        return left

    def replace(self, key: str, data: bytes) -> None:
        """Store one in place of the one that may be there."""
        self._write(durable.replace, key, data)

    def sync(self, key: str) -> None:
        """Make sure of an object that another has written, who may not have got so far."""
        durable.sync(self.path / key)
        durable.sync((self.path / key).parent)

    def _write(self, write: Callable[..., None], key: str, data: bytes) -> None:
        path = self.path / key
        self._clear_remains()
        for attempt in range(1, ATTEMPTS + 1):
            try:
                return write(path, data, mode=MODE, aside=self._staging)
            except FileNotFoundError:  # folders that are not there yet, or what was written was cleared away
                if attempt == ATTEMPTS:
                    raise
                for folder in (self._staging, path.parent):
                    durable.make_folder(folder)

    def _clear_remains(self) -> None:
        """At first, and then daily: what is cleared away is only room, so a failure is no failure of the store."""
        if time.monotonic() < self._next_clearing:
            return
        self._next_clearing = time.monotonic() + REMAINS_SECONDS
        with contextlib.suppress(OSError):
            for path in self._staging.iterdir():
                if path.stat().st_mtime < time.time() - REMAINS_SECONDS:
                    path.unlink(missing_ok=True)
