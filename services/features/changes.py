"""What people call features: decided in SQL, shown in the vector store.

The revision that SQL takes is the truth; the payload of the feature's point follows it. A process that is killed in
between leaves the point behind, and whoever starts next brings it up (`repair`).
"""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine, Sequence
from dataclasses import replace
from typing import Any, TypeVar

from services.errors import DependencyUnavailable, EtagMismatch
from services.features.catalogs import Catalogs, Live
from services.features.feature import Feature, feature_id
from services.features.payload import LABEL, feature_of
from services.features.points import PointMaker
from services.features.reading import Located, Reader
from services.features.requests import RevisionsCall, UpdateCall
from services.features.revisions import Change, Revision, RevisionMismatch, Revisions
from services.features.store.base import CollectionMissing, VectorStore
from services.features.writing import with_revision
from services.rpc.page_tokens import page_token, position_of

_BATCH = 500
"""Features that are compared with their revisions at once."""
_STALE = -1
"""A revision that no feature is at."""

_T = TypeVar("_T")


class Changes:
    """Changes features on people's behalf."""

    def __init__(
        self,
        store: VectorStore,
        catalogs: Catalogs,
        points: PointMaker,
        revisions: Revisions,
    ) -> None:
        self._store, self._catalogs = store, catalogs
        self._points, self._revisions = points, revisions
        self._reader = Reader(store, catalogs)
        self._running: set[asyncio.Task[Any]] = set()
        self.behind = False
        """Whether a revision was taken that its point may not show yet."""

    async def update(self, call: UpdateCall) -> Feature:
        """The feature as it is then. Raises EtagMismatch where it has changed since the caller read it."""
        return await self._to_its_end(self._update(call))

    async def history(self, call: RevisionsCall) -> tuple[list[Revision], str]:
        """One page of a feature's revisions, newest first, and the token of the next."""
        (located,) = await self._reader.locate(call.names, ("index",))
        assert isinstance(located, Located)
        sae, index = located.live.sae, int(located.point.payload["index"])
        before = position_of(call.page_token, (sae, index), 0) or None
        page, following = await self._revisions.history(sae, index, call.page_size, before)
        return page, "" if following is None else page_token((sae, index), following)

    async def repair(self, live: Live) -> int:
        """Brings points up to the revisions of their features; returns how many were behind."""
        repaired = 0
        batch: list[Revision] = []
        async for revision in self._revisions.all_latest(live.sae):
            batch.append(revision)
            if len(batch) == _BATCH:
                repaired += await self._repair(live, batch)
                batch = []
        return repaired + (await self._repair(live, batch) if batch else 0)

    async def _repair(self, live: Live, heads: Sequence[Revision]) -> int:
        by_id = {feature_id(live.sae, head.index): head for head in heads}
        found = await self._store.get(live.collection, list(by_id), ("revision",))
        late = [name for name, point in found.items() if point.payload["revision"] < by_id[name].revision]
        for name, point in (await self._store.get(live.collection, late)).items():
            await self._show(live, feature_of(live.sae, point.payload), by_id[name])
        return len(late)

    async def _update(self, call: UpdateCall) -> Feature:
        (located,) = await self._reader.locate(call.names, ("index",))
        assert isinstance(located, Located)
        async with self._catalogs.writing(located.live.sae):
            return await self._catalogs.retried(lambda: self._update_alone(call, located))

    async def _update_alone(self, call: UpdateCall, located: Located) -> Feature:
        live = await self._catalogs.get(located.live.sae, call.names.fields[0])
        feature = await self._current(live, located.point.id)
        await self._embed_label(live, feature, call.label)
        change = Change(
            sae=live.sae,
            index=feature.index,
            label=call.label,
            description=call.description,
            shown_label=feature.label,
            shown_description=feature.description,
            owner=call.owner,
            note=call.note,
            # A request that is repeated comes with the etag from before, so that alone must not refuse it.
            expected=(feature.revision if call.etag == feature.etag else _STALE) if call.etag else None,
            request_id=call.request_id,
        )
        try:
            revision = await self._revisions.append(change)
        except RevisionMismatch:
            raise EtagMismatch("etag", (await self._current(live, located.point.id)).etag) from None
        if revision.revision <= feature.revision:  # the request was answered before
            return feature
        return await self._show(live, feature, revision)

    async def _current(self, live: Live, name: str) -> Feature:
        """A feature, whole, and with its latest revision."""
        point = (await self._store.get(live.collection, [name])).get(name)
        if point is None:
            raise CollectionMissing(live.collection)
        feature = feature_of(live.sae, point.payload)
        head = (await self._revisions.latest(live.sae, [feature.index])).get(feature.index)
        if head is not None and head.revision > feature.revision:
            return await self._show(live, feature, head)
        return feature

    async def _embed_label(self, live: Live, feature: Feature, label: str | None) -> None:
        """Makes the vector that will be needed, so that a revision is not taken while it cannot be shown."""
        if label is not None and await self._points.is_current(live.info):
            await self._points.make([replace(feature, label=label)], {}, vectors=(LABEL,))

    async def _show(self, live: Live, feature: Feature, revision: Revision) -> Feature:
        """Writes a feature's point with its revision; vectors of contexts and decoder stay."""
        shown = replace(with_revision(feature, revision), updated=revision.created)
        there = await self._store.get(live.collection, [feature.id], ("etag", "updated"))
        vectors = (LABEL,) if await self._points.is_current(live.info) else ()
        try:
            points = await self._points.make([shown], there, vectors=vectors)
            await self._store.upsert(live.collection, points)
        except (DependencyUnavailable, CollectionMissing):
            self.behind = True
            raise
        return feature_of(live.sae, points[0].payload)

    async def _to_its_end(self, work: Coroutine[Any, Any, _T]) -> _T:
        """What `work` returns; it goes on where the caller leaves, so that nothing stays half written."""
        task = asyncio.create_task(work)
        self._running.add(task)
        task.add_done_callback(self._running.discard)
        return await asyncio.shield(task)
