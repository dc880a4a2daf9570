"""A bar for work that is counted in features or texts."""

from __future__ import annotations

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    ProgressColumn,
    Task,
    TextColumn,
    TimeRemainingColumn,
)
from rich.text import Text

from services.cli.render.console import EMBER, number


class _Speed(ProgressColumn):
    """How many are done a second."""

    def __init__(self, thing: str) -> None:
        super().__init__()
        self._thing = thing

    def render(self, task: Task) -> Text:
        speed = task.finished_speed or task.speed
        return Text(f"{number(speed)} {self._thing}/s" if speed else "", style="dim")


def counting(console: Console, thing: str) -> Progress:
    """The bar: how many of how many, how fast, how long it will take."""
    return Progress(
        TextColumn("{task.description}"),
        BarColumn(complete_style=EMBER, finished_style=EMBER),
        MofNCompleteColumn(),
        _Speed(thing),
        TimeRemainingColumn(),
        console=console,
    )
