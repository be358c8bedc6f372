"""Both databases: durable, shared by processes, and clear about what they cannot do."""

import pytest
from lepton.service import tables
from lepton.service.database import IndexDatabase, insert_new
from lepton.service.errors import ServiceError
from lepton.service.migrations import HEAD
from sqlalchemy import select, text


def test_sqlite_is_durable(tmp_path):
    database = IndexDatabase(tmp_path / "folder" / "index.db")
    with database.read() as connection:
        pragmas = {name: connection.exec_driver_sql(f"PRAGMA {name}").scalar()
                   for name in ("journal_mode", "synchronous", "foreign_keys")}
    assert pragmas == {"journal_mode": "wal", "synchronous": 2, "foreign_keys": 1}


def test_opened_again(where):
    IndexDatabase(where).close()
    with IndexDatabase(where).read() as connection:
        assert connection.scalar(text("SELECT version_num FROM alembic_version")) == HEAD


def test_insert_new(database):
    row = {"tenant": "t", "device": "d", "enrolled": 1.0}
    with database.write() as connection:
        assert insert_new(connection, tables.devices, []) == 0
        assert insert_new(connection, tables.devices, [row, row | {"device": "e"}]) == 2
        assert insert_new(connection, tables.devices, [row | {"enrolled": 2.0}, row | {"device": "f"}]) == 1
        assert sorted(connection.scalars(select(tables.devices.c.enrolled))) == [1.0, 1.0, 1.0]


def test_failed_transaction_leaves_nothing(database):
    with pytest.raises(ZeroDivisionError), database.write() as connection:
        insert_new(connection, tables.devices, [{"tenant": "t", "device": "d", "enrolled": 1.0}])
        raise ZeroDivisionError
    with database.read() as connection:
        assert connection.execute(select(tables.devices)).all() == []


def test_other_version(where):
    database = IndexDatabase(where)
    with database.write() as connection:
        connection.execute(text("UPDATE alembic_version SET version_num = '0099'"))
    database.close()
    with pytest.raises(ServiceError, match="has tables of version 0099, this program knows version 0002"):
        IndexDatabase(where)


@pytest.mark.parametrize("where, message", [
    ("mysql://x/y", "must be a file or a postgresql:// URL, not mysql://"),
    ("postgresql://x:port/y", "the database URL cannot be read"),
    ("postgresql://lepton@/x?host=/nowhere", "cannot open the database"),
    ("/dev/null/index.db", "cannot open the database")])
def test_cannot_be_opened(where, message):
    with pytest.raises(ServiceError, match=message):
        IndexDatabase(where)


def test_password_is_not_shown():
    with pytest.raises(ServiceError) as caught:
        IndexDatabase("postgresql://lepton:secret@/x?host=/nowhere")
    assert "secret" not in str(caught.value)


def test_no_database_file(tmp_path):
    path = tmp_path / "index.db"
    path.write_bytes(b"this is no database" * 100)
    with pytest.raises(ServiceError, match="file is not a database"):
        IndexDatabase(path)
