"""The catalogue of features: what FeatureService does, as plain coroutines.

Everything raises the errors of services.errors: NotFound, FeatureOutOfRange and InvalidField name the field at fault,
DependencyUnavailable says that the vector store, the database or the encoder does not answer.
"""

from __future__ import annotations

import logging

from services.errors import DependencyUnavailable
from services.features.catalogs import Catalogs
from services.features.changes import Changes
from services.features.embedding import Embedding
from services.features.feature import Catalog, Feature, Hit
from services.features.imports import Imports
from services.features.migration import Migration
from services.features.neighbors import Neighborhood
from services.features.points import PointMaker
from services.features.reading import Reader
from services.features.requests import (
    Absent,
    BeginCall,
    Begun,
    ListCall,
    Names,
    NeighborsCall,
    RerankCall,
    RevisionsCall,
    SearchCall,
    UpdateCall,
    UpsertCall,
    Upserted,
)
from services.features.revisions import Revision, Revisions
from services.features.search import REBUILD_SECONDS, Searcher
from services.features.store.base import VectorStore
from services.features.words import WordVectors
from services.features.writing import Writer
from services.rpc.logs import structured
from services.rpc.page_tokens import page_token, position_of

log = logging.getLogger("hearth.features")


class Catalogue:
    """All that can be asked of features."""

    def __init__(self, store: VectorStore, revisions: Revisions, embedding: Embedding) -> None:
        words = WordVectors()
        points = PointMaker(embedding, words)
        self.catalogs = Catalogs(store)
        self._writer = Writer(store, points, revisions)
        self._reader = Reader(store, self.catalogs)
        self._searcher = Searcher(store, self.catalogs, embedding, points, words)
        self._neighborhood = Neighborhood(store, self.catalogs)
        self.changes = Changes(store, self.catalogs, points, revisions)
        self.imports = Imports(store, self.catalogs, embedding, self._writer, self.changes)
        self.migration = Migration(store, self.catalogs, embedding, points, self.imports)
        self._points = points

    async def catch_up(self) -> None:
        """Ends what a process did not that was killed: changes of people's that are not shown, what is replaced.

        What it cannot do now is left for the next time: `changes.behind` says so.
        """
        self.changes.behind = False
        try:
            for live in await self.catalogs.all():
                if late := await self.changes.repair(live):
                    log.info("changes shown", extra=structured(sae=live.sae, features=late))
                await self.imports.tidy(live)
        except DependencyUnavailable as problem:
            log.warning("changes are not shown yet", extra=structured(problem=problem.message))
            self.changes.behind = True

    async def list_catalogs(self, page_size: int, token: str) -> tuple[list[Catalog], str]:
        """The SAEs in the catalogue, in order of id, and the token of the next page."""
        after = position_of(token, "catalogs", "")
        rest = [live.info.catalog for live in await self.catalogs.all() if live.sae > after]
        page = rest[:page_size]
        return page, page_token("catalogs", page[-1].sae) if len(rest) > page_size else ""

    async def get(self, names: Names, *, full: bool, allow_missing: bool = False) -> list[Feature | Absent]:
        """Features in the order of their names."""
        return await self._reader.get(names, full=full, allow_missing=allow_missing)

    async def page(self, call: ListCall) -> tuple[list[Feature], str]:
        """One page of an SAE's features in order of index, and the token of the next."""
        return await self._reader.page(call)

    async def search(self, call: SearchCall) -> list[Hit]:
        """The features that fit a query best."""
        return await self._searcher.search(call)

    async def rerank(self, call: RerankCall) -> list[Hit]:
        """Some features in order of how well they fit a query."""
        return await self._searcher.rerank(call)

    async def neighbors(self, call: NeighborsCall) -> list[Hit]:
        """Features like some others."""
        return await self._neighborhood.find(call)

    async def begin_import(self, call: BeginCall) -> Begun:
        """Begins an import, or goes on with one."""
        return await self.imports.begin(call)

    async def upsert(self, call: UpsertCall) -> Upserted:
        """Writes features: those of an import, or over those that are shown.

        Raises DependencyUnavailable while what is shown is made anew for another encoder.
        """
        if call.import_id:
            return await self.imports.write(call)
        sae = call.upserts[0].feature.sae

        async def write() -> Upserted:
            live = await self.catalogs.get(sae, "features[0].feature.key.sae")
            if not await self._points.is_current(live.info):
                raise DependencyUnavailable("the catalogue", "its vectors are made anew", REBUILD_SECONDS)
            async with self.catalogs.writing(live.sae):
                return Upserted(*await self._writer.write(live.collection, live.info, call))

        return await self.catalogs.retried(write)

    async def commit_import(self, import_id: str) -> Catalog:
        """Shows an import that is complete."""
        return await self.imports.commit(import_id)

    async def update(self, call: UpdateCall) -> Feature:
        """Changes what a feature is called."""
        return await self.changes.update(call)

    async def revisions(self, call: RevisionsCall) -> tuple[list[Revision], str]:
        """What a feature was called before, newest first, and the token of the next page."""
        return await self.changes.history(call)

    async def delete(self, sae: str) -> None:
        """Removes an SAE's features."""
        await self.imports.delete(sae)
