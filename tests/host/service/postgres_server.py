"""A PostgreSQL server for the tests, on a socket in a folder of its own."""

import itertools
import os
import pwd
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psycopg
import pytest


def _program(name: str) -> str:
    """Debian keeps the server's programs out of PATH."""
    debian = sorted(Path("/usr/lib/postgresql").glob(f"*/bin/{name}"))
    found = shutil.which(name) or (str(debian[-1]) if debian else None)
    if found is None:
        pytest.skip(f"PostgreSQL's {name} is not installed (Debian: apt-get install postgresql)")
    return found


def _user() -> str | None:
    """Whom the server runs as: PostgreSQL refuses to be root."""
    if os.getuid():
        return None
    for name in ("postgres", "nobody"):
        try:
            return pwd.getpwnam(name).pw_name
        except KeyError:
            continue
    pytest.skip("PostgreSQL does not run as root, and there is neither a user postgres nor nobody")


class Server:
    """`new_database` gives URLs of empty databases."""

    def __init__(self, folder: str):
        self._folder = folder
        self._numbers = itertools.count()

    def url(self, name: str) -> str:
        return f"postgresql://lepton@/{name}?host={self._folder}"

    def new_database(self) -> str:
        name = f"test{next(self._numbers)}"
        with psycopg.connect(self.url("postgres"), autocommit=True) as connection:
            connection.execute(f"CREATE DATABASE {name}")
        return self.url(name)


@contextmanager
def running() -> Iterator[Server]:
    initdb = _program("initdb")
    pg_ctl = _program("pg_ctl")
    user = _user()
    folder = tempfile.mkdtemp(prefix="lepton-pg-")  # short for the socket's name, and open to its user
    try:
        if user:
            shutil.chown(folder, user)
        data = f"{folder}/data"

        def call(*command):
            done = subprocess.run(command, user=user, cwd=folder, stdin=subprocess.DEVNULL, capture_output=True,
                                  text=True, timeout=120)
            assert done.returncode == 0, done.stdout + done.stderr

        call(initdb, "-D", data, "-U", "lepton", "-A", "trust", "-E", "UTF8", "--locale=C", "--no-sync")
        # the tests kill our service, never this server, so that it need not sync
        call(pg_ctl, "-D", data, "-l", f"{folder}/log", "-w", "-o", f"-c listen_addresses= -k {folder} -c fsync=off",
             "start")
        try:
            yield Server(folder)
        finally:
            call(pg_ctl, "-D", data, "-m", "immediate", "-w", "stop")
    finally:
        shutil.rmtree(folder, ignore_errors=True)
