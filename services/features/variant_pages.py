"""Pages of an owner's variants, newest first."""

from __future__ import annotations

import uuid
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from sqlalchemy import select, tuple_
from sqlalchemy.orm import Session

from services.errors import InvalidField
from services.features.database.tables import VariantRow
from services.rpc.page_tokens import page_token, position_of

MAX_PAGE_BYTES = 2 << 20
"""A page ends early where it would be longer, for answers must fit gRPC's 4 MiB."""
_OTHER_BYTES = 200
"""Of a variant's id, etag and times, and more than those."""
_AT_ONCE = 20
"""Rows that are read ahead."""
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


@dataclass(frozen=True, slots=True)
class Listing:
    """Which list; a page token is good for one of them."""

    owner: str
    with_deleted: bool


def variant_page(session: Session, listing: Listing, size: int, token: str) -> tuple[list[VariantRow], str]:
    """At most `size` rows (1 or more while there are any), and the token of the next page, empty at the end."""
    rows = select(VariantRow).where(VariantRow.owner == listing.owner)
    if not listing.with_deleted:
        rows = rows.where(VariantRow.deleted.is_(None))
    if token:
        rows = rows.where(tuple_(VariantRow.created, VariantRow.id) < _position(token, listing))
    rows = rows.order_by(VariantRow.created.desc(), VariantRow.id.desc()).limit(size + 1)
    page: list[VariantRow] = []
    room = MAX_PAGE_BYTES
    for row in session.scalars(rows.execution_options(yield_per=_AT_ONCE)):
        room -= _size(row)
        if len(page) == size or (page and room < 0):
            last = page[-1]
            microseconds = (last.created - _EPOCH) // timedelta(microseconds=1)
            return page, page_token(listing, f"{microseconds} {last.id}")
        page.append(row)
    return page, ""


def _size(row: VariantRow) -> int:
    texts = (row.name, row.description, row.model)
    return _OTHER_BYTES + sum(len(text.encode()) for text in texts) + len(row.steering)


def _position(token: str, listing: Listing) -> tuple[datetime, str]:
    """Behind which variant a page begins."""
    try:
        microseconds, last = position_of(token, listing, "").split(" ")
        return _EPOCH + timedelta(microseconds=int(microseconds)), str(uuid.UUID(last))
    except (ValueError, OverflowError):
        raise InvalidField(
            "page_token", "no answer gave it; allowed: the next_page_token of the last one"
        ) from None
