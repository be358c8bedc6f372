"""Disks for tests: small file systems in memory, mounted and unmounted. They need root."""

import contextlib
import subprocess

import pytest


def mount(folder, megabytes=8):
    """Skips the test where nothing may be mounted."""
    folder.mkdir(exist_ok=True)
    done = subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={megabytes}m", "none", str(folder)],
                          capture_output=True, text=True, check=False)
    if done.returncode:
        pytest.skip(f"cannot mount a tmpfs, which needs root: {done.stderr.strip()}")


def unmount(folder):
    subprocess.run(["umount", "-l", str(folder)], check=True)


@contextlib.contextmanager
def mounted(folder, megabytes=8):
    mount(folder, megabytes)
    try:
        yield folder
    finally:
        while folder.is_mount():
            unmount(folder)


def fill(folder):
    """Leave no byte of room; returns the file to remove."""
    ballast = folder / "ballast"
    with open(ballast, "ab", buffering=0) as file:
        for size in (1 << 16, 4096, 1):
            with contextlib.suppress(OSError):
                while True:
                    file.write(b"x" * size)
    return ballast
