"""Sees to it that every job is worked on, whatever died: queues jobs again whose lease ran out, and wakes workers.

Runs in every worker; several do no harm.
"""

from __future__ import annotations

import asyncio
import logging
from contextlib import suppress
from datetime import UTC, datetime
from typing import Protocol

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from services.autosteer import metrics
from services.autosteer.database.tables import JobRow
from services.autosteer.leases import MOST_DEATHS, end, interrupt, locked
from services.autosteer.record import Failure, JobState
from services.database.database import Database
from services.errors import DependencyUnavailable
from services.rpc.logs import structured

log = logging.getLogger("hearth.autosteer")
MOST_WAKEUPS = 16
"""That are sent at once; whoever has ended a job sends the next."""


class Wakeups(Protocol):
    """The messages that a broker holds for workers: each says that there is something to do, and no more."""

    async def waiting(self) -> int:
        """How many there are. Raises DependencyUnavailable."""

    async def send(self, count: int) -> None:
        """Adds so many. Raises DependencyUnavailable."""


class Reconciler:
    """Compares what is due with what the broker holds."""

    def __init__(self, database: Database, wakeups: Wakeups, seconds: float) -> None:
        self._database, self._wakeups, self._seconds = database, wakeups, seconds

    async def run(self) -> None:
        """Goes on for ever."""
        while True:
            try:
                await self.once()
            except DependencyUnavailable as error:
                log.warning("jobs wait", extra=structured(problem=error.message))
            await asyncio.sleep(self._seconds)

    async def once(self) -> None:
        """One round. Raises DependencyUnavailable."""
        for job_id in await self._database.read(_orphans):
            if await self._database.write(lambda session, job=job_id: _take_back(session, job)):  # type: ignore[misc]
                metrics.lease_lost()
                log.warning("a job lost its worker", extra=structured(job=job_id))
        await self.wake()

    async def wake(self) -> None:
        """Sends as many messages as jobs are due beyond those that are on their way. Raises DependencyUnavailable."""
        due = min(MOST_WAKEUPS, await self._database.read(_due))
        if due and (missing := due - await self._wakeups.waiting()) > 0:
            await self._wakeups.send(missing)

    async def watch_broker(self) -> None:
        """Tells the metrics of the messages in the broker, for ever."""
        while True:
            with suppress(DependencyUnavailable):
                metrics.messages_waiting(await self._wakeups.waiting())
            await asyncio.sleep(self._seconds)


def _orphans(session: Session) -> list[str]:
    late = select(JobRow.id).where(JobRow.state == JobState.RUNNING, JobRow.lease_end < datetime.now(UTC))
    return list(session.scalars(late))


def _take_back(session: Session, job_id: str) -> bool:
    row = locked(session, job_id)
    if (
        row is None
        or row.state != JobState.RUNNING
        or row.lease_end is None
        or row.lease_end >= datetime.now(UTC)
    ):
        return False
    row.deaths += 1
    if row.deaths >= MOST_DEATHS:
        failure = Failure("INTERNAL", f"given up: {row.deaths} workers died in a row at the same place")
        end(session, row, JobState.FAILED, failure=failure)
    else:
        interrupt(session, row, "the worker is gone; another one goes on")
    return True


def _due(session: Session) -> int:
    queued = select(func.count()).select_from(JobRow).where(JobRow.state == JobState.QUEUED)
    return session.scalar(queued.where(JobRow.due <= datetime.now(UTC))) or 0
