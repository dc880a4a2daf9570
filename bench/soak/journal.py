"""What happened: attempts, acknowledged changes, misfortunes and samples of memory, one JSON a line."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

Record = dict[str, Any]
FILE = "events.jsonl"


class Journal:
    """Writes records with their time, and tells them to who listens."""

    def __init__(self, path: Path) -> None:
        self._file = path.open("w", encoding="utf-8", buffering=1)
        self._began = time.monotonic()
        self.listeners: list[Callable[[Record], None]] = []

    @property
    def now(self) -> float:
        """Seconds since the run began."""
        return time.monotonic() - self._began

    def begin(self) -> None:
        """Now is the start."""
        self._began = time.monotonic()

    def write(self, kind: str, **fields: Any) -> None:
        """A record of now."""
        self.take({"t": round(self.now, 3), "kind": kind, **fields})

    def take(self, record: Record) -> None:
        """A record as it is."""
        self._file.write(json.dumps(record, ensure_ascii=False) + "\n")
        for listener in self.listeners:
            listener(record)

    def close(self) -> None:
        self._file.close()


def read(folder: Path) -> list[Record]:
    """All records of a run."""
    with (folder / FILE).open(encoding="utf-8") as lines:
        return [json.loads(line) for line in lines]
