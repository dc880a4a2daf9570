"""Log lines: JSON, one object a line, for machines; plain text on a terminal."""

from __future__ import annotations

import json
import logging
import sys
from collections.abc import Mapping
from contextvars import ContextVar
from datetime import UTC, datetime
from typing import Any, TextIO

from services.rpc import traces

REQUEST_ID: ContextVar[str] = ContextVar("request_id", default="")
"""The id of the call that runs, set by the server's interceptor; every line logged within it carries it."""
_TALLY: ContextVar[dict[str, int] | None] = ContextVar("tally", default=None)


def begin_tally() -> dict[str, int]:
    """What `tally` counts from here on, for the line of the call that begins."""
    counted: dict[str, int] = {}
    _TALLY.set(counted)
    return counted


def tally(**numbers: int) -> None:
    """Adds numbers, such as tokens, to the line of the call or request that runs; nothing happens where none does."""
    counted = _TALLY.get()
    if counted is not None:
        for name, number in numbers.items():
            counted[name] = counted.get(name, 0) + number


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
    """One JSON object a line: time, level, logger, message, request and trace id where known, the fields, traceback."""

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
    if trace_id := traces.trace_id():
        known["trace_id"] = trace_id
    return known | dict(getattr(record, "fields", {}))
