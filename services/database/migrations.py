"""Schema changes, made by Alembic when a process starts. Each service has its own folder of them and its own table that
says how far they are, so that several services can share one database."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from alembic import command
from alembic.config import Config
from alembic.util.exc import CommandError
from filelock import FileLock, Timeout
from sqlalchemy import Connection, Engine, MetaData, text
from sqlalchemy.exc import DatabaseError

from services.database.connections import sqlite_file
from services.database.failures import outage
from services.database.settings import DatabaseSettings, UnusableDatabase
from services.errors import DependencyUnavailable

ENVIRONMENT = Path(__file__).parent / "environment"
"""Where Alembic finds env.py, one for all services."""


@dataclass(frozen=True, slots=True)
class Migrations:
    """The schema changes of one service."""

    folder: Path
    """Holds one Python file for each change."""
    version_table: str
    """Says in the database how far they are."""
    tables: MetaData
    """What the tables look like after all changes."""

    def config(self, connection: Connection) -> Config:
        """What Alembic's commands take."""
        config = Config()
        config.set_main_option("script_location", str(ENVIRONMENT).replace("%", "%%"))
        config.set_main_option("version_locations", str(self.folder).replace("%", "%%"))
        config.set_main_option("path_separator", "newline")
        config.attributes["connection"] = connection
        config.attributes["migrations"] = self
        return config


def upgrade(engine: Engine, migrations: Migrations, settings: DatabaseSettings) -> None:
    """Makes all changes that are missing, in one transaction: killed in the middle, it leaves nothing half done."""
    is_postgresql = engine.dialect.name == "postgresql"
    if is_postgresql:  # sees what the process has changed that it waited for
        engine = engine.execution_options(isolation_level="READ COMMITTED")
    try:
        with _alone(engine, settings), engine.begin() as connection:
            if is_postgresql:
                _wait_alone(connection, migrations, settings)
            command.upgrade(migrations.config(connection), "head")
    except CommandError as problem:
        raise UnusableDatabase(
            f"the database is of another release of Hearth, perhaps a newer one: {problem}"
        ) from problem
    except DatabaseError as problem:
        if outage(problem) is not None:
            raise
        raise UnusableDatabase(f"the database cannot be set up: {problem.orig}") from problem


@contextmanager
def _alone(engine: Engine, settings: DatabaseSettings) -> Iterator[None]:
    """Keeps other processes off an SQLite file, whose first change to WAL does not wait its turn by itself."""
    file = sqlite_file(engine.url)
    if file is None:
        yield
        return
    try:
        with FileLock(file.with_name(file.name + ".lock"), timeout=settings.upgrade_seconds):
            yield
    except Timeout as problem:
        raise DependencyUnavailable("the database", "another process changes its schema") from problem
    except PermissionError as problem:
        raise UnusableDatabase(f"cannot write in the folder {file.parent}") from problem


def _wait_alone(connection: Connection, migrations: Migrations, settings: DatabaseSettings) -> None:
    """Waits until no other process changes the schema; the lock ends with the transaction, however that ends."""
    for limit, seconds in (("statement_timeout", 0.0), ("lock_timeout", settings.upgrade_seconds)):
        connection.execute(
            text("SELECT set_config(:limit, :value, true)"),
            {"limit": limit, "value": str(int(seconds * 1e3))},
        )
    digest = hashlib.sha256(migrations.version_table.encode()).digest()
    key = int.from_bytes(digest[:8], "big", signed=True)
    connection.execute(text("SELECT pg_advisory_xact_lock(:key)"), {"key": key})
