"""The event log of jobs: every event once, numbered from 1 without gaps, in the order in which it happened."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from functools import partial

from sqlalchemy import select
from sqlalchemy.orm import Session

from services.autosteer.codec import event_to_json, to_json
from services.autosteer.database.tables import EventRow, JobRow
from services.autosteer.progress import Event
from services.autosteer.record import Ended, Interrupted, LoggedEvent, logged
from services.database.database import Database
from services.errors import NotFound

BATCH = 50
"""Events that are read at once; the largest have all samples of a trial."""


def append(session: Session, row: JobRow, key: str, said: Event | Interrupted | Ended) -> bool:
    """Adds an event to a job's log; False where one of that key is there already.

    The job's row must be locked by this transaction: that is what keeps the sequence without gaps.
    """
    known = select(EventRow.sequence).where(EventRow.job_id == row.id, EventRow.key == key)
    if session.scalar(known) is not None:
        return False
    if isinstance(said, Interrupted | Ended):
        value = {"type": type(said).__name__, **to_json(said)}
    else:
        value = event_to_json(said)
    row.last_sequence += 1
    session.add(
        EventRow(
            job_id=row.id,
            sequence=row.last_sequence,
            key=key,
            time=datetime.now(UTC),
            value=json.dumps(value, separators=(",", ":")),
        )
    )
    return True


class EventLog:
    """Reads the log, wherever it is written."""

    def __init__(self, database: Database, poll_seconds: float) -> None:
        """The log is asked every `poll_seconds` for what is new: any process may write it."""
        self._database, self._poll = database, poll_seconds

    async def follow(self, owner: str, job_id: str, after: int) -> AsyncIterator[LoggedEvent]:
        """The events behind `after`, until the job's last. Raises NotFound, DependencyUnavailable."""
        while True:
            batch = await self._database.read(partial(_read, owner=owner, job_id=job_id, after=after))
            for event in batch:
                yield event
                after = event.sequence
                if isinstance(event.said, Ended):
                    return
            if not batch:
                if await self._database.read(partial(_is_over, job_id=job_id, after=after)):
                    return
                await asyncio.sleep(self._poll)


def _read(session: Session, owner: str, job_id: str, after: int) -> list[LoggedEvent]:
    row = session.get(JobRow, job_id)
    if row is None or row.owner != owner:
        raise NotFound(f"there is no job {job_id}", field="id")
    behind = select(EventRow).where(EventRow.job_id == job_id, EventRow.sequence > after)
    return [logged(each) for each in session.scalars(behind.order_by(EventRow.sequence).limit(BATCH))]


def _is_over(session: Session, job_id: str, after: int) -> bool:
    """Whether nothing comes behind `after`: the caller has the last event already."""
    row = session.get(JobRow, job_id)
    return row is None or (row.ended is not None and after >= row.last_sequence)
