"""A file of JSON lines that a long run adds to: what was written before a kill is there afterwards."""

from __future__ import annotations

import fcntl
import json
import os
from contextlib import suppress
from pathlib import Path
from typing import Any, TextIO

from services.saelab.errors import RunMismatch, SaeLabError


class Journal:
    """The rows of one run, the oldest first. The file's first line says which run they belong to."""

    def __init__(self, path: Path, run: dict[str, Any]) -> None:
        """Starts, or goes on with, the journal of the run of these settings.

        A last line that a kill cut off is dropped. Raises RunMismatch where another run's journal is there, SaeLabError
        where it is broken, cannot be written, or another process writes it now.
        """
        self.path = path
        self.rows: list[dict[str, Any]] = []
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            self._file: TextIO = path.open("a", encoding="utf-8")
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)  # until the process ends, however it ends
            data = path.read_bytes() if path.exists() else b""
            whole = data.rfind(b"\n") + 1
            if whole:
                self._read(data[:whole].splitlines(), run)
            with path.open("ab") as file:
                file.truncate(whole)
        except BlockingIOError as error:
            raise SaeLabError(f"another process goes on with {path}: wait until it has ended") from error
        except OSError as error:
            raise SaeLabError(f"{path} cannot be used: {error}") from error
        if not whole:
            self._write(run)

    def _read(self, lines: list[bytes], run: dict[str, Any]) -> None:
        try:
            found, *self.rows = (json.loads(line) for line in lines)
        except ValueError as error:
            raise SaeLabError(f"{self.path} is broken ({error}): delete it to start again") from error
        changed = sorted(key for key in run.keys() | found.keys() if run.get(key) != found.get(key))
        if changed:
            raise RunMismatch(
                f"{self.path} is of another run (different: {', '.join(changed)}): choose another folder, or delete it"
            )

    def add(self, rows: list[dict[str, Any]]) -> None:
        """Keeps rows. A full disk raises SaeLabError."""
        for row in rows:
            self._write(row)
        self.rows += rows

    def _write(self, row: dict[str, Any]) -> None:
        try:
            self._file.write(json.dumps(row, ensure_ascii=False) + "\n")
            self._file.flush()
            os.fsync(self._file.fileno())
        except OSError as error:
            raise SaeLabError(
                f"{self.path} could not be written ({error}): free some space and run the same command again, "
                "which goes on from here"
            ) from error

    def close(self) -> None:
        """Closes the file."""
        with suppress(OSError):  # On a full disk what could not be written was told already.
            self._file.close()
