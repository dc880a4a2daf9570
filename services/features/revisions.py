"""What people changed of features: the truth of it. The catalogue shows each feature with its latest revision over what
was imported, so that a later import undoes nothing."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial

from sqlalchemy import Select, and_, func, select
from sqlalchemy.orm import Session

from services.database.database import Database
from services.database.repeats import check_repeated, content_digest
from services.features.database.tables import RevisionRow

_BATCH = 1000
"""Features in one query."""


@dataclass(frozen=True, slots=True)
class Revision:
    """What a feature is called since a person said so."""

    sae: str
    index: int
    revision: int
    """From 1; how often people have changed the feature."""
    label: str
    description: str
    previous_label: str
    """The label that it replaced."""
    owner: str
    note: str
    created: datetime
    """UTC."""


@dataclass(frozen=True, slots=True)
class Change:
    """What a person wants to change. Texts hold no U+0000, which PostgreSQL cannot store."""

    sae: str
    index: int
    label: str | None
    """None keeps it as it is."""
    description: str | None
    """None keeps it as it is."""
    shown_label: str
    """As imported, or as shown; counts where this is the first change."""
    shown_description: str
    """As imported, or as shown; counts where this is the first change."""
    owner: str
    note: str = ""
    expected: int | None = None
    """The revision that the person saw, 0 if the feature had none; None changes whatever is there."""
    request_id: str = ""
    """A UUID of the caller's, or empty."""


class RevisionMismatch(Exception):
    """Somebody else has changed the feature since the revision that was expected."""

    def __init__(self, latest: int) -> None:
        super().__init__(f"the feature is at revision {latest}")
        self.latest = latest


class Revisions:
    """The revisions of all features of all SAEs. Every method may raise DependencyUnavailable."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def append(self, change: Change) -> Revision:
        """The revision that a change makes; durable when it returns.

        Of several changes with the same `expected`, in any number of processes, exactly one is made; the others raise
        RevisionMismatch. The same request_id (of the same owner) again returns the revision that it made before, and
        raises AlreadyExists where it asks for something else.
        """
        return await self._database.write(partial(_append, change=change))

    async def latest(self, sae: str, indices: Sequence[int]) -> dict[int, Revision]:
        """The latest revision by feature index, for those of the features that people have changed."""
        found: dict[int, Revision] = {}
        for start in range(0, len(indices), _BATCH):
            some = indices[start : start + _BATCH]
            for revision in await self._database.read(partial(_latest, sae=sae, indices=some)):
                found[revision.index] = revision
        return found

    async def all_latest(self, sae: str) -> AsyncIterator[Revision]:
        """The latest revision of every feature of an SAE that people have changed, in order of index."""
        after = -1
        while True:
            page = await self._database.read(partial(_latest_after, sae=sae, after=after))
            for revision in page:
                yield revision
            if len(page) < _BATCH:
                return
            after = page[-1].index

    async def history(
        self, sae: str, index: int, limit: int, before: int | None = None
    ) -> tuple[list[Revision], int | None]:
        """A feature's revisions, newest first, at most `limit`, and what to give as `before` for the next ones.

        The second is None at the end. A page stays the same whatever is written meanwhile.
        """
        found = await self._database.read(
            partial(_history, sae=sae, index=index, limit=limit + 1, before=before)
        )
        page = found[:limit]
        return page, page[-1].revision if len(found) > limit else None


def _append(session: Session, change: Change) -> Revision:
    if done := _made_before(session, change):
        return done
    now = _newest(session, change.sae, change.index)
    number = now.revision if now else 0
    if change.expected is not None and change.expected != number:
        raise RevisionMismatch(number)
    label, description = (
        (now.label, now.description) if now else (change.shown_label, change.shown_description)
    )
    row = RevisionRow(
        sae=change.sae,
        feature=change.index,
        revision=number + 1,
        label=label if change.label is None else change.label,
        description=description if change.description is None else change.description,
        previous_label=label,
        owner=change.owner,
        note=change.note,
        created=datetime.now(UTC),
        request_id=change.request_id or None,
        content_digest=_digest(change) if change.request_id else None,
    )
    session.add(
        row
    )  # the primary key lets one writer add this revision; the others start over and find it there
    return _revision(row)


def _made_before(session: Session, change: Change) -> Revision | None:
    if not change.request_id:
        return None
    asked = select(RevisionRow).where(
        RevisionRow.owner == change.owner, RevisionRow.request_id == change.request_id
    )
    row = session.scalar(asked)
    if row is None:
        return None
    check_repeated(change.request_id, row.content_digest, _digest(change))
    return _revision(row)


def _digest(change: Change) -> bytes:
    return content_digest(change.sae, change.index, change.label, change.description, change.note)


def _newest(session: Session, sae: str, index: int) -> RevisionRow | None:
    of_feature = select(RevisionRow).where(RevisionRow.sae == sae, RevisionRow.feature == index)
    return session.scalar(of_feature.order_by(RevisionRow.revision.desc()).limit(1))


def _latest(session: Session, sae: str, indices: Sequence[int]) -> list[Revision]:
    changed = _numbers(sae).where(RevisionRow.feature.in_(indices))
    return [_revision(row) for row in session.scalars(_rows(changed))]


def _latest_after(session: Session, sae: str, after: int) -> list[Revision]:
    changed = _numbers(sae).where(RevisionRow.feature > after).order_by(RevisionRow.feature).limit(_BATCH)
    return [_revision(row) for row in session.scalars(_rows(changed).order_by(RevisionRow.feature))]


def _numbers(sae: str) -> Select[str, int, int]:
    """The keys of the features' latest revisions."""
    keys = select(RevisionRow.sae, RevisionRow.feature, func.max(RevisionRow.revision).label("revision"))
    return keys.where(RevisionRow.sae == sae).group_by(RevisionRow.sae, RevisionRow.feature)


def _rows(keys: Select[str, int, int]) -> Select[RevisionRow]:
    latest = keys.subquery()
    return select(RevisionRow).join(
        latest,
        and_(
            RevisionRow.sae == latest.c.sae,
            RevisionRow.feature == latest.c.feature,
            RevisionRow.revision == latest.c.revision,
        ),
    )


def _history(session: Session, sae: str, index: int, limit: int, before: int | None) -> list[Revision]:
    rows = select(RevisionRow).where(RevisionRow.sae == sae, RevisionRow.feature == index)
    if before is not None:
        rows = rows.where(RevisionRow.revision < before)
    return [
        _revision(row) for row in session.scalars(rows.order_by(RevisionRow.revision.desc()).limit(limit))
    ]


def _revision(row: RevisionRow) -> Revision:
    return Revision(
        sae=row.sae,
        index=row.feature,
        revision=row.revision,
        label=row.label,
        description=row.description,
        previous_label=row.previous_label,
        owner=row.owner,
        note=row.note,
        created=row.created,
    )
