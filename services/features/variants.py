"""Saved variants: named steerings, each its owner's own. Another owner's variant is as if it were not there.

Every method may raise DependencyUnavailable. A writer holds the variant's row while it compares etags, and on SQLite
the database's one write lock: of two writers with one etag exactly one wins, in whatever processes they are.
"""

from __future__ import annotations

import secrets
import uuid
from dataclasses import dataclass, fields
from datetime import UTC, datetime
from functools import partial
from typing import Any

from sqlalchemy import select
from sqlalchemy.orm import Session

from services.database.database import Database
from services.database.repeats import check_repeated, content_digest
from services.errors import AlreadyExists, EtagMismatch, NotFound
from services.features.database.tables import VariantRequestRow, VariantRow
from services.features.variant_pages import Listing, variant_page


@dataclass(frozen=True, slots=True)
class VariantContent:
    """What an owner says of a variant."""

    name: str
    """1 to 200 characters; no two of an owner's variants share one, deleted ones aside."""
    description: str
    model: str
    """The model it is meant for; empty if for any."""
    steering: bytes
    """What it does: the same bytes for equal steerings. Not read here."""


@dataclass(frozen=True, slots=True)
class VariantChange:
    """New values; None leaves what is there."""

    name: str | None = None
    description: str | None = None
    model: str | None = None
    steering: bytes | None = None


@dataclass(frozen=True, slots=True)
class Variant:
    """A variant as it is now."""

    id: str
    """A UUID."""
    content: VariantContent
    etag: str
    """Changes whenever the variant does."""
    created: datetime
    updated: datetime
    deleted: datetime | None
    """Times are in UTC; None if it is not deleted."""


class Variants:
    """The variants of all owners. Without a request_id a call that is repeated happens twice."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def create(self, owner: str, content: VariantContent, request_id: str = "") -> Variant:
        """A new variant. Raises AlreadyExists where the name is taken.

        The same request_id again returns the same variant as it is by then, and raises AlreadyExists where it came with
        other content.
        """
        asked = _Request(owner, request_id, content_digest("create", _values(content)))
        return await self._database.write(partial(_create, content=content, asked=asked))

    async def get(self, owner: str, variant_id: str) -> Variant:
        """One variant, even if it is deleted. Raises NotFound."""
        return await self._database.read(lambda session: variant_of(_found(session, owner, variant_id, "id")))

    async def by_name(self, owner: str, name: str) -> Variant:
        """One variant that is not deleted. Raises NotFound."""
        return await self._database.read(partial(_by_name, owner=owner, name=name))

    async def page(
        self, owner: str, size: int, token: str = "", *, with_deleted: bool = False
    ) -> tuple[list[Variant], str]:
        """At most `size` variants, newest first, and the token of the next page, empty at the end.

        Variants that are made, changed or deleted meanwhile move no other to another page. Raises InvalidField where
        the token is not one of this list.
        """
        rows = partial(variant_page, listing=Listing(owner, with_deleted), size=size, token=token)
        found, following = await self._database.read(rows)
        return [variant_of(row) for row in found], following

    async def update(
        self, owner: str, variant_id: str, change: VariantChange, etag: str = "", request_id: str = ""
    ) -> Variant:
        """The variant after a change. Raises NotFound (of deleted ones too), EtagMismatch or AlreadyExists.

        An etag that is empty overwrites whatever is there. The same request_id again changes nothing, and returns the
        variant as it is by then.
        """
        asked = _Request(owner, request_id, content_digest("update", variant_id, _values(change), etag))
        return await self._database.write(
            partial(_update, variant_id=variant_id, change=_values(change), etag=etag, asked=asked)
        )

    async def delete(self, owner: str, variant_id: str, etag: str = "") -> Variant:
        """The variant, deleted. One that is deleted stays as it is. Raises NotFound or EtagMismatch."""
        return await self._database.write(partial(_delete, owner=owner, variant_id=variant_id, etag=etag))

    async def undelete(self, owner: str, variant_id: str) -> Variant:
        """The variant, brought back. Raises NotFound, and AlreadyExists where its name has been taken meanwhile."""
        return await self._database.write(partial(_undelete, owner=owner, variant_id=variant_id))


@dataclass(frozen=True, slots=True)
class _Request:
    """Who asks, by which request_id (or empty), and the digest of what."""

    owner: str
    id: str
    digest: bytes

    def repeated(self, session: Session) -> Variant | None:
        """What the same request made or changed before, as it is now."""
        before = session.get(VariantRequestRow, (self.owner, self.id)) if self.id else None
        if before is None:
            return None
        check_repeated(self.id, before.content_digest, self.digest)
        return variant_of(_found(session, self.owner, before.variant_id, "request_id"))

    def remember(self, session: Session, row: VariantRow) -> None:
        """Keeps the request with what it did; of two that race, the second finds the first and is a repetition."""
        session.flush()
        if self.id:
            session.add(
                VariantRequestRow(
                    owner=self.owner, request_id=self.id, content_digest=self.digest, variant_id=row.id
                )
            )


def variant_of(row: VariantRow) -> Variant:
    """A row, in the domain's words."""
    content = VariantContent(row.name, row.description, row.model, row.steering)
    return Variant(row.id, content, row.etag, row.created, row.updated, row.deleted)


def _create(session: Session, content: VariantContent, asked: _Request) -> Variant:
    if before := asked.repeated(session):
        return before
    _check_free(session, asked.owner, content.name, "variant.name")
    now = datetime.now(UTC)
    row = VariantRow(
        id=str(uuid.uuid4()),
        owner=asked.owner,
        etag=_new_etag(),
        etag_before_deletion="",
        created=now,
        updated=now,
        deleted=None,
        **_values(content),
    )
    session.add(row)
    asked.remember(session, row)
    return variant_of(row)


def _update(session: Session, variant_id: str, change: dict[str, Any], etag: str, asked: _Request) -> Variant:
    if before := asked.repeated(session):
        return before
    row = _found(session, asked.owner, variant_id, "variant.id", to_write=True)
    if row.deleted is not None:
        raise NotFound(f"variant {variant_id} is deleted; bring it back first", field="variant.id")
    _check_etag(row, etag)
    if change.get("name", row.name) != row.name:
        _check_free(session, asked.owner, change["name"], "variant.name")
    for name, value in change.items():
        setattr(row, name, value)
    _touch(row)
    asked.remember(session, row)
    return variant_of(row)


def _delete(session: Session, owner: str, variant_id: str, etag: str) -> Variant:
    row = _found(session, owner, variant_id, "id", to_write=True)
    if row.deleted is not None:
        if etag != row.etag_before_deletion:  # else the call that deleted it is repeated
            _check_etag(row, etag)
        return variant_of(row)
    _check_etag(row, etag)
    row.etag_before_deletion = row.etag
    row.deleted = _touch(row)
    return variant_of(row)


def _undelete(session: Session, owner: str, variant_id: str) -> Variant:
    row = _found(session, owner, variant_id, "id", to_write=True)
    if row.deleted is not None:
        _check_free(session, owner, row.name, "id")
        row.deleted, row.etag_before_deletion = None, ""
        _touch(row)
    return variant_of(row)


def _by_name(session: Session, owner: str, name: str) -> Variant:
    row = _living(session, owner, name)
    if row is None:
        raise NotFound(f"there is no variant named {name!r}", field="name")
    return variant_of(row)


def _living(session: Session, owner: str, name: str) -> VariantRow | None:
    of_name = select(VariantRow).where(VariantRow.owner == owner, VariantRow.name == name)
    return session.scalar(of_name.where(VariantRow.deleted.is_(None)))


def _found(
    session: Session, owner: str, variant_id: str, field: str, *, to_write: bool = False
) -> VariantRow:
    one = select(VariantRow).where(VariantRow.id == variant_id, VariantRow.owner == owner)
    row = session.scalar(one.with_for_update() if to_write else one)
    if row is None:
        raise NotFound(f"there is no variant {variant_id}", field=field)
    return row


def _check_free(session: Session, owner: str, name: str, field: str) -> None:
    if _living(session, owner, name) is not None:
        raise AlreadyExists(f"there is a variant named {name!r} already", field=field)


def _check_etag(row: VariantRow, etag: str) -> None:
    if etag and etag != row.etag:
        raise EtagMismatch("etag", row.etag)


def _touch(row: VariantRow) -> datetime:
    row.etag, row.updated = _new_etag(), datetime.now(UTC)
    return row.updated


def _new_etag() -> str:
    """Random, not counted: a database that was restored from a copy never gives an etag twice."""
    return secrets.token_hex(8)


def _values(content: VariantContent | VariantChange) -> dict[str, Any]:
    """The columns that are set."""
    values = {field.name: getattr(content, field.name) for field in fields(content)}
    return {name: value for name, value in values.items() if value is not None}
