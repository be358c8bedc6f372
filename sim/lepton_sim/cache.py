"""The folder of built files, and locks with which several processes share it.

Everything that is built is keyed by a hash of its sources and is
complete or absent: it is made in a temporary place, under a lock, and renamed.
"""

import fcntl
import hashlib
import os
import shutil
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path


def build_root() -> Path:
    """The folder for built files: $LEPTON_BUILD, else `build/` of the checkout, else the user's cache."""
    if folder := os.environ.get("LEPTON_BUILD"):
        return Path(folder).absolute()
    checkout = Path(__file__).resolve().parents[2]
    if (checkout / "pyproject.toml").exists():
        return checkout / "build"
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "lepton"


def digest(*parts: str | bytes) -> str:
    """16 hex digits that change when any part, or the division into parts, does."""
    total = hashlib.sha256()
    for part in parts:
        part = part.encode() if isinstance(part, str) else part
        total.update(len(part).to_bytes(8, "little") + part)
    return total.hexdigest()[:16]


@contextmanager
def lock(path: Path, waiting: Callable[[str], None] = lambda message: None) -> Iterator[None]:
    """Hold `path` against other processes (and threads) while the body runs; tells `waiting` if it must wait."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with open(path, "w") as handle:  # the kernel gives the lock back when the process dies
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            waiting(f"waiting for another process that makes {path.stem}")
            fcntl.flock(handle, fcntl.LOCK_EX)
        yield


@contextmanager
def making_folder(final: Path, waiting: Callable[[str], None] = lambda message: None) -> Iterator[Path | None]:
    """Make the folder `final` once, in the first process that asks for it.

    Yields a temporary folder that becomes `final` when the body succeeds, or None
    where `final` is already there. When the body fails the temporary folder is removed.
    """
    if final.exists():
        yield None
        return
    with lock(final.with_name(final.name + ".lock"), waiting):
        if final.exists():
            yield None
            return
        temporary = Path(tempfile.mkdtemp(prefix=final.name + ".", dir=final.parent))
        try:
            yield temporary
            os.replace(temporary, final)
        except BaseException:
            shutil.rmtree(temporary, ignore_errors=True)
            raise
