"""Files that appear whole and durably under their name, or not at all: written aside, synced, then named."""

import contextlib
import os
import secrets
from collections.abc import Iterator
from pathlib import Path


def create(path: Path, content: bytes, *, mode: int = 0o600, aside: Path | None = None) -> None:
    """Write a file that must not be there yet: raises `FileExistsError`, also for the slower of two that race.

    `aside`: a folder on the same file system for what is not whole yet (default: beside `path`).
    """
    with _written(aside or path.parent, path.name, content, mode) as staging:
        os.link(staging, path)
    sync(path.parent)


def replace(path: Path, content: bytes, *, mode: int = 0o600, aside: Path | None = None) -> None:
    """Write a file in place of the one that may be there; readers see one or the other, whole."""
    with _written(aside or path.parent, path.name, content, mode) as staging:
        os.replace(staging, path)
    sync(path.parent)


def sync(path: Path) -> None:
    """Wait for the disk to have a file, or the names in a folder."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def make_folder(folder: Path, mode: int = 0o777) -> None:
    """Make a folder, and those above it, durably; those that are there stay as they are."""
    missing = [folder, *folder.parents]
    missing = missing[:next(i for i, path in enumerate(missing) if path.exists())]
    folder.mkdir(mode, parents=True, exist_ok=True)
    for made in missing:
        sync(made.parent)


def begin(handle: int) -> None:
    """Have the system write what is in a file, without waiting for it (Linux)."""
    if hasattr(os, "posix_fadvise"):
        os.posix_fadvise(handle, 0, 0, os.POSIX_FADV_DONTNEED)


@contextlib.contextmanager
def unnamed(folder: Path, name: str, content: bytes, mode: int) -> Iterator[tuple[Path, int]]:
    """A new file with the content, not synced, under a name that no one else uses, and its handle; gone at the end."""
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
