"""A job as it is kept, and the events that are not the pipeline's own."""

from __future__ import annotations

import json
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Any

from services.autosteer.codec import event_from_json, from_json, to_json
from services.autosteer.database.tables import EventRow, JobRow
from services.autosteer.progress import Event
from services.autosteer.spec import Result, Spec, Stage, Tier, Trial

TURNS = {Tier.QUICK: 0, Tier.DEFAULT: 1, Tier.THOROUGH: 2}
"""Who goes first: the smaller."""


class JobState(StrEnum):
    """How far a job is."""

    QUEUED = "queued"
    RUNNING = "running"
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    CANCELLED = "cancelled"

    @property
    def is_end(self) -> bool:
        """Whether nothing comes after it."""
        return self not in (JobState.QUEUED, JobState.RUNNING)


@dataclass(frozen=True, slots=True)
class Failure:
    """Why a job was given up."""

    reason: str
    """A name of ErrorReason without its prefix."""
    message: str


@dataclass(frozen=True, slots=True)
class JobRecord:
    """A job as it is now."""

    id: str
    owner: str
    spec: Spec
    state: JobState
    stage: Stage | None
    """The stage that began last."""
    created: datetime
    started: datetime | None
    ended: datetime | None
    last_sequence: int
    attempts: int
    best: Trial | None
    result: Result | None
    failure: Failure | None


@dataclass(frozen=True, slots=True)
class Interrupted:
    """A job stopped, and goes on from where it was."""

    reason: str
    resume: str
    """When at the earliest, in ISO 8601."""


@dataclass(frozen=True, slots=True)
class Ended:
    """A job has ended."""

    state: JobState
    result: Result | None = None
    best: Trial | None = None
    """Of a job that did not succeed."""
    failure: Failure | None = None


Said = Event | Interrupted | Ended


@dataclass(frozen=True, slots=True)
class LoggedEvent:
    """An event of a job's log."""

    sequence: int
    time: datetime
    said: Said


def record_of(row: JobRow) -> JobRecord:
    """A row, in the domain's words."""
    return JobRecord(
        id=row.id,
        owner=row.owner,
        spec=from_json(Spec, json.loads(row.spec)),
        state=JobState(row.state),
        stage=Stage(row.stage) if row.stage else None,
        created=row.created,
        started=row.started,
        ended=row.ended,
        last_sequence=row.last_sequence,
        attempts=row.attempts,
        best=_kept(Trial, row.best),
        result=_kept(Result, row.result),
        failure=Failure(row.error_reason, row.error_message) if row.error_reason else None,
    )


def logged(row: EventRow) -> LoggedEvent:
    """A row of the log, in the domain's words."""
    value: dict[str, Any] = json.loads(row.value)
    kinds: dict[str, type[Interrupted] | type[Ended]] = {"Interrupted": Interrupted, "Ended": Ended}
    kind = kinds.get(value["type"])
    said: Said = event_from_json(value) if kind is None else from_json(kind, value)
    return LoggedEvent(row.sequence, row.time, said)


def as_text(value: Any) -> str:
    """A value as it is kept. Plain ASCII: no sign of any text is one that a database cannot store."""
    return json.dumps(to_json(value), separators=(",", ":"))


def _kept(kind: type[Any], text: str | None) -> Any:
    return None if text is None else from_json(kind, json.loads(text))
