"""The behaviours and prompts of behaviors.toml."""

from __future__ import annotations

import tomllib
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

TABLE = Path(__file__).with_name("behaviors.toml")
KINDS = ("topic", "style", "tone", "language", "format")


@dataclass(frozen=True, slots=True)
class Behavior:
    """One behaviour."""

    name: str
    kind: str
    """One of KINDS."""
    words: str
    """As a user types it: what every way but the system prompt starts from."""
    instruction: str = ""
    """The system prompt; empty where the pipeline's own, made of the words, is what a person would write."""


def behaviors() -> dict[str, Behavior]:
    """All by name, in the order of the table."""
    return {name: Behavior(name, **row) for name, row in _table()["behaviors"].items()}


def questions() -> list[str]:
    """What every way is asked."""
    return list(_table()["prompts"])


@cache
def _table() -> dict[str, Any]:
    return tomllib.loads(TABLE.read_text("utf-8"))
