"""A real SeaweedFS for tests, started once per folder and ended without its leisurely farewell."""

import contextlib
import os
import signal
from pathlib import Path

import pytest
from lepton.results import Store, StoreError, server


def needs_program() -> None:
    try:
        server._program()
    except StoreError as missing:
        pytest.skip(str(missing))


@contextlib.contextmanager
def seaweed(folder: Path):
    needs_program()
    started = server.up(folder)
    try:
        yield started
    finally:
        kill(folder)


def kill(folder: Path) -> None:
    found = server.find(folder)
    if found and found.running:
        os.kill(found.pid, signal.SIGKILL)
        server._ended(found, 10)
        server.remove_sockets(found)


def store(found: server.Server, port: int | None = None, prefix: str = "") -> Store:
    """A store on the server; through a proxy's port, if given, with little patience."""
    options = found.options()
    if port is not None:
        options["endpoint"] = f"http://127.0.0.1:{port}"
    return Store(f"{found.url}/{prefix}" if prefix else found.url, **options,
                 client_options={"allow_http": True, "timeout": "60s" if port is None else "5s",
                                 "connect_timeout": "10s" if port is None else "2s"},
                 retry_config={"max_retries": 0})
