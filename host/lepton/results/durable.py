"""Files that appear completely and durably, or not at all: written under another name, synced, then renamed."""

import contextlib
import os
import secrets
from collections.abc import Iterator
from pathlib import Path


def create(path: Path, content: bytes, *, mode: int = 0o600, aside: Path | None = None) -> None:
    """Write a new file. Raises `FileExistsError` if there is one, also if another process makes it at the same time.

    `aside`: a folder on the same file system for the incomplete file (default: the folder of `path`).
    """
    with _written(aside or path.parent, path.name, content, mode) as staging:
        os.link(staging, path)
    sync(path.parent)


def replace(path: Path, content: bytes, *, mode: int = 0o600, aside: Path | None = None) -> None:
    """Write a file, or replace it; readers see the old content or the new one, never a part."""
    with _written(aside or path.parent, path.name, content, mode) as staging:
        os.replace(staging, path)
    sync(path.parent)


def sync(path: Path) -> None:
    """Wait until a file, or the names in a folder, are on the disk."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def make_folder(folder: Path, mode: int = 0o777) -> None:
    """Make a folder and its missing parents, durably."""
    missing = [folder, *folder.parents]
    missing = missing[:next(i for i, path in enumerate(missing) if path.exists())]
    folder.mkdir(mode, parents=True, exist_ok=True)
    for made in missing:
        sync(made.parent)


def begin(handle: int) -> None:
    """Let the system begin to write a file's content to the disk, without waiting for it.

    Linux does so for POSIX_FADV_DONTNEED (posix_fadvise(2), notes), and then drops the pages from its cache.
    """
    if hasattr(os, "posix_fadvise"):
        os.posix_fadvise(handle, 0, 0, os.POSIX_FADV_DONTNEED)


@contextlib.contextmanager
def unnamed(folder: Path, name: str, content: bytes, mode: int) -> Iterator[tuple[Path, int]]:
    """A new temporary file with the content, not synced: its path and its handle. It is removed at the end."""
    staging = folder / f"{name}.{secrets.token_hex(8)}"
    handle = os.open(staging, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode)
    try:
        left = memoryview(content)
        while left:
            left = left[os.write(handle, left):]
        yield staging, handle
    finally:
        os.close(handle)
        staging.unlink(missing_ok=True)


@contextlib.contextmanager
def _written(folder: Path, name: str, content: bytes, mode: int) -> Iterator[Path]:
    with unnamed(folder, name, content, mode) as (staging, handle):
        os.fsync(handle)
        yield staging
