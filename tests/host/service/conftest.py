"""Databases of both kinds, and a service that runs for all tests of a module."""

import pytest
from lepton.service.database import IndexDatabase

from tests.host.service import postgres_server
from tests.host.service.running import Service


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
