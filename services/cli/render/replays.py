"""What came of receipts, on the terminal."""

from __future__ import annotations

from rich.markup import escape

from services.cli.render.console import counted, printable
from services.cli.replaying import Difference, Replayed

_LONGEST = 64
"""Characters of a digest or a value."""


def replayed_lines(done: Replayed, count: int) -> list[str]:
    """One line for a text that is identical; for another, a line for each thing that differs."""
    number = f"{done.number:>{len(str(count))}}"
    if done.identical:
        return [f"{number}  [green]identical[/]  [dim]{counted(done.tokens, 'token')}[/]"]
    space = " " * len(number)
    return [f"{number}  [bold red]differs[/]", *(f"{space}    {_told(each)}" for each in done.differences)]


def _told(difference: Difference) -> str:
    what = f"[bold]{difference.what}[/]" + (f" {escape(difference.where)}" if difference.where else "")
    if difference.what == "text":
        return f"{what}: {_quoted(difference.then)} then, {_quoted(difference.now)} now"
    if not difference.then:
        return what + (f": {escape(printable(difference.now))}" if difference.now else "")
    if not difference.now:
        return f"{what}: {_short(difference.then)}"
    return f"{what}: {_short(difference.then)} then, {_short(difference.now)} now"


def _short(value: str) -> str:
    shown = printable(value) if len(value) <= _LONGEST else f"{printable(value[:_LONGEST])}…"
    return escape(shown)


def _quoted(text: str) -> str:
    return escape(repr(printable(text)))
