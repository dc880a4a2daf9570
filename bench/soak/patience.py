"""A good client: waits as long as it is told to, tries again what may be repeated, and says how it went."""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Protocol, TypeVar

T = TypeVar("T")
PATIENCE = 240.0
"""Seconds after which a client gives up; nothing here may take so long."""
FIRST_WAIT, LONGEST_WAIT = 0.5, 8.0
"""Where the server names no time: doubled each time, up to the longest."""


class Kind(StrEnum):
    """What an attempt that failed tells the client."""

    REFUSED = "refused"
    """Too much waits, or the quota is used up: RESOURCE_EXHAUSTED, 429."""
    AWAY = "away"
    """UNAVAILABLE, 503, or the connection broke."""
    LATE = "late"
    """DEADLINE_EXCEEDED, 504, or the client's own time is up."""
    WRONG = "wrong"
    """Anything else: INTERNAL, UNKNOWN, 500, or a request that was refused as wrong. None of these may happen."""


class Failure(Exception):
    """An attempt that failed."""

    def __init__(self, kind: Kind, code: str, message: str = "", retry_after: float | None = None) -> None:
        super().__init__(f"{code}: {message}")
        self.kind, self.code, self.message, self.retry_after = kind, code, message, retry_after


class GivenUp(Exception):
    """A step that came to nothing; the journal has why."""


class Writes(Protocol):
    """What takes records."""

    def write(self, kind: str, **fields: Any) -> None: ...


@dataclass(frozen=True, slots=True)
class Who:
    """Who asks."""

    number: int
    way: str


async def patiently(
    journal: Writes, who: Who, step: str, call: Callable[[], Awaitable[T]], patience: float = PATIENCE
) -> T:
    """What a call answers in the end. Only for calls that may be repeated. Raises GivenUp."""
    began, tries = time.monotonic(), 0
    while True:
        tries += 1
        tried = time.monotonic()
        asked = {"who": who.number, "way": who.way, "step": step}
        try:
            found = await call()
        except Failure as failure:
            now = time.monotonic()
            journal.write(
                "failed",
                **asked,
                why=failure.kind,
                code=failure.code,
                message=failure.message[:300],
                retry_after=failure.retry_after,
                seconds=round(now - tried, 3),
            )
            if failure.kind is Kind.WRONG or now - began > patience:
                journal.write("given up", **asked, tries=tries, seconds=round(now - began, 3))
                raise GivenUp(step) from failure
            await asyncio.sleep(_wait(failure, tries))
        else:
            seconds = time.monotonic() - began
            journal.write("done", **asked, tries=tries, seconds=round(seconds, 3))
            return found


def _wait(failure: Failure, tries: int) -> float:
    """At least what the server says; a little more, so that not all come back at once."""
    wait = min(LONGEST_WAIT, FIRST_WAIT * 2 ** min(tries - 1, 10))
    return (wait if failure.retry_after is None else failure.retry_after) * random.uniform(1.0, 1.3)
