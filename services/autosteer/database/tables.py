"""The tables of auto-steer: jobs, and all that a job keeps. They are the truth: a broker only wakes workers.

JSON is kept as text, so that SQLite and PostgreSQL hold the same bytes, and any text that a model writes.
"""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import (
    BigInteger,
    ForeignKey,
    Index,
    Integer,
    LargeBinary,
    String,
    Text,
    UniqueConstraint,
    Uuid,
)
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column

from services.database.tables import UtcDateTime, new_metadata


class Base(DeclarativeBase):
    """What these tables share."""

    metadata = new_metadata()


class JobRow(Base):
    """A job; record.py says what its fields mean."""

    __tablename__ = "autosteer_jobs"

    id: Mapped[str] = mapped_column(Uuid(as_uuid=False), primary_key=True)
    owner: Mapped[str] = mapped_column(String(200))
    spec: Mapped[str] = mapped_column(Text)
    """A Spec as JSON, model, SAE and seed filled in."""
    turn: Mapped[int] = mapped_column(Integer)
    """0 for quick, 1 for default, 2 for thorough: the smaller goes first."""
    state: Mapped[str] = mapped_column(String(20))
    stage: Mapped[str] = mapped_column(String(20))
    created: Mapped[datetime] = mapped_column(UtcDateTime)
    started: Mapped[datetime | None] = mapped_column(UtcDateTime)
    """When a worker first took it."""
    taken: Mapped[datetime | None] = mapped_column(UtcDateTime)
    """When a worker last took it."""
    ended: Mapped[datetime | None] = mapped_column(UtcDateTime)
    due: Mapped[datetime] = mapped_column(UtcDateTime)
    """A queued job is not taken before."""
    attempts: Mapped[int] = mapped_column(Integer)
    """How often a worker has taken it."""
    outages: Mapped[int] = mapped_column(Integer)
    """How often in a row something did not answer, without a step forward in between."""
    deaths: Mapped[int] = mapped_column(Integer)
    """How often in a row its worker died, without a step forward in between."""
    lease: Mapped[str | None] = mapped_column(Uuid(as_uuid=False))
    """Names the one who may write for it now; unset unless it runs."""
    lease_end: Mapped[datetime | None] = mapped_column(UtcDateTime)
    last_sequence: Mapped[int] = mapped_column(BigInteger)
    best: Mapped[str | None] = mapped_column(Text)
    """The best Trial so far as JSON."""
    result: Mapped[str | None] = mapped_column(Text)
    """A Result as JSON."""
    error_reason: Mapped[str] = mapped_column(String(50))
    error_message: Mapped[str] = mapped_column(Text)
    trace: Mapped[str | None] = mapped_column(String(55))
    """The traceparent of the request that made it, if that was traced."""


NEWEST = Index("ix_autosteer_jobs_newest", JobRow.owner, JobRow.created, JobRow.id)
QUEUE = Index("ix_autosteer_jobs_queue", JobRow.state, JobRow.turn, JobRow.created)


class JobRequestRow(Base):
    """A request that made a job, so that the same one again does not."""

    __tablename__ = "autosteer_requests"

    owner: Mapped[str] = mapped_column(String(200), primary_key=True)
    request_id: Mapped[str] = mapped_column(Uuid(as_uuid=False), primary_key=True)
    content_digest: Mapped[bytes] = mapped_column(LargeBinary(32))
    """SHA-256 over what was asked for."""
    job_id: Mapped[str] = mapped_column(ForeignKey(JobRow.id, ondelete="CASCADE"))


class CheckpointRow(Base):
    """What a stage of a job has made."""

    __tablename__ = "autosteer_checkpoints"

    job_id: Mapped[str] = mapped_column(ForeignKey(JobRow.id, ondelete="CASCADE"), primary_key=True)
    name: Mapped[str] = mapped_column(String(50), primary_key=True)
    value: Mapped[str] = mapped_column(Text)


class TrialRow(Base):
    """A trial of a job's search."""

    __tablename__ = "autosteer_trials"

    job_id: Mapped[str] = mapped_column(ForeignKey(JobRow.id, ondelete="CASCADE"), primary_key=True)
    number: Mapped[int] = mapped_column(Integer, primary_key=True, autoincrement=False)
    value: Mapped[str] = mapped_column(Text)


class EventRow(Base):
    """An event of a job's log. Sequences of a job count from 1 without gaps."""

    __tablename__ = "autosteer_events"
    __table_args__ = (UniqueConstraint("job_id", "key", name="uq_autosteer_events_key"),)

    job_id: Mapped[str] = mapped_column(ForeignKey(JobRow.id, ondelete="CASCADE"), primary_key=True)
    sequence: Mapped[int] = mapped_column(BigInteger, primary_key=True, autoincrement=False)
    key: Mapped[str] = mapped_column(String(100))
    """The same for an event that comes again after a resume: it is logged once."""
    time: Mapped[datetime] = mapped_column(UtcDateTime)
    value: Mapped[str] = mapped_column(Text)
