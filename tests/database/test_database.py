"""Transactions from coroutines, on both databases: durable, alone, repeated where others come in between."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator, Callable
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path

import pytest
from sqlalchemy import delete, func, select, text
from sqlalchemy.exc import IntegrityError, StatementError
from sqlalchemy.orm import Session

from services.database.database import Database
from services.database.settings import DatabaseSettings, UnusableDatabase, sqlite_url
from services.features.database.tables import EmbeddingRow, RevisionRow

LONG = 20.0
"""Seconds after which a test gives up on something that should happen at once."""


def add(session: Session, *digests: str) -> None:
    session.add_all(EmbeddingRow(encoder="e", text_digest=d.encode(), vector=b"") for d in digests)


async def digests(database: Database) -> set[str]:
    rows = await database.read(lambda session: session.scalars(select(EmbeddingRow.text_digest)).all())
    return {row.decode() for row in rows}


@pytest.fixture
async def other(migrated_url: str) -> AsyncIterator[Database]:
    """The same database as another process has it."""
    database = Database(DatabaseSettings(migrated_url))
    yield database
    await database.close()


async def test_what_is_written_is_seen_by_others_once_write_returns(
    database: Database, other: Database
) -> None:
    await database.write(lambda session: add(session, "a", "b"))
    assert await digests(other) == {"a", "b"}


async def test_a_transaction_that_raises_changes_nothing(database: Database) -> None:
    def fail(session: Session) -> None:
        add(session, "a")
        session.flush()
        raise LookupError("not today")

    with pytest.raises(LookupError, match="not today"):
        await database.write(fail)
    assert await digests(database) == set()


async def test_reading_changes_nothing(database: Database) -> None:
    def sneak(session: Session) -> None:
        add(session, "a")
        session.flush()

    await database.read(sneak)
    assert await digests(database) == set()


async def test_the_event_loop_runs_while_the_database_works(database: Database) -> None:
    started, released = threading.Event(), threading.Event()

    def slow(session: Session) -> bool:
        started.set()
        return released.wait(LONG)

    working = asyncio.create_task(database.read(slow))
    assert await asyncio.to_thread(started.wait, LONG)
    released.set()  # the loop, which is not blocked, ends the wait
    assert await working


async def test_a_reader_sees_one_moment_and_does_not_wait_for_a_writer(
    database: Database, other: Database
) -> None:
    await database.write(lambda session: add(session, "a"))
    seen, written = threading.Event(), threading.Event()

    def read_twice(session: Session) -> tuple[int | None, int | None]:
        count = select(func.count()).select_from(EmbeddingRow)
        first = session.scalar(count)
        seen.set()
        assert written.wait(LONG)
        return first, session.scalar(count)

    reading = asyncio.create_task(database.read(read_twice))
    assert await asyncio.to_thread(seen.wait, LONG)
    await other.write(lambda session: add(session, "b"))  # does not wait for the reader either
    written.set()
    assert await reading == (1, 1)
    assert await digests(database) == {"a", "b"}


async def test_a_unique_value_that_another_writer_took_first_is_found_at_the_second_try(
    database: Database, other: Database
) -> None:
    def add_or_find(session: Session) -> str:
        if session.get(EmbeddingRow, ("e", b"a")):
            return "found"
        add(session, "a")
        return "added"

    done = await asyncio.gather(*(each.write(add_or_find) for each in (database, other) * 6))
    assert sorted(done) == ["added"] + ["found"] * 11


async def test_increments_are_never_lost(database: Database, other: Database) -> None:
    await database.write(lambda session: add(session, "a"))

    def lengthen(session: Session) -> None:
        row = session.get(EmbeddingRow, ("e", b"a"))
        assert row is not None
        row.vector = row.vector + b"."

    await asyncio.gather(*(each.write(lengthen) for each in (database, other) * 5))
    length = await database.read(lambda session: session.scalar(select(func.length(EmbeddingRow.vector))))
    assert length == 10


async def test_writers_that_wait_for_each_other_in_a_circle_both_succeed(
    database: Database, other: Database
) -> None:
    await database.write(lambda session: add(session, "a", "b"))
    first_rows = threading.Barrier(2)

    def change(*order: str) -> Callable[[Session], None]:
        # SQLite's writers come one after the other from the start, so that there is nothing to arrange.
        waits = [first_rows] if database.dialect == "postgresql" else []

        def work(session: Session) -> None:
            for digest in order:
                one = select(EmbeddingRow).where(EmbeddingRow.text_digest == digest.encode())
                row = session.scalars(one.with_for_update()).one()
                row.vector += b"."
                if waits:  # at the first try alone: each now holds what the other one wants next
                    waits.pop().wait(LONG)

        return work

    await asyncio.gather(database.write(change("a", "b")), other.write(change("b", "a")))
    lengths = await database.read(
        lambda session: session.scalars(select(func.length(EmbeddingRow.vector))).all()
    )
    assert lengths == [2, 2]


async def test_a_constraint_that_stays_broken_is_an_error_of_the_program(database: Database) -> None:
    await database.write(lambda session: add(session, "a"))
    with pytest.raises(IntegrityError):
        await database.write(lambda session: add(session, "a"))


async def test_what_nobody_waits_for_any_more_is_never_begun(migrated_url: str) -> None:
    database = Database(DatabaseSettings(migrated_url, threads=1))
    released = threading.Event()
    blocking = asyncio.create_task(database.read(lambda session: released.wait(LONG)))
    late = asyncio.create_task(database.write(lambda session: add(session, "late")))
    await asyncio.sleep(0)
    late.cancel()
    with pytest.raises(asyncio.CancelledError):
        await late
    released.set()
    assert await blocking
    assert await digests(database) == set()
    await database.close()


async def test_moments_are_kept_to_the_microsecond_in_utc(database: Database) -> None:
    moment = datetime(2026, 3, 29, 2, 30, 0, 123456, timezone(timedelta(hours=5, minutes=30)))
    row = {"sae": "s", "feature": 1, "revision": 1, "label": "", "description": "", "previous_label": ""}

    def put(session: Session, created: datetime) -> None:
        session.execute(delete(RevisionRow))
        session.add(RevisionRow(**row, owner="", note="", created=created))

    await database.write(lambda session: put(session, moment))
    kept = await database.read(lambda session: session.scalar(select(RevisionRow.created)))
    assert kept == moment
    assert kept.tzinfo is UTC
    with pytest.raises(StatementError, match="names no moment"):
        await database.write(lambda session: put(session, moment.replace(tzinfo=None)))


async def test_sqlite_writes_each_commit_through_to_the_disk(tmp_path: Path) -> None:
    file = tmp_path / "new folder" / "a?b%20c#d.db"
    database = Database(DatabaseSettings(sqlite_url(file)))
    pragmas = {"journal_mode": "wal", "synchronous": 2, "foreign_keys": 1, "busy_timeout": 5000}
    for name, value in pragmas.items():
        found = await database.read(lambda session, name=name: session.scalar(text(f"PRAGMA {name}")))
        assert (name, found) == (name, value)
    assert file.exists()
    await database.close()


@pytest.mark.parametrize(
    ("url", "problem"),
    [
        ("hearth.db", "not a URL"),
        ("mysql://root:secret@host/db", "mysql is not supported"),
        ("postgresql+asyncpg://u:secret@host/db", "asyncpg is not supported"),
        ("sqlite://", "needs a file"),
        ("sqlite:///:memory:", "needs a file"),
    ],
)
def test_an_address_that_cannot_serve_is_refused_without_its_password(url: str, problem: str) -> None:
    with pytest.raises(UnusableDatabase, match=problem) as refused:
        Database(DatabaseSettings(url))
    assert "secret" not in str(refused.value)


def test_a_folder_that_cannot_be_made_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(UnusableDatabase, match="cannot make the folder"):
        Database(DatabaseSettings(f"sqlite:///{tmp_path / 'file' / 'folder' / 'a.db'}"))
