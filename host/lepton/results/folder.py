"""A folder as a store, written through to its disk.

obstore reads and lists it, but does not write it: it neither syncs what it writes nor gives writers of one key files
of their own. What is being written lies aside in `staging/`, outside of what readers see.

Every operation opens the folder, checks its identity, and works below what it has opened: where the disk is unmounted
meanwhile, nothing is written under the mount point.
"""

import contextlib
import os
import time
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

from . import durable, store_identity
from .errors import Unavailable

STAGING = "staging"
# A writer's file lives for the moments that it takes to write and sync at most 64 MiB. One that has not been touched
# for a day is what a killed writer left; should its writer live (a machine that slept), it begins again.
REMAINS_SECONDS = 86_400.0
ATTEMPTS = 3
MODE = 0o666  # less the umask


class Folder:
    """Keys are paths in the folder `path`, which `identify` makes.

    Raises `OSError`, and `Unavailable` where the folder is not the one that it was.
    """

    def __init__(self, path: str | Path):
        self.path = Path(path).expanduser().resolve()
        existing = next(p for p in (self.path, *self.path.parents) if p.exists())
        if not existing.is_dir():
            raise NotADirectoryError(f"{existing} is not a folder")
        self._identity: str | None = None
        self._next_clearing = 0.0

    def identify(self, expected: str | None = None) -> str:
        """Its identity, which must be `expected`, or the one that it had; the first time it is made."""
        expected = expected or self._identity
        if expected is None:
            durable.make_folder(self.path)
            if not (self.path / store_identity.KEY).exists():
                with contextlib.suppress(FileExistsError):  # another process was faster
                    _write(self.path, durable.create, store_identity.KEY, store_identity.make()[1])
        with self._opened(expected) as (_, identity):
            self._identity = identity
        return self._identity

    def create(self, key: str, data: bytes) -> None:
        """Store an object. Raises `FileExistsError` if there is one."""
        self._write(durable.create, key, data)

    def create_all(self, objects: Iterable[tuple[str, bytes]]) -> list[str]:
        """Store objects at once; returns the keys of those for which this did not go smoothly, left to `create`.

        The disk has all of them to write before it is waited for, and a folder is synced once for all in it.
        """
        begun: list[tuple[str, Path, Path, int]] = []
        left: list[str] = []
        with self._root() as root, contextlib.ExitStack() as stack:
            self._clear_remains(root)
            for key, data in objects:
                path = root / key
                try:
                    staging, handle = stack.enter_context(durable.unnamed(root / STAGING, path.name, data, MODE))
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
        with self._root() as root:
            durable.sync(root / key)
            durable.sync((root / key).parent)

    def _write(self, write: Callable[..., None], key: str, data: bytes) -> None:
        with self._root() as root:
            self._clear_remains(root)
            _write(root, write, key, data)

    @contextlib.contextmanager
    def _root(self) -> Iterator[Path]:
        """The folder under a name that stays with it whatever is mounted meanwhile; its identity is checked."""
        if self._identity is None:
            self.identify()
        with self._opened(self._identity) as (root, _):
            yield root

    @contextlib.contextmanager
    def _opened(self, expected: str | None) -> Iterator[tuple[Path, str]]:
        try:
            handle = os.open(self.path, os.O_RDONLY | os.O_DIRECTORY)
        except FileNotFoundError as error:
            raise Unavailable(f"{self.path} is missing; is its disk mounted? Results wait; if a new store is to be "
                              f"made there, {store_identity.acceptance(str(self.path))}") from error
        try:
            root = Path(f"/proc/self/fd/{handle}") if os.path.isdir("/proc/self/fd") else self.path
            yield root, store_identity.check(str(self.path), _content(root / store_identity.KEY), expected)
        except OSError as error:  # for people: by the name that they gave
            if isinstance(error.filename, str):
                error.filename = error.filename.replace(str(root), str(self.path))
            error.filename2 = None
            raise
        finally:
            os.close(handle)

    def _clear_remains(self, root: Path) -> None:
        """At first, and then daily: what is cleared away is only room, so a failure is no failure of the store."""
        if time.monotonic() < self._next_clearing:
            return
        self._next_clearing = time.monotonic() + REMAINS_SECONDS
        with contextlib.suppress(OSError):
            for path in (root / STAGING).iterdir():
                if path.stat().st_mtime < time.time() - REMAINS_SECONDS:
                    path.unlink(missing_ok=True)


def _write(root: Path, write: Callable[..., None], key: str, data: bytes) -> None:
    for attempt in range(1, ATTEMPTS + 1):
        try:
            return write(root / key, data, mode=MODE, aside=root / STAGING)
        except FileNotFoundError:  # folders that are not there yet, or what was written was cleared away
            if attempt == ATTEMPTS:
                raise
            for folder in (root / STAGING, (root / key).parent):
                durable.make_folder(folder)


def _content(path: Path) -> bytes | None:
    try:
        return path.read_bytes()
    except FileNotFoundError:
        return None
