"""Connections: SQLite in a file of this machine, or PostgreSQL."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from sqlalchemy import URL, Connection, Engine, create_engine, event, make_url
from sqlalchemy.exc import ArgumentError

from services.database.settings import DatabaseSettings, UnusableDatabase

IMMEDIATE = "hearth_immediate"
"""Execution option of connections whose transactions write: SQLite takes its one write lock when they begin."""
_POSTGRESQL = ("postgresql+psycopg", "postgresql", "postgres")


def parsed(url: str) -> URL:
    """The parts of a database's address. Raises UnusableDatabase with what is allowed; never shows a password."""
    try:
        parts = make_url(url)
    except ArgumentError:
        raise UnusableDatabase(
            "the database's address is not a URL; allowed: sqlite:///file or postgresql+psycopg://user@host/name"
        ) from None
    if parts.drivername in _POSTGRESQL:
        return parts.set(drivername=_POSTGRESQL[0])
    if parts.drivername not in ("sqlite", "sqlite+pysqlite"):
        raise UnusableDatabase(f"{parts.drivername} is not supported; allowed: sqlite, postgresql+psycopg")
    if parts.database in (None, "", ":memory:"):
        raise UnusableDatabase("SQLite needs a file, as in sqlite:////var/lib/hearth/hearth.db")
    return parts


def sqlite_file(url: URL) -> Path | None:
    """The file that holds an SQLite database; None for others."""
    return Path(url.database).absolute() if url.get_backend_name() == "sqlite" and url.database else None


def make_engine(settings: DatabaseSettings) -> Engine:
    """An engine with as many connections as threads, so that no thread waits for one. Connects at first use."""
    url = parsed(settings.url)
    file = sqlite_file(url)
    if file is not None:
        return _sqlite(url, file, settings)
    # What the URL says itself counts. The server ends what takes too long; TCP notices a host that is gone.
    wait = int(settings.statement_seconds * 1e3), int(settings.lock_seconds * 1e3)
    arguments: dict[str, Any] = {
        "connect_timeout": max(2, settings.connect_seconds),
        "options": f"-c statement_timeout={wait[0]} -c lock_timeout={wait[1]} "
        f"-c idle_in_transaction_session_timeout={2 * wait[0]}",
        "tcp_user_timeout": int(settings.answer_seconds * 1e3),
        "keepalives_idle": 10,
        "keepalives_interval": 5,
        "keepalives_count": 3,
        "application_name": "hearth",
    }
    return create_engine(
        url,
        connect_args={name: value for name, value in arguments.items() if name not in url.query},
        pool_size=settings.threads,
        max_overflow=0,
        pool_timeout=settings.answer_seconds,
        isolation_level="REPEATABLE READ",  # one moment's rows throughout a transaction, as on SQLite
        pool_pre_ping=True,  # so that a server that was away is noticed before a transaction, not in it
    )


def _sqlite(url: URL, file: Path, settings: DatabaseSettings) -> Engine:
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
    except OSError as problem:
        raise UnusableDatabase(f"cannot make the folder {file.parent}: {problem.strerror}") from problem
    engine = create_engine(
        url,
        connect_args={"timeout": settings.lock_seconds},
        pool_size=settings.threads,
        max_overflow=0,
        pool_timeout=settings.answer_seconds,
    )
    event.listen(engine, "connect", _prepare)
    event.listen(engine, "begin", _begin)
    return engine


def _prepare(connection: Any, _record: object) -> None:
    connection.isolation_level = None  # else Python's driver begins transactions by rules of its own
    cursor = connection.cursor()
    # WAL: readers and the one writer do not wait for each other. FULL: each commit is on the disk before it is
    # acknowledged; with NORMAL, WAL would lose the last ones when the power fails. Writes are few, so that it is cheap.
    for pragma in ("journal_mode = WAL", "synchronous = FULL", "foreign_keys = ON"):
        cursor.execute(f"PRAGMA {pragma}")
    cursor.close()


def _begin(connection: Connection) -> None:
    # A transaction that reads first and writes later could find that another has written in between, and SQLite would
    # end it without waiting; one that takes the write lock when it begins waits its turn.
    immediate = connection.get_execution_options().get(IMMEDIATE, False)
    connection.exec_driver_sql("BEGIN IMMEDIATE" if immediate else "BEGIN")
