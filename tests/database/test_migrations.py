"""The schema changes of the features service, on both databases."""

from __future__ import annotations

import asyncio
import sys
from asyncio.subprocess import PIPE
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from alembic import command
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from sqlalchemy import create_engine, text

from services.database.database import Database
from services.database.migrations import Migrations
from services.database.settings import DatabaseSettings, UnusableDatabase
from services.database.tables import new_metadata
from services.features.database.schema import MIGRATIONS
from services.features.database.tables import Base

ROOT = Path(__file__).parents[2]
BROKEN = """
import sqlalchemy as sa
from alembic import op

revision = "1"
down_revision = None

def upgrade():
    op.create_table("half", sa.Column("id", sa.Integer, primary_key=True))
    op.execute("SELECT * FROM no_such_table")
"""


@pytest.fixture
async def upgraded(database_url: str) -> AsyncIterator[Database]:
    database = Database(DatabaseSettings(database_url))
    await database.upgrade(MIGRATIONS)
    yield database
    await database.close()


async def test_the_migrations_make_the_tables_that_the_code_knows(migrated_url: str) -> None:
    engine = create_engine(migrated_url)
    with engine.connect() as connection:
        context = MigrationContext.configure(
            connection,
            opts={
                "version_table": MIGRATIONS.version_table,
                "compare_type": True,
                "compare_server_default": True,
            },
        )
        assert compare_metadata(context, Base.metadata) == []
    engine.dispose()


async def test_partial_and_unique_indices_are_those_that_the_code_knows(
    database_url: str, upgraded: Database
) -> None:
    """compare_metadata does not look at conditions: what it made is compared with what the tables' own DDL makes."""
    migrated = _indices(database_url)
    engine = create_engine(database_url)
    Base.metadata.drop_all(engine)
    Base.metadata.create_all(engine)
    engine.dispose()
    assert migrated == _indices(database_url)
    assert any("deleted IS NULL" in index.replace("(", "").replace(")", "") for index in migrated)


def _indices(url: str) -> list[str]:
    engine = create_engine(url)
    question = (
        "SELECT sql FROM sqlite_master WHERE type = 'index' AND sql IS NOT NULL"
        if engine.dialect.name == "sqlite"
        else "SELECT indexdef FROM pg_indexes WHERE schemaname = 'public' AND tablename <> :own"
    )
    with engine.connect() as connection:
        parameters = {} if engine.dialect.name == "sqlite" else {"own": MIGRATIONS.version_table}
        found = sorted(connection.scalars(text(question), parameters).all())
    engine.dispose()
    return found


async def test_an_upgrade_that_fails_half_way_changes_nothing(database_url: str, tmp_path: Path) -> None:
    folder = tmp_path / "migrations"
    folder.mkdir()
    (folder / "first.py").write_text(BROKEN)
    database = Database(DatabaseSettings(database_url))
    with pytest.raises(UnusableDatabase, match="no_such_table"):
        await database.upgrade(Migrations(folder, "broken_version", new_metadata()))
    await database.close()
    engine = create_engine(database_url)
    with engine.connect() as connection:
        names = engine.dialect.get_table_names(connection)
    engine.dispose()
    assert names == []


async def test_going_back_removes_everything(database_url: str, upgraded: Database) -> None:
    engine = create_engine(database_url)
    with engine.begin() as connection:
        command.downgrade(MIGRATIONS.config(connection), "base")
    with engine.connect() as connection:
        assert engine.dialect.get_table_names(connection) == [MIGRATIONS.version_table]
    engine.dispose()


async def test_a_newer_schema_is_refused(database_url: str, upgraded: Database) -> None:
    engine = create_engine(database_url)
    with engine.begin() as connection:
        connection.execute(text(f"UPDATE {MIGRATIONS.version_table} SET version_num = 'from tomorrow'"))
    engine.dispose()
    with pytest.raises(UnusableDatabase, match="another release of Hearth"):
        await upgraded.upgrade(MIGRATIONS)


async def test_two_services_share_a_database(upgraded: Database, tmp_path: Path) -> None:
    folder = tmp_path / "other"
    folder.mkdir()
    (folder / "first.py").write_text(BROKEN.replace("no_such_table", "half"))
    await upgraded.upgrade(Migrations(folder, "other_version", new_metadata()))
    await upgraded.upgrade(MIGRATIONS)
    assert await upgraded.read(lambda session: session.scalar(text("SELECT count(*) FROM half"))) == 0


async def test_processes_that_start_together_upgrade_once(database_url: str) -> None:
    upgrade = (
        "import asyncio, sys\n"
        "from services.database.database import Database\n"
        "from services.database.settings import DatabaseSettings\n"
        "from services.features.database.schema import MIGRATIONS\n"
        "database = Database(DatabaseSettings(sys.argv[1]))\n"
        "print('ready', flush=True)\n"
        "sys.stdin.readline()\n"
        "asyncio.run(database.upgrade(MIGRATIONS))\n"
    )
    processes = [
        await asyncio.create_subprocess_exec(
            sys.executable, "-c", upgrade, database_url, cwd=ROOT, stdin=PIPE, stdout=PIPE, stderr=PIPE
        )
        for _ in range(2)
    ]
    for process in processes:
        assert process.stdout is not None
        assert await process.stdout.readline() == b"ready\n"
    ends = await asyncio.gather(*(process.communicate(b"go\n") for process in processes))
    assert [process.returncode for process in processes] == [0, 0], ends
    database = Database(DatabaseSettings(database_url))
    assert await database.read(lambda session: session.scalar(text("SELECT count(*) FROM variants"))) == 0
    await database.close()


async def test_a_file_that_is_no_database_is_refused(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("these are notes, and not a database at all\n" * 200)
    database = Database(DatabaseSettings(f"sqlite:///{tmp_path / 'notes.txt'}"))
    with pytest.raises(UnusableDatabase, match="not a database"):
        await database.upgrade(MIGRATIONS)
    await database.close()
