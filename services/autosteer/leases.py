"""Who works on which job. A worker holds a job by a lease that it renews; whatever it writes is written under it.

All decisions are transactions on the job's row. A worker whose lease ran out, or whose job was cancelled, can write
nothing any more: so no job is worked on twice, and no event is logged twice. The clocks of all processes must agree to
within a second or two.
"""

from __future__ import annotations

import json
import uuid
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import TypeVar

from sqlalchemy import case, func, select
from sqlalchemy.orm import Session

from services.autosteer.codec import from_json
from services.autosteer.database.tables import JobRow
from services.autosteer.events import append
from services.autosteer.record import TURNS, Ended, Failure, Interrupted, JobState, as_text
from services.autosteer.spec import Result, Spec, Tier, Trial
from services.database.database import Database

T = TypeVar("T")
FIRST_PAUSE, LONGEST_PAUSE = 2.0, 60.0
"""Seconds before a job is tried again: doubled after each outage in a row, up to the longest."""
MOST_OUTAGES = 30
"""In a row, without a step forward: about half an hour. Then the job is given up."""
_ONE = select(JobRow).with_for_update().execution_options(populate_existing=True)
MOST_DEATHS = 3
"""Workers that die in a row at the same place: then it is the job that kills them, and it is given up."""


class LeaseLost(Exception):
    """The job is another's now, or over."""


@dataclass(frozen=True, slots=True)
class Lease:
    """The right to work on a job."""

    job_id: str
    id: str
    owner: str
    spec: Spec
    attempt: int
    trace: str | None
    """The traceparent of the request that made the job, if that was traced."""


class Leases:
    """Takes jobs, and says what becomes of them. Every method may raise DependencyUnavailable."""

    def __init__(self, database: Database, seconds: float) -> None:
        """A lease ends `seconds` after it was last renewed."""
        self._database = database
        self.seconds = seconds

    async def claim(self, *, quick: bool = True, slow: bool = True) -> Lease | None:
        """The job whose turn it is, of the quick ones, of the others, or of all; None where none is due.

        Quick jobs go first. Among equals it is the owner who has the fewest jobs running, then the one who was
        served longest ago: a queue of a hundred jobs keeps nobody else from the next free place.
        """
        return await self._database.write(partial(_claim, seconds=self.seconds, quick=quick, slow=slow))

    async def renew(self, lease: Lease) -> None:
        """Holds the job for longer. Raises LeaseLost."""

        def renewed(_: Session, row: JobRow) -> None:
            row.lease_end = datetime.now(UTC) + timedelta(seconds=self.seconds)

        await self.under(lease, renewed)

    async def is_held(self, lease: Lease) -> bool:
        """Whether the job is still this worker's."""
        mine = select(JobRow.id).where(JobRow.id == lease.job_id, JobRow.lease == lease.id)
        return await self._database.read(lambda session: session.scalar(mine) is not None)

    async def under(self, lease: Lease, work: Callable[[Session, JobRow], T]) -> T:
        """What `work` returns, in one transaction in which the job is this worker's. Raises LeaseLost."""
        return await self._database.write(lambda session: work(session, _held(session, lease)))

    async def give_back(self, lease: Lease) -> None:
        """Queues the job again, where its worker stops. Raises LeaseLost."""
        reason = "the worker stops; another one goes on"
        await self.under(lease, lambda session, row: interrupt(session, row, reason))

    async def postpone(self, lease: Lease, problem: str) -> None:
        """Tries the job again later, or gives it up after too many outages in a row. Raises LeaseLost."""

        await self.under(lease, lambda session, row: _postpone(session, row, problem))

    async def survive(self, lease: Lease) -> None:
        """Says that the database was away, not the worker: its job is tried again later, and no death is counted."""

        def survived(session: Session) -> None:
            row = locked(session, lease.job_id)
            if row is not None and row.lease == lease.id:
                _postpone(session, row, "the database did not answer")
            elif row is not None and row.deaths:
                row.deaths -= 1  # the one that was counted when its lease ran out

        await self._database.write(survived)

    async def succeed(self, lease: Lease, result: Result) -> None:
        """Ends the job. Raises LeaseLost."""
        await self.under(lease, lambda s, row: end(s, row, JobState.SUCCEEDED, result=result))

    async def park(self, lease: Lease, failure: Failure) -> None:
        """Gives the job up: trying it again would not help. Raises LeaseLost."""
        await self.under(lease, lambda s, row: end(s, row, JobState.FAILED, failure=failure))


def locked(session: Session, job_id: str) -> JobRow | None:
    """A job's row, that no other transaction changes meanwhile."""
    return session.scalar(_ONE.where(JobRow.id == job_id))


def interrupt(session: Session, row: JobRow, reason: str, pause: float = 0.0) -> None:
    """Queues a job again; it is due after `pause` seconds."""
    row.state, row.lease, row.lease_end = JobState.QUEUED, None, None
    row.due = datetime.now(UTC) + timedelta(seconds=pause)
    append(session, row, f"interrupted/{row.attempts}", Interrupted(reason, row.due.isoformat()))


def end(
    session: Session,
    row: JobRow,
    state: JobState,
    *,
    result: Result | None = None,
    failure: Failure | None = None,
) -> None:
    """Ends a job for good, and logs its last event."""
    row.state, row.lease, row.lease_end = state, None, None
    row.ended = datetime.now(UTC)
    if result is not None:
        row.result, row.best = as_text(result), as_text(result.best) if result.best else row.best
    if failure is not None:
        row.error_reason, row.error_message = failure.reason, failure.message
    best = from_json(Trial, json.loads(row.best)) if row.best and result is None else None
    append(session, row, "ended", Ended(state, result, best, failure))


def _postpone(session: Session, row: JobRow, problem: str) -> None:
    row.outages += 1
    if row.outages > MOST_OUTAGES:
        failure = Failure("DEPENDENCY_UNAVAILABLE", f"given up after {MOST_OUTAGES} tries: {problem}")
        end(session, row, JobState.FAILED, failure=failure)
    else:
        interrupt(session, row, problem, min(LONGEST_PAUSE, FIRST_PAUSE * 2.0 ** (row.outages - 1)))


def _held(session: Session, lease: Lease) -> JobRow:
    row = locked(session, lease.job_id)
    if row is None or row.lease != lease.id:
        raise LeaseLost(lease.job_id)
    return row


def _claim(session: Session, seconds: float, quick: bool, slow: bool) -> Lease | None:
    now = datetime.now(UTC)
    running = case((JobRow.state == JobState.RUNNING, 1))
    owners = (
        select(JobRow.owner, func.count(running).label("running"), func.max(JobRow.taken).label("served"))
        .group_by(JobRow.owner)
        .subquery()
    )
    waiting = select(JobRow.id).where(JobRow.state == JobState.QUEUED, JobRow.due <= now)
    if not slow:
        waiting = waiting.where(JobRow.turn == TURNS[Tier.QUICK])
    if not quick:
        waiting = waiting.where(JobRow.turn != TURNS[Tier.QUICK])
    in_turn = waiting.join(owners, owners.c.owner == JobRow.owner).order_by(
        JobRow.turn,
        owners.c.running,
        owners.c.served.is_not(None),
        owners.c.served,
        JobRow.created,
        JobRow.id,
    )
    job_id = session.scalar(in_turn.limit(1))
    row = locked(session, job_id) if job_id is not None else None
    if row is None:
        return None
    row.state, row.lease, row.taken = JobState.RUNNING, str(uuid.uuid4()), now
    row.lease_end = now + timedelta(seconds=seconds)
    row.started = row.started or now
    row.attempts += 1
    spec = from_json(Spec, json.loads(row.spec))
    return Lease(row.id, row.lease, row.owner, spec, row.attempts, row.trace)
