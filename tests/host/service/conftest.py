"""Databases of both kinds, a service that runs for all tests of a module, two of its clients, and its audit."""

import time

import pytest
from lepton.service import tables
from lepton.service.database import IndexDatabase
from sqlalchemy import func, select

from tests.host.service import postgres_server
from tests.host.service.running import Service

PATIENCE = 30.0  # seconds until a row of the audit must be there


@pytest.fixture(scope="session")
def postgres():
    """A PostgreSQL server of this session; skips where there is none."""
    with postgres_server.running() as server:
        yield server


@pytest.fixture(params=["sqlite", "postgresql"])
def where(request, tmp_path):
    """Where an empty database is to be opened."""
    if request.param == "sqlite":
        return str(tmp_path / "index.db")
    return request.getfixturevalue("postgres").new_database()


@pytest.fixture
def database(where):
    opened = IndexDatabase(where)
    yield opened
    opened.close()


@pytest.fixture(scope="module")
def service(tmp_path_factory):
    """A service on SQLite and a folder, in a process of its own."""
    with Service(tmp_path_factory.mktemp("service")) as started:
        yield started


@pytest.fixture(scope="module")
def camera(service):
    return service.enrol("device", "acme", "cam7")


@pytest.fixture(scope="module")
def reader(service):
    return service.enrol("reader", "acme", "alice")


@pytest.fixture
def audit(service):
    """Waits for the row of the refusal that a test has caused, and gives it."""
    database = service.open_database()
    columns = tables.refusals.c

    def last() -> int:
        with database.read() as connection:
            return connection.scalar(select(func.max(columns.id))) or 0

    before = last()

    def row(reason):
        deadline = time.monotonic() + PATIENCE
        while time.monotonic() < deadline:
            with database.read() as connection:
                found = connection.execute(
                    select(tables.refusals).where(columns.id > before, columns.reason == reason)).first()
            if found:
                return found
            time.sleep(0.02)
        raise AssertionError(f"no refusal {reason!r} in the audit")

    yield row
    database.close()
