"""The tables of the features service: saved variants, what people changed of features, and vectors of texts."""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import BigInteger, ForeignKey, Index, LargeBinary, String, Text, Uuid
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column

from services.database.tables import UtcDateTime, new_metadata


class Base(DeclarativeBase):
    """What these tables share."""

    metadata = new_metadata()


class VariantRow(Base):
    """A saved variant; variants.py says what its fields mean."""

    __tablename__ = "variants"

    id: Mapped[str] = mapped_column(Uuid(as_uuid=False), primary_key=True)
    owner: Mapped[str] = mapped_column(String(200))
    name: Mapped[str] = mapped_column(String(200))
    description: Mapped[str] = mapped_column(Text)
    model: Mapped[str] = mapped_column(Text)
    steering: Mapped[bytes] = mapped_column(LargeBinary)
    """A hearth.v1.Steering, serialised: 90 times faster to read than its JSON, for pages of a thousand."""
    etag: Mapped[str] = mapped_column(String(32))
    etag_before_deletion: Mapped[str] = mapped_column(String(32))
    """What the call that deleted it may name when it is repeated; empty if it is not deleted."""
    created: Mapped[datetime] = mapped_column(UtcDateTime)
    updated: Mapped[datetime] = mapped_column(UtcDateTime)
    deleted: Mapped[datetime | None] = mapped_column(UtcDateTime)


LIVING_NAME = Index(
    "uq_variants_living_name",
    VariantRow.owner,
    VariantRow.name,
    unique=True,
    sqlite_where=VariantRow.deleted.is_(None),
    postgresql_where=VariantRow.deleted.is_(None),
)
NEWEST = Index("ix_variants_newest", VariantRow.owner, VariantRow.created, VariantRow.id)


class VariantRequestRow(Base):
    """A request that made or changed a variant, so that the same one again does not."""

    __tablename__ = "variant_requests"

    owner: Mapped[str] = mapped_column(String(200), primary_key=True)
    request_id: Mapped[str] = mapped_column(Uuid(as_uuid=False), primary_key=True)
    content_digest: Mapped[bytes] = mapped_column(LargeBinary(32))
    """SHA-256 over what was asked for."""
    variant_id: Mapped[str] = mapped_column(ForeignKey(VariantRow.id, ondelete="CASCADE"))


class RevisionRow(Base):
    """A change that a person made to a feature; revisions.py says what its fields mean."""

    __tablename__ = "feature_revisions"

    sae: Mapped[str] = mapped_column(Text, primary_key=True)
    feature: Mapped[int] = mapped_column(BigInteger, primary_key=True, autoincrement=False)
    """The feature's index."""
    revision: Mapped[int] = mapped_column(BigInteger, primary_key=True, autoincrement=False)
    label: Mapped[str] = mapped_column(Text)
    description: Mapped[str] = mapped_column(Text)
    previous_label: Mapped[str] = mapped_column(Text)
    owner: Mapped[str] = mapped_column(String(200))
    note: Mapped[str] = mapped_column(Text)
    created: Mapped[datetime] = mapped_column(UtcDateTime)
    request_id: Mapped[str | None] = mapped_column(Uuid(as_uuid=False))
    content_digest: Mapped[bytes | None] = mapped_column(LargeBinary(32))
    """SHA-256 over what was asked for, where there is a request id."""


Index("uq_feature_revisions_request", RevisionRow.owner, RevisionRow.request_id, unique=True)


class EmbeddingRow(Base):
    """The vector of a text, by one encoder."""

    __tablename__ = "embeddings"

    encoder: Mapped[str] = mapped_column(String(200), primary_key=True)
    text_digest: Mapped[bytes] = mapped_column(LargeBinary(32), primary_key=True)
    """SHA-256 of the text in UTF-8."""
    vector: Mapped[bytes] = mapped_column(LargeBinary)
    """float16 numbers, little-endian."""
