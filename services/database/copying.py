"""Copies of SQLite databases, made while they are used."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path

from services.database.settings import UnusableDatabase


def copy(source: Path, target: Path) -> None:
    """Makes a whole copy as of one moment in one file, with what still lies in the write-ahead log.

    Raises UnusableDatabase.
    """
    try:
        with closing(_open(source, "ro")) as used, closing(sqlite3.connect(target)) as made:
            used.backup(made)
            made.execute("PRAGMA journal_mode=DELETE")
    except sqlite3.Error as error:
        raise UnusableDatabase(f"{source} cannot be copied: {error}") from None


def check(file: Path) -> None:
    """Raises UnusableDatabase if a file is not a sound SQLite database."""
    try:
        with closing(_open(file, "ro")) as database:
            said = database.execute("PRAGMA integrity_check(1)").fetchone()[0]
    except sqlite3.Error as error:
        said = str(error)
    if said != "ok":
        raise UnusableDatabase(f"{file} is damaged: {said}")


def in_use(file: Path) -> bool:
    """Whether another process has a database open. Where none has, nothing is left in its write-ahead log then."""
    try:
        with closing(_open(file, "rw")) as database:
            database.execute("PRAGMA journal_mode=DELETE")  # only who is alone may leave the write-ahead log
    except sqlite3.OperationalError:
        return True
    except sqlite3.DatabaseError:  # damaged: the reason for which it is to be replaced
        return False
    return False


def _open(file: Path, mode: str) -> sqlite3.Connection:
    return sqlite3.connect(f"{file.absolute().as_uri()}?mode={mode}", uri=True, timeout=1.0)
