"""Which errors of a database mean that it cannot answer now, as opposed to a question that is wrong."""

from __future__ import annotations

import sqlite3
from dataclasses import dataclass

from sqlalchemy.exc import DBAPIError, InterfaceError, OperationalError
from sqlalchemy.exc import TimeoutError as NoConnection

_SQLITE = {
    sqlite3.SQLITE_BUSY: "another process writes for too long",
    sqlite3.SQLITE_LOCKED: "another process writes for too long",
    sqlite3.SQLITE_PROTOCOL: "another process writes for too long",
    sqlite3.SQLITE_NOMEM: "out of memory",
    sqlite3.SQLITE_READONLY: "its file cannot be written",
    sqlite3.SQLITE_IOERR: "its file cannot be read or written",
    sqlite3.SQLITE_CANTOPEN: "its file cannot be opened",
    sqlite3.SQLITE_FULL: "its disk is full",
}
"""By primary code: https://sqlite.org/rescode.html."""
_POSTGRESQL = {
    "08": "the connection was lost",
    "25006": "it takes no writes now",
    "53": "it is out of disk, memory or connections",
    "55P03": "another transaction holds it for too long",
    "57014": "the statement took too long",
    "57P": "it is starting or stopping",
    "58": "its disk or system fails",
}
"""By SQLSTATE or its beginning: https://www.postgresql.org/docs/current/errcodes-appendix.html."""
_ROLLED_BACK = ("40001", "40P01")
"""SQLSTATEs of a transaction that was sacrificed to another one; the same again succeeds."""


@dataclass(frozen=True, slots=True)
class Outage:
    """Why a database does not answer."""

    problem: str
    """For callers: names nothing internal."""
    passing: bool = False
    """Whether the transaction was undone and the same one may succeed at once, for example on a new connection."""


def outage(error: Exception) -> Outage | None:
    """What is wrong with the database; None where it answers and the error is something else."""
    if isinstance(error, NoConnection):
        return Outage("all connections are in use")
    if not isinstance(error, DBAPIError):
        return None
    if isinstance(error.orig, sqlite3.Error):
        code = getattr(error.orig, "sqlite_errorcode", 0)
        problem = _SQLITE.get(code & 0xFF)
        return Outage(problem, passing=code == sqlite3.SQLITE_BUSY_SNAPSHOT) if problem else None
    state = getattr(error.orig, "sqlstate", None)
    if state in _ROLLED_BACK:
        return Outage("other transactions came in between", passing=True)
    if state is not None:
        for beginning, problem in _POSTGRESQL.items():
            if state.startswith(beginning):
                return Outage(problem, passing=error.connection_invalidated)
        return None
    if error.connection_invalidated:
        return Outage("the connection was lost", passing=True)
    return Outage("cannot connect") if isinstance(error, OperationalError | InterfaceError) else None
