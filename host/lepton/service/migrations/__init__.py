"""Brings the tables of a database to the version that this program knows, with Alembic.

The scripts in `versions` describe how the tables have changed. A new one is written for every change of `tables`, and a
test compares what they make with `tables`.
"""

from pathlib import Path

from sqlalchemy import Connection, inspect, text

HEAD = "0002"  # the newest script


class MigrationError(RuntimeError):
    """The database has tables that this program does not know."""


def migrate(connection: Connection) -> None:
    """Make or change the tables within the transaction of `connection`. Raises `MigrationError`."""
    found = set(inspect(connection).get_table_names())
    version = _version(connection, found)
    if version == HEAD:
        return
    if version is not None and version > HEAD:
        raise MigrationError(_later(version))
    # Imported here because it takes 0.2 s and is needed once for each database.
    from alembic import command
    from alembic.config import Config
    configuration = Config()
    configuration.set_main_option("script_location", str(Path(__file__).parent).replace("%", "%%"))
    configuration.attributes["connection"] = connection
    if version is None and "schema_version" in found:  # made before there were migrations
        command.stamp(configuration, "0001")
        connection.execute(text("DROP TABLE schema_version"))
    command.upgrade(configuration, "head")


def check_version(connection: Connection) -> None:
    """Raise `MigrationError` unless the tables have the version that this program knows. Nothing is changed."""
    version = _version(connection, set(inspect(connection).get_table_names()))
    if version is None:
        raise MigrationError("has no tables of this version; start the service once: lepton cloud serve")
    if version > HEAD:
        raise MigrationError(_later(version))
    if version < HEAD:
        raise MigrationError(f"has tables of version {version}, this program knows version {HEAD}; restart the service "
                             "with this version of Lepton, which changes them")


def _version(connection: Connection, found: set[str]) -> str | None:
    if "alembic_version" not in found:
        return None
    return connection.scalar(text("SELECT version_num FROM alembic_version"))


def _later(version: str) -> str:
    return (f"has tables of version {version}, this program knows version {HEAD}; use the version of Lepton that made "
            "it")
