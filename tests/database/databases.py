"""Databases for tests: each claim is made of SQLite and of a real PostgreSQL."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest
from sqlalchemy import NullPool, create_engine

from services.database.database import Database
from services.database.settings import DatabaseSettings
from services.features.database.schema import MIGRATIONS
from services.features.database.tables import Base
from tests.database.postgres import WITHOUT, PostgresServer, programs, running_postgres


@pytest.fixture(scope="session")
def postgres() -> Iterator[PostgresServer]:
    """One server for all tests."""
    folder = programs()
    if folder is None:
        pytest.skip(WITHOUT)
    with running_postgres(folder) as server:
        yield server


@pytest.fixture(params=["sqlite", "postgresql"])
def database_url(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    """An empty database."""
    if request.param == "sqlite":
        yield f"sqlite:///{tmp_path / 'hearth.db'}"
        return
    server: PostgresServer = request.getfixturevalue("postgres")
    with server.new_database() as url:
        yield url


@pytest.fixture(scope="session")
def migrated_postgres(postgres: PostgresServer) -> Iterator[str]:
    """One PostgreSQL database with the tables of the features service: making one takes a second."""
    with postgres.new_database() as url:
        asyncio.run(_migrate(url))
        yield url


@pytest.fixture(params=["sqlite", "postgresql"])
def migrated_url(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    """A database with the tables of the features service, empty."""
    if request.param == "sqlite":
        url = f"sqlite:///{tmp_path / 'hearth.db'}"
        asyncio.run(_migrate(url))
        yield url
        return
    url = request.getfixturevalue("migrated_postgres")
    yield url
    engine = create_engine(url, poolclass=NullPool)
    with engine.begin() as connection:
        for table in reversed(Base.metadata.sorted_tables):
            connection.execute(table.delete())


@pytest.fixture
async def database(migrated_url: str) -> AsyncIterator[Database]:
    """The same, opened."""
    database = Database(DatabaseSettings(migrated_url, connect_seconds=30, answer_seconds=60.0))
    yield database
    await database.close()


async def _migrate(url: str) -> None:
    database = Database(DatabaseSettings(url, connect_seconds=30, answer_seconds=60.0))
    await database.upgrade(MIGRATIONS)
    await database.close()
