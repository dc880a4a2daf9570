"""Jobs in a database, on SQLite and on a real PostgreSQL."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta

import pytest

from services.autosteer.checkpoints import Kept
from services.autosteer.database.schema import MIGRATIONS
from services.autosteer.database.tables import JobRow
from services.autosteer.events import EventLog
from services.autosteer.leases import Lease, Leases
from services.autosteer.ledger import Asking, Ledger, QueueLimits
from services.autosteer.reconciler import Reconciler
from services.autosteer.record import JobRecord, LoggedEvent
from services.autosteer.spec import Budget, Spec, Tier, Trial
from services.database.database import Database
from services.database.settings import DatabaseSettings

SPEC = Spec("talk like a pirate", model="m", sae="s", seed=7)


@dataclass
class Messages:
    """A broker that keeps its messages here."""

    held: int = 0

    async def waiting(self) -> int:
        return self.held

    async def send(self, count: int) -> None:
        self.held += count


@dataclass
class Jobs:
    """All that works on jobs."""

    database: Database
    messages: Messages = field(default_factory=Messages)

    @property
    def ledger(self) -> Ledger:
        return Ledger(self.database, QueueLimits(50, 20))

    @property
    def leases(self) -> Leases:
        return Leases(self.database, 60.0)

    @property
    def reconciler(self) -> Reconciler:
        return Reconciler(self.database, self.messages, 0.01)

    async def make(self, owner: str = "ann", tier: Tier = Tier.DEFAULT, request: str = "") -> JobRecord:
        spec = replace(SPEC, budget=Budget(tier))
        return await self.ledger.create(spec, Asking(owner, request, tier.value.encode()))

    async def claimed(self) -> Lease:
        lease = await self.leases.claim()
        assert lease is not None
        return lease

    def kept(self, lease: Lease) -> Kept:
        return Kept(self.database, self.leases, lease)

    async def log(self, job: JobRecord | Lease, after: int = 0) -> list[LoggedEvent]:
        job_id = job.id if isinstance(job, JobRecord) else job.job_id
        return [e async for e in EventLog(self.database, 0.01).follow(job.owner, job_id, after)]

    async def desert(self, lease: Lease) -> None:
        """Its worker dies, and the lease runs out."""

        def late(_: object, row: JobRow) -> None:
            row.lease_end = datetime.now(UTC) - timedelta(seconds=1)

        await self.leases.under(lease, late)

    async def make_due(self, job_id: str) -> None:
        """The pause before the next try is over."""

        def due(session: object) -> None:
            row = session.get(JobRow, job_id)  # type: ignore[attr-defined]
            row.due = datetime.now(UTC)

        await self.database.write(due)


@pytest.fixture
async def jobs(database_url: str) -> AsyncIterator[Jobs]:
    """An empty database with the tables of auto-steer."""
    patient = DatabaseSettings(database_url, connect_seconds=30, answer_seconds=60.0)  # of a busy machine
    database = Database(patient)
    await database.upgrade(MIGRATIONS)
    yield Jobs(database)
    await database.close()


def trial(number: int, score: float = 0.5, *, pruned: bool = False) -> Trial:
    """A trial without edits and samples."""
    return Trial(number, (), score, 0.5, 0.5, 0.5, (), pruned)


async def both(*work: object) -> list[object]:
    """At the same time."""
    return list(await asyncio.gather(*work))  # type: ignore[call-overload]
