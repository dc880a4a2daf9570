"""Log lines: JSON, one object a line, for machines; plain text on a terminal."""

from __future__ import annotations

import json
import logging
import sys
from collections.abc import Mapping
from contextvars import ContextVar
from datetime import UTC, datetime
from typing import Any, TextIO

REQUEST_ID: ContextVar[str] = ContextVar("request_id", default="")
"""The id of the call that runs, set by the server's interceptor; every line logged within it carries it."""


def structured(**fields: object) -> dict[str, Mapping[str, object]]:
    """The `extra` of a log call whose line is to carry `fields`: `log.info("loaded", extra=structured(model=m))`.

    Never pass prompt text.
    """
    return {"fields": fields}


def configure(level: str = "INFO", stream: TextIO | None = None, *, as_json: bool | None = None) -> None:
    """Sends all log lines to `stream` (stderr unless given): as JSON, or plainly where that is a terminal."""
    target = sys.stderr if stream is None else stream
    plain = target.isatty() if as_json is None else not as_json
    handler = logging.StreamHandler(target)
    handler.setFormatter(PlainFormatter() if plain else JsonFormatter())
    logging.basicConfig(level=level, handlers=[handler], force=True)


class JsonFormatter(logging.Formatter):
    """One JSON object a line: time, level, logger, message, request_id where known, the fields, traceback."""

    def format(self, record: logging.LogRecord) -> str:
        """The line of a record."""
        line: dict[str, Any] = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname,
            "logger": record.name,
            "message": record.getMessage(),
            **_fields(record),
        }
        if record.exc_info:
            line["traceback"] = self.formatException(record.exc_info)
        return json.dumps(line, default=str, ensure_ascii=False)


class PlainFormatter(logging.Formatter):
    """Time, level, message and the fields as `name=value`, then the traceback if there is one."""

    def format(self, record: logging.LogRecord) -> str:
        """The line or lines of a record."""
        fields = "".join(f" {name}={value}" for name, value in _fields(record).items())
        time = datetime.fromtimestamp(record.created).strftime("%H:%M:%S")
        line = f"{time} {record.levelname:<7} {record.getMessage()}{fields}"
        return f"{line}\n{self.formatException(record.exc_info)}" if record.exc_info else line


def _fields(record: logging.LogRecord) -> dict[str, object]:
    request_id = REQUEST_ID.get()
    known: dict[str, object] = {"request_id": request_id} if request_id else {}
    return known | dict(getattr(record, "fields", {}))
