"""A PostgreSQL server for the tests, on a socket in a folder of its own."""

import itertools
import os
import pwd
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import psycopg
import pytest

PREFIX = "lepton-pg-"
LEFT_SECONDS = 3600  # a younger folder may be that of a server that is being started


def _program(name: str) -> str:
    """Debian keeps the server's programs out of PATH."""
    debian = sorted(Path("/usr/lib/postgresql").glob(f"*/bin/{name}"))
    found = shutil.which(name) or (str(debian[-1]) if debian else None)
    if found is None:
        pytest.skip(f"PostgreSQL's {name} is not installed (Debian: apt-get install postgresql)")
    return found


def _runs(pid: int) -> bool:
    """Whether a process exists and is no zombie, which a container without an init process may keep."""
    with suppress(OSError):
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    return False


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
    """`new_database` gives URLs of empty databases. `kill` and `start` are for a server that is `durable`."""

    def __init__(self, folder: str, start: Callable[[], None]):
        self._folder = folder
        self._numbers = itertools.count()
        self.start = start

    def kill(self) -> None:
        """SIGKILL of all its processes, and return when they have ended."""
        pid = int(Path(self._folder, "data", "postmaster.pid").read_text().split()[0])
        family = [pid, *map(int, Path(f"/proc/{pid}/task/{pid}/children").read_text().split())]
        for one in family:
            with suppress(ProcessLookupError):
                os.kill(one, signal.SIGKILL)
        while any(_runs(one) for one in family):
            time.sleep(0.02)
        for lock in (Path(self._folder, "data", "postmaster.pid"), *Path(self._folder).glob(".s.PGSQL.*")):
            lock.unlink()  # PostgreSQL takes a zombie for a running process

    def url(self, name: str) -> str:
        return f"postgresql://lepton@/{name}?host={self._folder}"

    def new_database(self) -> str:
        name = f"test{next(self._numbers)}"
        with psycopg.connect(self.url("postgres"), autocommit=True) as connection:
            connection.execute(f"CREATE DATABASE {name}")
        return self.url(name)


def _remove_leftovers() -> None:
    """Remove folders of servers whose tests were killed: no process of them runs any more."""
    for folder in Path(tempfile.gettempdir()).glob(f"{PREFIX}*"):
        with suppress(OSError, ValueError, IndexError):
            old = folder.stat().st_mtime + LEFT_SECONDS < time.time()
            state = folder / "data" / "postmaster.pid"
            if old and not (state.exists() and _runs(int(state.read_text().split()[0]))):
                shutil.rmtree(folder, ignore_errors=True)


@contextmanager
def running(*, durable: bool = False) -> Iterator[Server]:
    """A server; with `durable` it syncs, so that it keeps what it has committed when it is killed."""
    initdb = _program("initdb")
    pg_ctl = _program("pg_ctl")
    user = _user()
    _remove_leftovers()
    folder = tempfile.mkdtemp(prefix=PREFIX)  # short for the socket's name, and open to its user
    try:
        if user:
            shutil.chown(folder, user)
        data = f"{folder}/data"

        def call(*command):
            done = subprocess.run(command, user=user, cwd=folder, stdin=subprocess.DEVNULL, capture_output=True,
                                  text=True, timeout=120)
            log = Path(folder, "log").read_text()[-2000:] if Path(folder, "log").exists() else ""
            assert done.returncode == 0, done.stdout + done.stderr + log

        call(initdb, "-D", data, "-U", "lepton", "-A", "trust", "-E", "UTF8", "--locale=C", "--no-sync")
        def start():
            options = f"-c listen_addresses= -k {folder} -c fsync={'on' if durable else 'off'}"
            call(pg_ctl, "-D", data, "-l", f"{folder}/log", "-w", "-o", options, "start")

        start()
        try:
            yield Server(folder, start)
        finally:
            call(pg_ctl, "-D", data, "-m", "immediate", "-w", "stop")
    finally:
        shutil.rmtree(folder, ignore_errors=True)
