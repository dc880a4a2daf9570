"""A job's live progress: the stage, how far it is, the time left and the best sample so far."""

from __future__ import annotations

from collections.abc import AsyncIterator

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn
from rich.text import Text

from services.autosteer.progress import CandidatesFound, StageProgress, StageStarted, TrialDone
from services.autosteer.spec import Stage, Trial
from services.cli.render.console import EMBER, printable
from services.cli.steered import Happening, Pause

STAGES = {
    Stage.DRAFT: "drafting examples and prompts",
    Stage.RETRIEVE: "looking for features",
    Stage.CAUSAL: "nudging them, one forward each",
    Stage.SCREEN: "trying short texts",
    Stage.CEILING: "how far each can go",
    Stage.SEARCH: "searching for weights",
    Stage.VALIDATE: "held-out prompts, beside rivals",
}


class _View:
    """What is on the screen."""

    def __init__(self) -> None:
        self._bar = Progress(
            TextColumn("{task.description}"),
            BarColumn(complete_style=EMBER, finished_style=EMBER),
            MofNCompleteColumn(),
            TextColumn("{task.fields[left]}", style="dim"),
        )
        self._task = self._bar.add_task("waiting for a worker", total=None, left="")
        self._best: Trial | None = None
        self._note = ""

    def take(self, said: object) -> None:
        """Shows an event."""
        match said:
            case StageStarted():
                self._note = ""
                self._bar.reset(self._task, total=None, description=STAGES[said.stage], left="")
            case StageProgress():
                left = "" if said.seconds_left is None else f"about {said.seconds_left:.0f} s left"
                self._bar.update(self._task, completed=said.done, total=said.total, left=left)
                self._best = said.best or self._best
            case CandidatesFound():
                self._note = "features: " + ", ".join(
                    each.label for each in said.candidates[:4] if each.label
                )
            case TrialDone() if not said.trial.pruned:
                if self._best is None or said.trial.score > self._best.score:
                    self._best = said.trial
            case Pause():
                self._note = f"interrupted: {said.reason}"

    def __rich__(self) -> RenderableType:
        parts: list[RenderableType] = [self._bar]
        if self._note:
            parts.append(Text(printable(self._note), style="dim", overflow="ellipsis", no_wrap=True))
        if self._best is not None:
            sample = self._best.samples[0].text if self._best.samples else ""
            best = Text(f"best {self._best.score:.2f}  ", style=EMBER, overflow="ellipsis", no_wrap=True)
            best.append(printable(sample).replace("\n", " "), style="")
            parts.append(best)
        return Group(*parts)


async def follow(events: AsyncIterator[Happening], console: Console) -> None:
    """Shows a job until it has ended; one line for each stage where the output is no terminal."""
    view = _View()
    if not console.is_terminal:
        async for event in events:
            if isinstance(event.said, StageStarted):
                console.print(STAGES[event.said.stage], style="dim")
            elif isinstance(event.said, Pause):
                console.print(f"interrupted: {printable(event.said.reason)}", style="dim", markup=False)
        return
    with Live(view, console=console, refresh_per_second=8, transient=True):
        async for event in events:
            view.take(event.said)
