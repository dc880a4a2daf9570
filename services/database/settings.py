"""What a process says about its database."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path


class UnusableDatabase(Exception):
    """The database can never serve as it is: its address is wrong, or it is not one of Hearth's, or of a newer one."""


def sqlite_url(file: Path) -> str:
    """The URL of a file, whatever signs its name has."""
    from sqlalchemy import URL  # here, so that settings can be read without loading it

    return URL.create("sqlite", database=str(file)).render_as_string()


@dataclass(frozen=True, slots=True)
class DatabaseSettings:
    """Where the database is, and how long to wait for it. The times fit into calls of 15 s, the API's shortest."""

    url: str
    """`sqlite:///relative/file`, `sqlite:////absolute/file` or `postgresql+psycopg://user:password@host/name`."""
    threads: int = 8
    """How many transactions may run at once, each in a thread and on a connection of its own."""
    connect_seconds: int = 3
    """Until a connection counts as failed; of whole seconds, and at least 2 (PostgreSQL's own rule)."""
    lock_seconds: float = 5.0
    """How long a transaction waits for another's locks."""
    statement_seconds: float = 8.0
    """How long PostgreSQL works on one statement."""
    answer_seconds: float = 10.0
    """How long a caller waits in all, for a server that hangs does not keep the times above."""
    upgrade_seconds: float = 60.0
    """How long a process that starts waits while another one changes the schema."""
