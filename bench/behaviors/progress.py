"""What a run says while it works: the behaviour in hand, its stage, and the time left for it and for all."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import TextIO

from bench.behaviors.outcome import ARMS
from services.autosteer.objective import mean
from services.autosteer.pace import USUAL
from services.autosteer.progress import Event, StageProgress, StageStarted
from services.autosteer.tiers import Plan


class Progress:
    """On a terminal one line that changes, elsewhere a line for each stage."""

    def __init__(
        self,
        stream: TextIO,
        left: int,
        known: Sequence[float],
        usual: float,
        now: Callable[[], float] = time.monotonic,
    ) -> None:
        """`left` behaviours are to come; those that are done took `known` seconds, or would take `usual`."""
        self._stream, self._left, self._now = stream, left, now
        self._known, self._usual = list(known), usual
        self._number, self._all, self._name, self._started = 0, left, "", now()
        self._width = 0

    def begins(self, name: str) -> None:
        """A behaviour begins."""
        self._name, self._started = name, self._now()
        self._number, self._left = self._number + 1, self._left - 1

    async def job(self, event: Event) -> None:
        """Hears what the job says."""
        if isinstance(event, StageStarted):
            self._show(event.stage.value, whole=True)
        elif isinstance(event, StageProgress):
            best = "" if event.best is None else f", best {event.best.score:.2f}"
            self._show(f"{event.stage.value} {event.done} of {event.total}{best}")

    async def comparison(self, done: int, total: int) -> None:
        """Hears how far the comparison is."""
        self._show(f"compared on {done} of {total} prompts", whole=done in (0, total))

    def ends(self, seconds: float, line: str) -> None:
        """A behaviour is done."""
        self._known.append(seconds)
        self._write(f"{self._place} {line} ({seconds:.0f} s)", last=True)

    def says(self, line: str) -> None:
        """Anything else."""
        self._write(line, last=True)

    @property
    def seconds_left(self) -> float:
        """For all, as estimated from those that are done."""
        each = mean(self._known) or self._usual
        return max(0.0, each - (self._now() - self._started)) + each * self._left

    @property
    def _place(self) -> str:
        return f"[{self._number} of {self._all}] {self._name}:"

    def _show(self, what: str, *, whole: bool = False) -> None:
        """`whole`: also where lines do not change."""
        if whole or self._stream.isatty():
            minutes = self.seconds_left / 60
            self._write(
                f"{self._place} {what}; about {minutes:.0f} min left for all", last=not self._stream.isatty()
            )

    def _write(self, line: str, *, last: bool) -> None:
        if self._stream.isatty():
            self._stream.write("\r" + line.ljust(self._width) + ("\n" if last else ""))
            self._width = 0 if last else len(line)
        else:
            self._stream.write(line + "\n")
        self._stream.flush()


def usual_seconds(plan: Plan, seconds: float, prompts: int) -> float:
    """What a behaviour takes as long as none is done."""
    return seconds + USUAL * len(ARMS) * prompts + USUAL * plan.pairs
