"""The tables of keys: the keys themselves, of which only a digest is kept, and what was used of their quotas."""

from __future__ import annotations

from datetime import date, datetime

from sqlalchemy import (
    BigInteger,
    Date,
    Double,
    ForeignKey,
    Integer,
    LargeBinary,
    String,
    UniqueConstraint,
    Uuid,
)
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column

from services.database.tables import UtcDateTime, new_metadata


class Base(DeclarativeBase):
    """What these tables share."""

    metadata = new_metadata()


class KeyRow(Base):
    """A key; key.py says what its fields mean."""

    __tablename__ = "api_keys"
    __table_args__ = (UniqueConstraint("digest", name="uq_api_keys_digest"),)

    id: Mapped[str] = mapped_column(Uuid(as_uuid=False), primary_key=True)
    digest: Mapped[bytes] = mapped_column(LargeBinary(32))
    """SHA-256 of the key. It has 256 random bits, so that nothing slower would make it safer."""
    prefix: Mapped[str] = mapped_column(String(20))
    name: Mapped[str] = mapped_column(String(200))
    owner: Mapped[str] = mapped_column(String(200))
    created: Mapped[datetime] = mapped_column(UtcDateTime)
    revoked: Mapped[datetime | None] = mapped_column(UtcDateTime)
    requests_per_minute: Mapped[int | None] = mapped_column(Integer)
    """None: as many as it likes."""
    tokens_per_day: Mapped[int | None] = mapped_column(BigInteger)
    """None: as many as it likes."""


class UsageRow(Base):
    """What a key used: one row, so that all gateways count together."""

    __tablename__ = "api_key_usage"

    key_id: Mapped[str] = mapped_column(ForeignKey(KeyRow.id, ondelete="CASCADE"), primary_key=True)
    allowance: Mapped[float] = mapped_column(Double)
    """Requests that it may make at `counted`; it grows from there to the minute's number."""
    counted: Mapped[datetime] = mapped_column(UtcDateTime)
    day: Mapped[date] = mapped_column(Date)
    """The day, in UTC, that `tokens` are of."""
    tokens: Mapped[int] = mapped_column(BigInteger)
