"""Migrations make the same tables as `tables`, and keep what older versions have stored."""

import sqlite3
from importlib import import_module

import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from alembic.operations import Operations
from lepton.cli import main
from lepton.cli.status import EXIT_USER_ERROR
from lepton.service import tables
from lepton.service.database import IndexDatabase, _sqlite
from lepton.service.migrations import HEAD, MigrationError, migrate
from sqlalchemy import create_engine, inspect, select, text


def test_migrations_make_the_tables(database):
    with database.write() as connection:
        assert compare_metadata(MigrationContext.configure(connection), tables.metadata) == []


def before_migrations(engine):
    """The tables of the first version, as programs without migrations have made them, with two segments."""
    first = import_module("lepton.service.migrations.versions.v0001_first_tables")
    with engine.begin() as connection, Operations.context(MigrationContext.configure(connection)):
        first.upgrade()
        connection.execute(text("CREATE TABLE schema_version (version INTEGER PRIMARY KEY)"))
        connection.execute(text("INSERT INTO schema_version VALUES (1)"))
        spool = "'acme', 'cam7', 'spool'"
        connection.execute(text("INSERT INTO spools (tenant, device, spool, expected, last_digest, last_received, "
                                f"lost_records) VALUES ({spool}, 2, 'd1', 5.0, 0)"))
        for number in range(2):
            connection.execute(text(
                "INSERT INTO segments (tenant, device, spool, sequence, digest, bytes, run, first, last, records, "
                "first_time, last_time, received, model_hash, program_hash, config_hash) VALUES "
                f"({spool}, {number}, 'd{number}', {1000 + number}, 'r', 0, 1, {number + 2}, 1, 2, 3, '', '', '')"))


def test_database_from_before_migrations(where):
    url = where.replace("postgresql://", "postgresql+psycopg://") if "://" in where else f"sqlite:///{where}"
    engine = create_engine(url)
    before_migrations(engine)
    engine.dispose()
    database = IndexDatabase(where)
    with database.read() as connection:
        assert "schema_version" not in inspect(connection).get_table_names()
        assert connection.scalar(text("SELECT version_num FROM alembic_version")) == HEAD
        row = connection.execute(select(tables.spools)).one()
        assert (row.segments, row.records, row.bytes, row.expected) == (2, 5, 2001, 2)
        assert len(connection.execute(select(tables.segments)).all()) == 2
    database.close()


def test_failed_migration_changes_nothing(tmp_path):
    """The whole migration is one transaction."""
    path = tmp_path / "index.db"
    engine = create_engine(f"sqlite:///{path}")
    before_migrations(engine)
    engine.dispose()
    database = IndexDatabase(tmp_path / "other.db")
    engine = database._engine = _sqlite(path, 1)
    with pytest.raises(ZeroDivisionError), database.write() as connection:
        migrate(connection)
        raise ZeroDivisionError
    names = inspect(engine).get_table_names()
    assert "schema_version" in names
    assert "changes" not in names


def test_newer_database(database):
    with database.write() as connection:
        connection.execute(text("UPDATE alembic_version SET version_num = '9999'"))
        with pytest.raises(MigrationError, match=f"has tables of version 9999, this program knows version {HEAD}"):
            migrate(connection)
        connection.execute(text(f"UPDATE alembic_version SET version_num = '{HEAD}'"))


def test_commands_of_an_operator_neither_make_nor_migrate(tmp_path, capsys):
    """Only `serve` and `invite` make a service, and only `serve` changes the tables of one."""
    nowhere = tmp_path / "mistyped"
    commands = (["list", "devices"], ["audit", "verify"], ["expire"], ["limit", "acme"], ["scrub"],
                ["revoke", "acme", "cam7"], ["backup", str(tmp_path / "backup")], ["delete", "acme", "--yes"])
    for command in commands:
        assert main(["cloud", *command, "--home", str(nowhere)]) == EXIT_USER_ERROR
        assert "`lepton cloud serve` makes it" in " ".join(capsys.readouterr().err.split())
    assert not nowhere.exists() and not (tmp_path / "backup").exists()
    home = tmp_path / "home"
    assert main(["cloud", "invite", "acme", "cam7", "--home", str(home)]) == 0
    with sqlite3.connect(home / "index.db") as db:
        db.execute("UPDATE alembic_version SET version_num = '0001'")
    db.close()
    capsys.readouterr()
    for command in commands:
        assert main(["cloud", *command, "--home", str(home)]) == EXIT_USER_ERROR
        assert "has tables of version 0001, this program knows version" in " ".join(capsys.readouterr().err.split())
    with sqlite3.connect(home / "index.db") as db:
        assert db.execute("SELECT version_num FROM alembic_version").fetchall() == [("0001",)]
    db.close()
