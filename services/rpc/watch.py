"""Whether a process can answer: it asks what it depends on, again and again, and tells health checks."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable, Mapping

from services.errors import DependencyUnavailable
from services.rpc import metrics
from services.rpc.logs import structured

log = logging.getLogger("hearth.rpc")

ANSWER_SECONDS = 5.0
"""How long what it depends on may take to answer."""


class Watch:
    """Follows what a process depends on. An outage is told within `seconds` and ANSWER_SECONDS, so is its end."""

    def __init__(
        self,
        pings: Mapping[str, Callable[[], Awaitable[None]]],
        prepare: Callable[[], Awaitable[None]],
        is_behind: Callable[[], bool],
        report: Callable[[bool], Awaitable[None]],
        seconds: float,
    ) -> None:
        """`pings` ask what it depends on, by its name in the metrics.

        `prepare` runs before health turns good, at the start and after each outage, and where `is_behind`.
        """
        self._pings, self._prepare, self._is_behind, self._report = pings, prepare, is_behind, report
        self._seconds = seconds
        self.healthy = False

    async def run(self) -> None:
        """Goes on for ever; raises what `prepare` raises, but for outages."""
        while True:
            problem = await self._problem()
            if problem and self.healthy:
                log.warning("not serving", extra=structured(problem=problem))
            elif not problem and not self.healthy:
                log.info("serving")
            if self.healthy is bool(problem):
                self.healthy = not problem
                metrics.serving(self.healthy)
                await self._report(self.healthy)
            await asyncio.sleep(self._seconds)

    async def _problem(self) -> str:
        """Why nothing can be answered; empty if it can."""
        try:
            async with asyncio.timeout(ANSWER_SECONDS):
                await asyncio.gather(*(_asked(name, ping) for name, ping in self._pings.items()))
            if not self.healthy or self._is_behind():
                await self._prepare()
        except DependencyUnavailable as error:
            return error.message
        except TimeoutError:
            return f"no answer within {ANSWER_SECONDS:g} s"
        return ""


async def _asked(name: str, ping: Callable[[], Awaitable[None]]) -> None:
    started = time.perf_counter()
    try:
        await ping()
    except (DependencyUnavailable, asyncio.CancelledError):  # cancelled: it took too long
        metrics.away(name)
        raise
    metrics.answered(name, time.perf_counter() - started)
