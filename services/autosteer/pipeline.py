"""A job from its spec to its result."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any, Protocol

from services.autosteer.progress import Event
from services.autosteer.spec import Result, Spec, Trial

Tell = Callable[[Event], Awaitable[None]]
"""Takes what a job says, in order. After a resume an event may come again, with the same key."""


class Cancelled(Exception):
    """The job was cancelled; what it had found is in its checkpoints."""


class Checkpoints(Protocol):
    """What a job keeps, so that a killed worker goes on where it was."""

    async def get(self, stage: str) -> Any:
        """The JSON that was put under this name last; None if none was."""

    async def put(self, stage: str, value: Any) -> None:
        """Keeps a JSON value under a name, in place of what was there."""

    async def trials(self) -> list[Trial]:
        """The trials that were added, in order of number."""

    async def add_trial(self, trial: Trial) -> None:
        """Keeps a trial; the same number twice keeps one."""


async def run(
    spec: Spec,
    inference: Any,
    catalogue: Any,
    checkpoints: Checkpoints,
    tell: Tell,
    cancelled: asyncio.Event,
) -> Result:
    """Searches for edits that bring the behaviour about. Raises Cancelled, DependencyUnavailable."""
    raise NotImplementedError
