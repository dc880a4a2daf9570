"""A database that is away, hangs or is locked: callers are told in time, and once it is back all goes on."""

from __future__ import annotations

import asyncio
import logging
import os
import signal
import sqlite3
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from sqlalchemy import delete, select, text
from sqlalchemy.orm import Session

from services.database.database import Database
from services.database.settings import DatabaseSettings
from services.errors import DependencyUnavailable
from services.features.database.schema import MIGRATIONS
from services.features.database.tables import EmbeddingRow
from tests.database.postgres import PostgresServer
from tests.database.test_database import add, digests


@pytest.fixture
async def on_postgres(migrated_postgres: str) -> AsyncIterator[Database]:
    """On the server that tests stop and start."""
    database = Database(
        DatabaseSettings(migrated_postgres, statement_seconds=1.0, lock_seconds=0.5, answer_seconds=2.0)
    )
    yield database
    await database.write(lambda session: session.execute(delete(EmbeddingRow)))
    await database.close()


async def test_a_server_that_was_stopped_is_missed_and_found_again(
    on_postgres: Database, postgres: PostgresServer, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "services.database")
    await on_postgres.write(lambda session: add(session, "before"))
    postgres.stop()
    for _ in range(3):
        begun = time.monotonic()
        with pytest.raises(DependencyUnavailable) as refused:
            await on_postgres.ping()
        assert refused.value.retry_after is not None
        with pytest.raises(DependencyUnavailable):
            await on_postgres.write(lambda session: add(session, "meanwhile"))
        assert time.monotonic() - begun < 4
    postgres.start()
    await on_postgres.ping()
    await on_postgres.write(lambda session: add(session, "after"))
    assert await digests(on_postgres) == {"before", "after"}
    # One line when it went, one when it came back, and no address in what callers are told.
    assert [record.levelname for record in caplog.records] == ["WARNING", "INFO"]
    assert str(postgres.port) not in refused.value.message


async def test_a_connection_that_broke_in_a_transaction_is_replaced_and_the_transaction_repeated(
    on_postgres: Database, postgres: PostgresServer
) -> None:
    tries: list[int] = []

    def broken_at_first(session: Session) -> int:
        pid = session.scalar(text("SELECT pg_backend_pid()"))
        tries.append(pid)
        if len(tries) == 1:
            postgres.execute(f"SELECT pg_terminate_backend({pid})")
        add(session, f"try {len(tries)}")
        session.flush()
        return len(tries)

    assert await on_postgres.write(broken_at_first) == 2
    assert await digests(on_postgres) == {"try 2"}
    assert tries[0] != tries[1]


@contextmanager
def hanging(postgres: PostgresServer) -> Iterator[None]:
    """Every process of the server stands still, as on a machine that is out of memory: connections stay open."""
    parent = postgres.pid
    children = Path(f"/proc/{parent}/task/{parent}/children").read_text().split()
    for pid in (parent, *map(int, children)):
        os.kill(pid, signal.SIGSTOP)
    try:
        yield
    finally:
        for pid in (*map(int, children), parent):
            os.kill(pid, signal.SIGCONT)


async def test_a_server_that_hangs_is_told_in_time_and_does_not_block_others(
    on_postgres: Database, postgres: PostgresServer
) -> None:
    await on_postgres.ping()
    with hanging(postgres):
        begun = time.monotonic()
        asked = [on_postgres.ping() for _ in range(30)]  # more than there are threads
        answers = await asyncio.gather(*asked, return_exceptions=True)
        assert time.monotonic() - begun < 5
        assert all(isinstance(answer, DependencyUnavailable) for answer in answers)
    async with asyncio.timeout(20):
        await answering(on_postgres)
    await on_postgres.write(lambda session: add(session, "after"))
    assert await digests(on_postgres) == {"after"}


async def answering(database: Database) -> None:
    """Returns once the database answers: threads that hung need a moment to come back."""
    while True:
        try:
            return await database.ping()
        except DependencyUnavailable:
            continue


async def test_a_statement_that_takes_too_long_is_ended_by_the_server(on_postgres: Database) -> None:
    with pytest.raises(DependencyUnavailable, match="took too long"):
        await on_postgres.read(lambda session: session.execute(text("SELECT pg_sleep(60)")))


async def test_a_row_that_another_transaction_holds_is_waited_for_within_limits(
    on_postgres: Database, postgres: PostgresServer
) -> None:
    await on_postgres.write(lambda session: add(session, "held"))
    held, done = asyncio.Event(), asyncio.Event()
    loop = asyncio.get_running_loop()

    def hold(session: Session) -> None:
        session.scalar(select(EmbeddingRow).with_for_update())
        loop.call_soon_threadsafe(held.set)
        asyncio.run_coroutine_threadsafe(done.wait(), loop).result(10)

    holding = asyncio.create_task(on_postgres.write(hold))
    await held.wait()
    with pytest.raises(DependencyUnavailable, match="holds it"):
        await on_postgres.write(lambda session: session.scalar(select(EmbeddingRow).with_for_update()))
    done.set()
    await holding


async def test_an_upgrade_waits_until_the_server_is_there(postgres: PostgresServer) -> None:
    with postgres.new_database() as url:
        database = Database(DatabaseSettings(url))
        postgres.stop()
        with pytest.raises(DependencyUnavailable):
            await database.upgrade(MIGRATIONS)
        postgres.start()
        await database.upgrade(MIGRATIONS)
        assert await digests(database) == set()
        await database.close()


async def test_sqlite_locked_by_another_program_is_told_in_time(tmp_path: Path) -> None:
    file = tmp_path / "hearth.db"
    database = Database(DatabaseSettings(f"sqlite:///{file}", lock_seconds=0.2))
    await database.upgrade(MIGRATIONS)
    with sqlite3.connect(file, isolation_level=None) as another:
        another.execute("BEGIN IMMEDIATE")
        with pytest.raises(DependencyUnavailable, match="another process writes") as refused:
            await database.write(lambda session: add(session, "a"))
        assert refused.value.retry_after is not None
        assert await digests(database) == set()  # reading goes on
        another.execute("ROLLBACK")
    await database.write(lambda session: add(session, "a"))
    assert await digests(database) == {"a"}
    await database.close()


async def test_a_full_disk_is_told_and_what_was_there_stays(tmp_path: Path) -> None:
    database = Database(DatabaseSettings(f"sqlite:///{tmp_path / 'hearth.db'}", threads=1))
    await database.upgrade(MIGRATIONS)
    await database.write(lambda session: add(session, "before"))
    # SQLite's own limit of pages gives the same error as a disk without room.
    pages = await database.read(lambda session: session.scalar(text("PRAGMA page_count")))
    await database.read(lambda session: session.scalar(text(f"PRAGMA max_page_count = {pages}")))

    def fill(session: Session) -> None:
        session.add(EmbeddingRow(encoder="e", text_digest=b"big", vector=b"x" * 1_000_000))

    with pytest.raises(DependencyUnavailable, match="disk is full"):
        await database.write(fill)
    assert await digests(database) == {"before"}
    await database.read(lambda session: session.scalar(text("PRAGMA max_page_count = 1000000")))
    await database.write(fill)
    assert await digests(database) == {"before", "big"}
    await database.close()


async def test_an_sqlite_file_that_cannot_be_opened_is_told(tmp_path: Path) -> None:
    (tmp_path / "hearth.db").mkdir()
    database = Database(DatabaseSettings(f"sqlite:///{tmp_path / 'hearth.db'}"))
    with pytest.raises(DependencyUnavailable, match="cannot be opened"):
        await database.ping()
    await database.close()
