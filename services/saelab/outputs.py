"""Files that a step leaves behind: whole or as they were before, and a full disk is told in words for people."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from services.saelab.errors import SaeLabError


@contextmanager
def told_if_full(path: Path) -> Iterator[None]:
    """Turns an OSError while something is written to a path into a SaeLabError that says what to do."""
    try:
        yield
    except OSError as error:
        raise SaeLabError(
            f"{path} could not be written ({error.strerror or error}): free some space and run the same command again"
        ) from error


@contextmanager
def whole(path: Path) -> Iterator[Path]:
    """Gives a path to write to, and moves what is there to `path` at the end.

    Nothing is left of it after an error. An OSError becomes a SaeLabError.
    """
    partial = path.with_name(f"{path.name}.partial")
    try:
        with told_if_full(path):
            yield partial
            partial.replace(path)
    finally:
        partial.unlink(missing_ok=True)


def write_text(path: Path, text: str) -> None:
    """Writes a text, whole."""
    with whole(path) as partial:
        partial.write_text(text, encoding="utf-8")


def write_json(path: Path, value: Any) -> None:
    """Writes a value as JSON, whole."""
    write_text(path, json.dumps(value, indent=2, ensure_ascii=False) + "\n")


def save_figure(path: Path, figure: Any) -> None:
    """Writes a figure of matplotlib as PNG, whole."""
    with whole(path) as partial:
        figure.savefig(partial, dpi=110, format="png")
