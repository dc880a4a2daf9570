"""How many jobs wait and run, counted in the database for the metrics."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import suppress
from datetime import UTC, datetime

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from services.autosteer import metrics
from services.autosteer.database.tables import JobRow
from services.autosteer.record import TURNS, JobState
from services.database.database import Database
from services.errors import DependencyUnavailable

_TIERS = {turn: tier.value for tier, turn in TURNS.items()}
_OPEN = (JobState.QUEUED, JobState.RUNNING)


async def tell_queue(database: Database, seconds: float, is_ready: Callable[[], bool]) -> None:
    """Counts every so many seconds, for ever; not before the tables are there, nor in an outage."""
    while True:
        if is_ready():
            with suppress(DependencyUnavailable):
                metrics.queue(*await database.read(_count))
        await asyncio.sleep(seconds)


def _count(session: Session) -> tuple[dict[tuple[str, str], int], float]:
    """Jobs by state and tier, none left out, and how long the job has waited that is due longest, in seconds."""
    counted = {(state.value, tier): 0 for state in _OPEN for tier in _TIERS.values()}
    number = func.count()
    grouped = select(JobRow.state, JobRow.turn, number).where(JobRow.state.in_(_OPEN))
    for state, turn, jobs in session.execute(grouped.group_by(JobRow.state, JobRow.turn)):
        counted[state, _TIERS[turn]] = jobs
    oldest = session.scalar(select(func.min(JobRow.due)).where(JobRow.state == JobState.QUEUED))
    waited = 0.0 if oldest is None else (datetime.now(UTC) - oldest).total_seconds()
    return counted, max(0.0, waited)
