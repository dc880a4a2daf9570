"""Log lines of the processes that `hearth up` runs, each with its name in front."""

from __future__ import annotations

import json
from datetime import datetime
from typing import Any

from rich.console import Console
from rich.text import Text

from services.cli.render.console import EMBER

_PREFIXES = (EMBER, "cyan", "yellow", "green", "magenta")
_LEVELS = {"WARNING": "yellow", "ERROR": "bold red", "CRITICAL": "bold red"}
_NOT_SHOWN = frozenset({"time", "level", "logger", "message", "traceback"})


class LogLines:
    """Writes lines to a console: JSON as a line for people on a terminal, unchanged elsewhere."""

    def __init__(self, console: Console, names: list[str]) -> None:
        self._console = console
        self._styles = {name: _PREFIXES[place % len(_PREFIXES)] for place, name in enumerate(names)}
        self._width = max(map(len, names), default=0)

    def show(self, name: str, line: str) -> None:
        """Writes one line of the process of that name."""
        prefix = (f"{name:<{self._width}} │ ", self._styles.get(name, ""))
        body = for_people(line) if self._console.is_terminal else Text(line)
        self._console.print(Text.assemble(prefix, body), soft_wrap=True)


def for_people(line: str) -> Text:
    """Time, level where it is worth a look, message and fields of a JSON log line; another line as it is."""
    try:
        record = json.loads(line)
        time = datetime.fromisoformat(record["time"]).astimezone().strftime("%H:%M:%S")
        level, message = str(record["level"]), str(record["message"])
    except (ValueError, KeyError, TypeError):
        return Text(line)
    style = _LEVELS.get(level, "")
    text = Text.assemble((time, "dim"), " ")
    if style:
        text.append(f"{level.lower()}: ", style=style)
    text.append(message, style=style)
    fields = {key: value for key, value in record.items() if key not in _NOT_SHOWN}
    if "request_id" in fields:
        fields["request_id"] = fields.pop("request_id")  # last: it is long, and the least to read
    if "method" in fields:
        fields["method"] = str(fields["method"]).rpartition("/")[2]
    text.append("".join(f"  {key}={_value(value)}" for key, value in fields.items()), style="dim")
    if "traceback" in record:
        text.append(f"\n{record['traceback']}", style="dim")
    return text


def _value(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
