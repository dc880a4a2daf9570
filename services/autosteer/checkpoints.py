"""What a running job keeps and says, in the database, under its worker's lease."""

from __future__ import annotations

import asyncio
import json
from typing import Any

from sqlalchemy import select
from sqlalchemy.orm import Session

from services.autosteer.codec import from_json
from services.autosteer.database.tables import CheckpointRow, JobRow, TrialRow
from services.autosteer.events import append
from services.autosteer.leases import Lease, Leases
from services.autosteer.progress import Event, StageStarted
from services.autosteer.record import as_text
from services.autosteer.spec import Stage, Trial
from services.database.database import Database

_STAGES = frozenset(stage.value for stage in Stage)


class Kept:
    """The checkpoints and the voice of one job. Writes raise LeaseLost where the job is no longer this worker's."""

    def __init__(self, database: Database, leases: Leases, lease: Lease) -> None:
        self._database, self._leases, self._lease = database, leases, lease
        self._speaking = asyncio.Lock()

    async def get(self, stage: str) -> Any:
        """See job.Checkpoints."""
        key = (self._lease.job_id, stage)
        row = await self._database.read(lambda session: session.get(CheckpointRow, key))
        return None if row is None else json.loads(row.value)

    async def put(self, stage: str, value: Any) -> None:
        """See job.Checkpoints."""
        text = as_text(value)

        def kept(session: Session, row: JobRow) -> None:
            session.merge(CheckpointRow(job_id=row.id, name=stage, value=text))
            if stage in _STAGES:
                _goes_forward(row)

        await self._leases.under(self._lease, kept)

    async def trials(self) -> list[Trial]:
        """See job.Checkpoints."""
        of_job = select(TrialRow.value).where(TrialRow.job_id == self._lease.job_id).order_by(TrialRow.number)
        texts = await self._database.read(lambda session: list(session.scalars(of_job)))
        return [from_json(Trial, json.loads(text)) for text in texts]

    async def add_trial(self, trial: Trial) -> None:
        """See job.Checkpoints."""
        text = as_text(trial)

        def added(session: Session, row: JobRow) -> None:
            if session.get(TrialRow, (row.id, trial.number)) is None:
                session.add(TrialRow(job_id=row.id, number=trial.number, value=text))
                if not trial.pruned and _surpasses(trial, row.best):
                    row.best = text
                _goes_forward(row)

        await self._leases.under(self._lease, added)

    async def tell(self, event: Event) -> None:
        """Logs an event, unless it was logged before the job was interrupted."""

        def told(session: Session, row: JobRow) -> None:
            if append(session, row, event.key, event) and isinstance(event, StageStarted):
                row.stage = event.stage

        async with self._speaking:  # transactions run in threads: two at once could change places
            await self._leases.under(self._lease, told)


def _surpasses(trial: Trial, best: str | None) -> bool:
    if best is None:
        return True
    known = from_json(Trial, json.loads(best))
    return (trial.score, -trial.number) > (known.score, -known.number)


def _goes_forward(row: JobRow) -> None:
    """What went wrong before was not the job's fault."""
    row.outages = row.deaths = 0
