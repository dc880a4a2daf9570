"""Answers side by side, while they grow and when they are done."""

from __future__ import annotations

from collections.abc import Sequence

from rich.box import ROUNDED
from rich.console import Console, ConsoleOptions, RenderResult
from rich.table import Table
from rich.text import Text

from services.cli.answers import Answer
from services.cli.render.console import EMBER, counted, printable

_FRAME_LINES = 7
"""Lines of the table around the text, and one to spare."""


class Columns:
    """A table with one column for each answer. While it grows, only what fits the screen is shown: the end."""

    def __init__(self, answers: Sequence[Answer], *, growing: bool) -> None:
        self._answers, self._growing = answers, growing

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        width = max(10, (options.max_width - 1) // len(self._answers) - 3)
        table = Table(box=ROUNDED, expand=True, border_style="dim", show_footer=True, pad_edge=True)
        for answer in self._answers:
            title = Text(answer.title, style=f"bold {EMBER}" if answer.steered else "bold", overflow="fold")
            table.add_column(title, ratio=1, overflow="fold", footer=Text(status_line(answer), style="dim"))
        lines = max(3, console.size.height - _FRAME_LINES) if self._growing else None
        table.add_row(*(_body(console, answer, width, lines) for answer in self._answers))
        yield table


def status_line(answer: Answer) -> str:
    """Why an answer ended and what it took: `end of turn · 48 tokens · 31 tok/s`."""
    if answer.finished is None:
        return "…" if answer.started else "waiting"
    done = answer.finished
    match done.reason:
        case "stop":
            reason = f"stop at {done.stop!r}" if done.stop else "end of turn"
        case "length":
            reason = "length limit"
        case "aborted":
            reason = f"aborted: {done.abort_message}" if done.abort_message else "aborted"
        case other:
            reason = other
    tokens = done.usage.completion_tokens
    parts = [reason, counted(tokens, "token")]
    if done.usage.tokens_per_second:
        parts.append(f"{done.usage.tokens_per_second:.0f} tok/s")
    return " · ".join(parts)


def _body(console: Console, answer: Answer, width: int, lines: int | None) -> Text:
    text = Text(printable(answer.text).strip("\n"), overflow="fold")
    if lines is None:
        return text
    wrapped = text.wrap(console, width, overflow="fold")
    return Text("\n").join(wrapped[-lines:])
