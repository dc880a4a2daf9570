"""Where output goes, and how tokens and numbers are written."""

from __future__ import annotations

import dataclasses
import enum
import json
from datetime import datetime
from typing import Any

from rich.console import Console

EMBER = "#ff8c42"
"""Hearth's colour."""


def console() -> Console:
    """Standard output, made anew so that it follows redirections."""
    return Console(highlight=False)


def error_console() -> Console:
    """Standard error; lines are not broken, so that they stay one line for scripts."""
    return Console(stderr=True, highlight=False, soft_wrap=True)


def print_json(value: Any) -> None:
    """Plain data as one JSON object on standard output."""
    print(json.dumps(value, default=plain, ensure_ascii=False))


def printable(text: str) -> str:
    """Text from a model without what would command the terminal."""
    return "".join(sign if sign in "\n\t" or sign.isprintable() else "\ufffd" for sign in text)


def visible(text: str) -> str:
    """A token with its spaces and line ends to be seen."""
    return text.replace(" ", "·").replace("\n", "⏎").replace("\t", "⇥").replace("\r", "␍") or "∅"


def number(value: float) -> str:
    """A number at three digits, without exponents where they do not help."""
    if value == 0:
        return "0"
    size = abs(value)
    if size >= 1000:
        return f"{value:,.0f}"
    if size >= 100:
        return f"{value:.0f}"
    if size >= 10:
        return f"{value:.1f}"
    if size >= 0.01:
        return f"{value:.2f}"
    return f"{value:.0e}".replace("e-0", "e-")


def counted(count: int, thing: str) -> str:
    """`1 token`, `2 tokens`."""
    return f"{count} {thing}{'' if count == 1 else 's'}"


def small_probability(value: float) -> str:
    """A p- or q-value."""
    return "<0.001" if value < 0.001 else f"{value:.3f}"


def plain(value: Any) -> Any:
    """One step from a value of ours to what JSON knows, for `json.dumps(default=plain)`."""
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {field.name: getattr(value, field.name) for field in dataclasses.fields(value)}
    if isinstance(value, enum.Enum):
        return value.value
    if isinstance(value, datetime):
        return value.isoformat()
    raise TypeError(f"{type(value).__name__} is no plain data")
