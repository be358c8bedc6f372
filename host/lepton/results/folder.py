"""A folder as a store; what is written is on its disk when the call returns.

obstore reads and lists the folder. It does not write: it does not sync files, and two writers of one key may share a
temporary file. Incomplete files are in `staging/`, where readers do not look.

Every operation opens the folder, checks its identity, and uses paths relative to the open folder. So nothing is written
under the mount point if the disk is unmounted meanwhile.
"""

import contextlib
import os
import time
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

from . import durable, store_identity
from .errors import Unavailable

STAGING = "staging"
# A temporary file exists for the seconds that it takes to write and sync at most 64 MiB. One that has not changed for a
# day was left by a killed process. If its writer still runs (on a machine that was suspended), it begins again.
REMAINS_SECONDS = 86_400.0
ATTEMPTS = 3  # the first may find no folder, the second may lose its file to `_clear_remains`
MODE = 0o666  # minus the umask


class Folder:
    """Keys are paths in the folder `path`, which `identify` creates.

    Raises `OSError`, and `Unavailable` if the folder is not the same as before.
    """

    def __init__(self, path: str | Path):
        self.path = Path(path).expanduser().resolve()
        existing = next(p for p in (self.path, *self.path.parents) if p.exists())
        if not existing.is_dir():
            raise NotADirectoryError(f"{existing} is not a folder")
        self._identity: str | None = None
        self._next_clearing = 0.0

    def identify(self, expected: str | None = None) -> str:
        """The folder's identity. Raises `Unavailable` unless it is `expected`, or the same as before.

        If there is no earlier identity, a folder without one gets one.
        """
        expected = expected or self._identity
        if expected is None:
            durable.make_folder(self.path)
            if not (self.path / store_identity.KEY).exists():
                with contextlib.suppress(FileExistsError):  # another process was faster
                    _write(self.path, durable.create, store_identity.KEY, store_identity.make()[1])
        with self._opened(expected) as (_, identity):
            self._identity = identity
        return identity

    def create(self, key: str, data: bytes) -> None:
        """Store an object. Raises `FileExistsError` if there is one."""
        self._write(durable.create, key, data)

    def create_all(self, objects: Iterable[tuple[str, bytes]]) -> list[str]:
        """Store several objects. All files are written before the disk is waited for, and each folder is synced once.

        Returns the keys that were not stored, because they exist or their folder is missing: `create` handles both.
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
        """Store an object, or replace it."""
        self._write(durable.replace, key, data)

    def sync(self, key: str) -> None:
        """Make an existing object durable: its writer may have been interrupted before the sync."""
        with self._root() as root:
            durable.sync(root / key)
            durable.sync((root / key).parent)

    def _write(self, write: Callable[..., None], key: str, data: bytes) -> None:
        with self._root() as root:
            self._clear_remains(root)
            _write(root, write, key, data)

    @contextlib.contextmanager
    def _root(self) -> Iterator[Path]:
        """A path to the open folder, which stays valid if the disk is unmounted. Its identity is checked."""
        if self._identity is None:
            self.identify()
        with self._opened(self._identity) as (root, _):
            yield root

    @contextlib.contextmanager
    def _opened(self, expected: str | None) -> Iterator[tuple[Path, str]]:
        try:
            handle = os.open(self.path, os.O_RDONLY | os.O_DIRECTORY)
        except FileNotFoundError as error:
            raise Unavailable(f"{self.path} is missing; is its disk mounted? Results wait in the spool. To make a new "
                              f"store there, {store_identity.acceptance(str(self.path))}") from error
        try:
            root = Path(f"/proc/self/fd/{handle}") if os.path.isdir("/proc/self/fd") else self.path
            yield root, store_identity.check(str(self.path), _content(root / store_identity.KEY), expected)
        except OSError as error:  # messages name the path that the user gave
            if isinstance(error.filename, str):
                error.filename = error.filename.replace(str(root), str(self.path))
            error.filename2 = None
            raise
        finally:
            os.close(handle)

    def _clear_remains(self, root: Path) -> None:
        """Remove old temporary files, at the first write and then daily. Errors are ignored: only space is lost."""
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
        except FileNotFoundError:  # a folder is missing, or the temporary file was removed by `_clear_remains`
            if attempt == ATTEMPTS:
                raise
            for folder in (root / STAGING, (root / key).parent):
                durable.make_folder(folder)


def _content(path: Path) -> bytes | None:
    try:
        return path.read_bytes()
    except FileNotFoundError:
        return None
