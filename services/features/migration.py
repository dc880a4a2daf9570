"""Another sentence encoder, or other texts: what is shown is made anew in the background, then shown instead.

Meanwhile the old collection serves: by words, by name and by decoder direction. People's changes are in SQL, and are in
the new collection when it is shown; features cannot be written until then.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Sequence
from dataclasses import replace

from services.errors import DependencyUnavailable
from services.features.catalogs import Catalogs, Live, collection_of, next_generation
from services.features.embedding import Embedding
from services.features.imports import Imports
from services.features.payload import DECODER, INDEX, feature_of
from services.features.points import PointMaker
from services.features.store.base import CollectionMissing, FoundPoint, VectorStore
from services.features.texts import VERSION
from services.rpc.logs import structured

log = logging.getLogger("hearth.features")

PAGE = 128
"""Features that are made anew at a time."""
RETRY_SECONDS = 5.0
"""After which a rebuild goes on that was stopped by an outage."""


class Migration:
    """Makes anew what was made by another encoder."""

    def __init__(
        self,
        store: VectorStore,
        catalogs: Catalogs,
        embedding: Embedding,
        points: PointMaker,
        imports: Imports,
    ) -> None:
        self._store, self._catalogs, self._embedding = store, catalogs, embedding
        self._points, self._imports = points, imports

    async def run(self) -> None:
        """Makes anew all that is stale now, then returns; goes on after outages.

        Only once in a process: while an older release still runs beside it, each would undo what the other did.
        """
        while True:
            try:
                for live in await self._catalogs.all():
                    if not await self._points.is_current(live.info):
                        await self._rebuild(live)
                return
            except DependencyUnavailable as problem:
                log.warning("a rebuild waits", extra=structured(problem=problem.message))
                await asyncio.sleep(problem.retry_after or RETRY_SECONDS)
            except CollectionMissing:
                self._catalogs.forget()  # an import was shown meanwhile; look again

    async def _rebuild(self, live: Live) -> None:
        encoder = await self._embedding.encoder()
        catalog = replace(live.info.catalog, encoder=encoder.id, imported=None)
        info = replace(live.info, catalog=catalog, texts=VERSION)
        collection = collection_of(info, next_generation(info, live))
        log.info("rebuild begins", extra=structured(sae=live.sae, encoder=encoder.id))
        done = (await self._imports.fillings.begin(collection, info, encoder.width)).next_index
        vectors = (DECODER,) if info.d_model else ()
        while points := await self._store.scroll(live.collection, INDEX, done, PAGE, vectors=vectors):
            await self._copy(live, collection, points)
            indices = [int(point.payload[INDEX]) for point in points]
            await self._imports.fillings.note(collection, indices, len(points))
            done = indices[-1] + 1
        await self._store.optimize(collection)
        await self._imports.show(collection, info, instead_of=live)
        log.info("rebuild done", extra=structured(sae=live.sae, encoder=encoder.id, features=done))

    async def _copy(self, live: Live, collection: str, points: Sequence[FoundPoint]) -> None:
        features = [feature_of(live.sae, point.payload) for point in points]
        decoders = {
            int(point.payload[INDEX]): point.dense[DECODER] for point in points if DECODER in point.dense
        }
        made = await self._points.make(features, {}, decoders=decoders)
        await self._store.upsert(collection, made)
