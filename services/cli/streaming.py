"""Several generations at once, shown as they come: side by side, one after the other, or at the end as JSON."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Coroutine, Iterable, Sequence
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

from rich.live import Live

from services.cli.answers import Answer
from services.cli.questions import Generation
from services.cli.render.columns import Columns, status_line
from services.cli.render.console import EMBER, console, error_console, printable
from services.cli.render.report import report_table

if TYPE_CHECKING:
    from services.cli.clients.inference import InferenceClient

Asked = Sequence[tuple[Answer, Generation]]
"""Answers that grow, each with what is asked for it."""

_FRAMES_PER_SECOND = 10


async def side_by_side(client: InferenceClient, asked: Asked) -> None:
    """Shows all answers growing in a table, which then stays; what came before an interruption stays too."""
    answers, out = [answer for answer, _ in asked], console()
    growing = Columns(answers, growing=True)
    try:
        with Live(growing, console=out, refresh_per_second=_FRAMES_PER_SECOND, transient=True):
            await silently(client, asked)
    finally:
        if any(answer.text or answer.finished for answer in answers):
            out.print(Columns(answers, growing=False))


async def one_after_the_other(client: InferenceClient, asked: Asked) -> None:
    """Prints each answer as it comes. All run at once: the second has mostly arrived when the first ends."""
    changed = asyncio.Condition()

    async def tell() -> None:
        async with changed:
            changed.notify_all()

    writing = _write([answer for answer, _ in asked], changed)
    async with _running([writing, *(_collect(client, *each, tell) for each in asked)]) as tasks:
        await asyncio.gather(*tasks)


async def silently(client: InferenceClient, asked: Asked) -> None:
    """Waits until all answers are there. Where one fails, the others are cancelled and its failure is raised."""
    async with _running([_collect(client, *each) for each in asked]) as tasks:
        await asyncio.gather(*tasks)


def show_end(answers: Sequence[Answer], seed: int | None) -> None:
    """What stands below the answers: events, the report, and what it took."""
    out, last = console(), answers[-1]
    for triggered in last.events:
        if triggered.event:
            out.print(f"[{EMBER}]event[/] {printable(triggered.event)} at token {triggered.position}")
    if last.finished and last.finished.report:
        saes = {each.edit.feature.sae for each in last.finished.report.edits}
        out.print(report_table(last.finished.report, several_saes=len(saes) > 1))
    for answer in answers if len(answers) == 1 or not out.is_terminal else ():
        error_console().print(f"{answer.title}: {status_line(answer)}", style="dim", markup=False)
    error_console().print(f"  {'Both with seed' if len(answers) > 1 else 'Seed'} {seed}.", style="dim")


async def _collect(
    client: InferenceClient,
    answer: Answer,
    generation: Generation,
    tell: Callable[[], Coroutine[Any, Any, None]] | None = None,
) -> None:
    async for event in client.generate(generation):
        answer.take(event)
        if tell is not None:
            await tell()


async def _write(answers: Sequence[Answer], changed: asyncio.Condition) -> None:
    out = console()
    for number, answer in enumerate(answers):
        if len(answers) > 1:
            style = f"bold {EMBER}" if answer.steered else "bold"
            out.print(f"{'' if number == 0 else chr(10)}{answer.title}", style=style, markup=False)
        shown = 0
        while answer.finished is None or shown < len(answer.text):
            async with changed:
                while answer.finished is None and shown == len(answer.text):
                    await changed.wait()
            print(printable(answer.text[shown:]), end="", flush=True)
            shown = len(answer.text)
        print()


@asynccontextmanager
async def _running(
    coroutines: Iterable[Coroutine[Any, Any, None]],
) -> AsyncIterator[list[asyncio.Task[None]]]:
    """The coroutines as tasks, none of which outlives the block."""
    tasks = [asyncio.create_task(coroutine) for coroutine in coroutines]
    try:
        yield tasks
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
