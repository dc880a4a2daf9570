"""Makes, finds, lists and revokes keys. Every method may raise DependencyUnavailable."""

from __future__ import annotations

import re
import uuid
from collections.abc import Sequence
from datetime import UTC, datetime

from sqlalchemy import select
from sqlalchemy.orm import Session

from services.database.database import Database
from services.errors import InvalidField, NotFound
from services.keys.database.tables import KeyRow
from services.keys.key import SHOWN, Key, Quotas, digest_of, new_secret

MAX_NAME = 200
MOST_QUOTA = 2**31 - 1
_OWNER = re.compile(r"[A-Za-z0-9._@:/+=-]{1,200}")
"""What metadata of a call carries unchanged."""


class Keyring:
    """The keys of all owners."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def create(self, owner: str, name: str, quotas: Quotas) -> tuple[Key, str]:
        """A new key as it is kept, and the key itself, which nobody can tell again. Raises InvalidField."""
        _check(owner, name, quotas)
        secret = new_secret()
        kept = Key(str(uuid.uuid4()), secret[:SHOWN], name, owner, datetime.now(UTC), None, quotas)

        def add(session: Session) -> None:
            if session.get(KeyRow, kept.id) is None:
                session.add(_row(kept, digest_of(secret)))

        await self._database.write(add)
        return kept, secret

    async def find(self, digest: bytes) -> Key | None:
        """The key of a digest, unless it was revoked."""

        def look(session: Session) -> Key | None:
            row = session.scalar(
                select(KeyRow).where(KeyRow.digest == digest, KeyRow.revoked.is_(None)).limit(1)
            )
            return None if row is None else _key(row)

        return await self._database.read(look)

    async def all(self) -> Sequence[Key]:
        """All keys, revoked ones too, oldest first."""

        def listing(session: Session) -> list[Key]:
            return [_key(row) for row in session.scalars(select(KeyRow).order_by(KeyRow.created, KeyRow.id))]

        return await self._database.read(listing)

    async def revoke(self, named: str) -> Key:
        """The key of an id, of the first characters that are shown of it, or of a name that no other key has.

        It is revoked from now on; nothing changes where it was before. Raises NotFound, and InvalidField where several
        keys are so named.
        """

        def end(session: Session) -> Key:
            row = _named(session, named)
            row.revoked = row.revoked or datetime.now(UTC)
            return _key(row)

        return await self._database.write(end)


def _named(session: Session, named: str) -> KeyRow:
    found = [
        row for row in session.scalars(select(KeyRow)) if named and named in (row.id, row.prefix, row.name)
    ]
    if not found:
        raise NotFound(f"there is no key {named[:100]!r}", field="key")
    alive = [row for row in found if row.revoked is None] or found[:1]
    if len(alive) > 1:
        raise InvalidField(
            "key",
            f"{named[:100]!r} names {len(alive)} keys; allowed: the id of one, as `hearth keys list` shows it",
        )
    return alive[0]


def _check(owner: str, name: str, quotas: Quotas) -> None:
    if not _OWNER.fullmatch(owner):
        raise InvalidField(
            "owner", f"is {owner[:50]!r}; allowed: 1 to 200 letters, digits and signs of ._@:/+=-"
        )
    if len(name) > MAX_NAME or not name.isprintable():
        raise InvalidField("name", f"allowed: up to {MAX_NAME} printable characters")
    for field, value in (
        ("requests_per_minute", quotas.requests_per_minute),
        ("tokens_per_day", quotas.tokens_per_day),
    ):
        if value is not None and not 1 <= value <= MOST_QUOTA:
            raise InvalidField(field, f"is {value}; allowed: 1 to {MOST_QUOTA:,}, or none at all")


def _row(key: Key, digest: bytes) -> KeyRow:
    return KeyRow(
        id=key.id,
        digest=digest,
        prefix=key.prefix,
        name=key.name,
        owner=key.owner,
        created=key.created,
        revoked=key.revoked,
        requests_per_minute=key.quotas.requests_per_minute,
        tokens_per_day=key.quotas.tokens_per_day,
    )


def _key(row: KeyRow) -> Key:
    return Key(
        row.id,
        row.prefix,
        row.name,
        row.owner,
        row.created,
        row.revoked,
        Quotas(row.requests_per_minute, row.tokens_per_day),
    )
