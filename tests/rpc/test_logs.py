"""Claims about log lines."""

from __future__ import annotations

import io
import json
import logging
from collections.abc import Iterator
from datetime import datetime

import pytest

from services.rpc.logs import REQUEST_ID, configure, structured

log = logging.getLogger("hearth.test")


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.fixture(autouse=True)
def _restore_logging() -> Iterator[None]:
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    for handler in handlers:  # so that configure closes none of them
        root.removeHandler(handler)
    yield
    root.handlers[:] = handlers
    root.setLevel(level)


def test_a_line_is_one_json_object_with_its_fields() -> None:
    out = io.StringIO()
    configure("INFO", out)
    log.info("loaded %d", 3, extra=structured(model="m\n", path=object))
    log.debug("too fine")
    (line,) = out.getvalue().splitlines()
    fields = json.loads(line)
    assert datetime.fromisoformat(fields.pop("time")).tzinfo is not None
    assert fields == {
        "level": "INFO",
        "logger": "hearth.test",
        "message": "loaded 3",
        "model": "m\n",
        "path": "<class 'object'>",
    }


def test_a_line_within_a_call_carries_its_request_id() -> None:
    out = io.StringIO()
    configure("INFO", out)
    token = REQUEST_ID.set("id-1")
    log.info("x")
    REQUEST_ID.reset(token)
    log.info("y")
    first, second = map(json.loads, out.getvalue().splitlines())
    assert first["request_id"] == "id-1"
    assert "request_id" not in second


def test_a_traceback_stays_within_its_line() -> None:
    out = io.StringIO()
    configure("INFO", out)
    try:
        raise ValueError("why")
    except ValueError:
        log.exception("failed")
    (line,) = out.getvalue().splitlines()
    assert "ValueError: why" in json.loads(line)["traceback"]


def test_a_terminal_gets_plain_lines() -> None:
    out = Terminal()
    configure("INFO", out)
    log.info("loaded", extra=structured(model="m"))
    assert out.getvalue().rstrip().endswith("INFO    loaded model=m")


def test_json_can_be_asked_for_on_a_terminal() -> None:
    out = Terminal()
    configure("INFO", out, as_json=True)
    log.info("loaded")
    assert json.loads(out.getvalue())["message"] == "loaded"
