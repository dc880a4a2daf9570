"""The jobs of all owners, as callers see them. Another owner's job is as if it were not there.

Every method may raise DependencyUnavailable.
"""

from __future__ import annotations

import uuid
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import partial

from sqlalchemy import func, select, tuple_
from sqlalchemy.orm import Session, defer

from services.autosteer.database.tables import JobRequestRow, JobRow
from services.autosteer.leases import end, locked
from services.autosteer.record import TURNS, JobRecord, JobState, as_text, record_of
from services.autosteer.spec import Spec
from services.database.database import Database
from services.database.repeats import check_repeated
from services.errors import InvalidField, NotFound, QueueFull
from services.rpc import traces
from services.rpc.page_tokens import page_token, position_of

RETRY_SECONDS = 30.0
"""When it is worth coming back to a full queue."""
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


@dataclass(frozen=True, slots=True)
class QueueLimits:
    """How many jobs may wait."""

    everybody: int
    owner: int


@dataclass(frozen=True, slots=True)
class Asking:
    """Who asks, by which request_id (or empty), and the digest of what."""

    owner: str
    id: str
    digest: bytes


@dataclass(frozen=True, slots=True)
class _Listing:
    """Which list; a page token is good for one of them."""

    owner: str


class Ledger:
    """Makes, shows and ends jobs."""

    def __init__(self, database: Database, limits: QueueLimits) -> None:
        self._database, self._limits = database, limits

    async def repeated(self, asking: Asking) -> JobRecord | None:
        """The job that the same request made before, as it is now. Raises AlreadyExists where it was another."""
        return await self._database.read(partial(_repeated, asking=asking))

    async def create(self, spec: Spec, asking: Asking) -> JobRecord:
        """A job, queued; the same one for a request that is repeated. Raises QueueFull, AlreadyExists."""
        return await self._database.write(partial(_create, spec=spec, asking=asking, limits=self._limits))

    async def get(self, owner: str, job_id: str) -> JobRecord:
        """One job. Raises NotFound."""
        return await self._database.read(lambda session: record_of(_found(session, owner, job_id)))

    async def page(self, owner: str, size: int, token: str = "") -> tuple[list[JobRecord], str]:
        """At most `size` jobs without results, newest first, and the token of the next page, empty at the end.

        Raises InvalidField where the token is not one of this list.
        """
        return await self._database.read(partial(_page, listing=_Listing(owner), size=size, token=token))

    async def cancel(self, owner: str, job_id: str) -> JobRecord:
        """The job, ended now: its worker can write no more, sees so within a second, and stops. Raises NotFound."""
        return await self._database.write(partial(_cancel, owner=owner, job_id=job_id))


def _repeated(session: Session, asking: Asking) -> JobRecord | None:
    before = session.get(JobRequestRow, (asking.owner, asking.id)) if asking.id else None
    if before is None:
        return None
    check_repeated(asking.id, before.content_digest, asking.digest)
    return record_of(_found(session, asking.owner, before.job_id))


def _create(session: Session, spec: Spec, asking: Asking, limits: QueueLimits) -> JobRecord:
    if before := _repeated(session, asking):
        return before
    _check_room(session, asking.owner, limits)
    now = datetime.now(UTC)
    row = JobRow(
        id=str(uuid.uuid4()),
        owner=asking.owner,
        spec=as_text(spec),
        turn=TURNS[spec.budget.tier],
        state=JobState.QUEUED,
        stage="",
        created=now,
        due=now,
        attempts=0,
        outages=0,
        deaths=0,
        last_sequence=0,
        error_reason="",
        error_message="",
        trace=traces.carried().get(traces.TRACEPARENT),
    )
    session.add(row)
    session.flush()
    if asking.id:
        session.add(
            JobRequestRow(
                owner=asking.owner, request_id=asking.id, content_digest=asking.digest, job_id=row.id
            )
        )
    return record_of(row)


def _check_room(session: Session, owner: str, limits: QueueLimits) -> None:
    queued = select(func.count()).select_from(JobRow).where(JobRow.state == JobState.QUEUED)
    for waiting, most in (
        (session.scalar(queued) or 0, limits.everybody),
        (session.scalar(queued.where(JobRow.owner == owner)) or 0, limits.owner),
    ):
        if waiting >= most:
            raise QueueFull(waiting, RETRY_SECONDS)


def _page(session: Session, listing: _Listing, size: int, token: str) -> tuple[list[JobRecord], str]:
    rows = select(JobRow).where(JobRow.owner == listing.owner).options(defer(JobRow.result))
    if token:
        rows = rows.where(tuple_(JobRow.created, JobRow.id) < _position(token, listing))
    found = list(session.scalars(rows.order_by(JobRow.created.desc(), JobRow.id.desc()).limit(size + 1)))
    following = ""
    if len(found) > size:
        last = found[size - 1]
        following = page_token(listing, f"{(last.created - _EPOCH) // timedelta(microseconds=1)} {last.id}")
    return [record_of(row) for row in found[:size]], following


def _position(token: str, listing: _Listing) -> tuple[datetime, str]:
    """Behind which job a page begins."""
    try:
        microseconds, last = position_of(token, listing, "").split(" ")
        return _EPOCH + timedelta(microseconds=int(microseconds)), str(uuid.UUID(last))
    except (ValueError, OverflowError):
        raise InvalidField(
            "page_token", "no answer gave it; allowed: the next_page_token of the last one"
        ) from None


def _cancel(session: Session, owner: str, job_id: str) -> JobRecord:
    _found(session, owner, job_id)
    row = locked(session, job_id)
    assert row is not None
    if not JobState(row.state).is_end:
        end(session, row, JobState.CANCELLED)
    return record_of(row)


def _found(session: Session, owner: str, job_id: str) -> JobRow:
    row = session.get(JobRow, job_id)
    if row is None or row.owner != owner:
        raise NotFound(f"there is no job {job_id}", field="id")
    return row
