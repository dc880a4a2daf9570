"""Imports: the features of an SAE are filled into a collection that nobody sees, and shown all at once.

An import's name says all of it (SAE, content, encoder), so that it can go on in any process, after any restart; nothing
is kept of it but the collection, which begins with the first features that arrive.
"""

from __future__ import annotations

import asyncio
import base64
import binascii
import json
import logging
import zlib
from dataclasses import asdict, replace
from datetime import UTC, datetime

from services.errors import ImportIncomplete, NotFound
from services.features.catalogs import Catalogs, Info, Live, alias_of, collection_of, next_generation
from services.features.changes import Changes
from services.features.embedding import Embedding
from services.features.feature import Catalog
from services.features.filling import Filling, Fillings
from services.features.requests import BeginCall, Begun, UpsertCall, Upserted
from services.features.store.base import CollectionMissing, VectorStore
from services.features.texts import VERSION
from services.features.writing import Writer
from services.rpc.logs import structured

log = logging.getLogger("hearth.features")


class Imports:
    """Begins, fills and shows imports."""

    def __init__(
        self,
        store: VectorStore,
        catalogs: Catalogs,
        embedding: Embedding,
        writer: Writer,
        changes: Changes,
    ) -> None:
        self._store, self._catalogs, self._embedding = store, catalogs, embedding
        self._writer, self._changes = writer, changes
        self.fillings = Fillings(store, catalogs)
        self._committing: dict[str, asyncio.Task[Catalog]] = {}

    async def begin(self, call: BeginCall) -> Begun:
        """Begins an import or goes on with one. Raises DependencyUnavailable without an encoder."""
        encoder = await self._embedding.encoder()
        catalog = replace(call.catalog, encoder=encoder.id, imported=None)
        info = Info(catalog, call.content_digest, VERSION)
        live = await self._catalogs.find(catalog.sae)
        if live is not None and not call.restart and _is_shown(info, live):
            return Begun("", catalog.feature_count, True, encoder.id)
        collection = collection_of(info, next_generation(info, live))
        if call.restart:
            self.fillings.forget(collection)
            await self._store.delete(collection)
        started = await self.fillings.find(collection)
        next_index = started.next_index if started else 0
        return Begun(_import_id(collection, info, next_index), next_index, False, encoder.id)

    async def write(self, call: UpsertCall) -> Upserted:
        """Writes features of an import. Raises NotFound where there is no such import any more."""
        collection, info, next_index = _import_of(call.import_id)
        try:
            filling = await self._filling(collection, info, next_index, call)
            created, updated = await self._writer.write(collection, filling.info, call)
            arrived = [upsert.feature.index for upsert in call.upserts]
            return Upserted(created, updated, await self.fillings.note(collection, arrived, created))
        except CollectionMissing:
            self.fillings.forget(collection)
            raise _gone() from None

    async def commit(self, import_id: str) -> Catalog:
        """Shows an import in place of what there was. Raises ImportIncomplete where features are missing.

        A caller that leaves does not end it: building indices may take longer than one call, and the next one waits for
        the same.
        """
        collection, info, _ = _import_of(import_id)
        task = self._committing.get(collection)
        if task is None:
            task = self._committing[collection] = asyncio.create_task(self._commit(collection, info))
            task.add_done_callback(lambda _: self._committing.pop(collection, None))
        return await asyncio.shield(task)

    async def _commit(self, collection: str, info: Info) -> Catalog:
        live = await self._catalogs.find(info.catalog.sae)
        if live is not None and live.collection == collection:
            return live.info.catalog
        try:
            started = await self.fillings.find(collection)
            missing = info.catalog.feature_count - (await self.fillings.stored(collection) if started else 0)
            if missing:
                first = await self.fillings.first_missing(collection) if started else 0
                raise ImportIncomplete(
                    f"{missing} of {info.catalog.feature_count} features are missing, the first of them {first}; "
                    "begin the import again, which goes on from there",
                    field="import_id",
                )
            assert started is not None
            await self._store.optimize(collection)
            shown = await self.show(collection, started.info)
        except CollectionMissing:
            self.fillings.forget(collection)
            raise _gone() from None
        log.info("features shown", extra=structured(sae=shown.sae, features=info.catalog.feature_count))
        return shown.info.catalog

    async def show(self, collection: str, info: Info, instead_of: Live | None = None) -> Live:
        """Lets a collection be the one that is shown, with all that people have changed of it.

        With `instead_of`, its import time is kept; raises CollectionMissing where another one is shown by now.
        """
        sae = info.catalog.sae
        imported = instead_of.info.catalog.imported if instead_of else datetime.now(UTC)
        live = Live(collection, replace(info, catalog=replace(info.catalog, imported=imported)))
        async with self._catalogs.writing(sae):
            if instead_of is not None and await self._catalogs.find(sae) != instead_of:
                raise CollectionMissing(instead_of.collection)
            await self._changes.repair(live)
            await self._store.upsert(collection, [live.info.point()])
            await self._store.switch(alias_of(sae), collection)
            self._catalogs.forget()
            # Another process may have shown a change in the collection that was replaced.
            await self._changes.repair(live)
        self.fillings.forget(collection)
        for other in await self._catalogs.others(sae):
            if self.fillings.is_idle(other):
                await self._store.delete(other)
        return live

    async def tidy(self, live: Live) -> None:
        """Deletes what was replaced before a process was killed that would have deleted it."""
        for other in await self._catalogs.others(live.sae):
            info = await self._catalogs.info(other)
            shown, was = live.info.catalog.imported, info.catalog.imported if info else None
            if shown is not None and was is not None and was <= shown:
                await self._store.delete(other)

    async def delete(self, sae: str) -> None:
        """Removes an SAE's features, and imports of it. Raises NotFound where there are none."""
        async with self._catalogs.writing(sae):
            others = await self._catalogs.others(sae)
            if not others:
                await self._catalogs.get(sae, "sae")
            shown = await self._store.switch(alias_of(sae), None)
            self._catalogs.forget()
            for collection in [*others, *([shown] if shown else [])]:
                self.fillings.forget(collection)
                await self._store.delete(collection)

    async def _filling(self, collection: str, info: Info, next_index: int, call: UpsertCall) -> Filling:
        """The collection of an import, made with its first features."""
        if (known := await self.fillings.find(collection)) is not None:
            return known
        encoder = await self._embedding.encoder()
        if next_index or info.catalog.encoder != encoder.id or info.texts != VERSION:
            raise _gone()  # what it had is no more, or was made by another encoder
        d_model = next((len(u.decoder) for u in call.upserts if u.decoder is not None), 0)
        return await self.fillings.begin(collection, replace(info, d_model=d_model), encoder.width)


def _is_shown(info: Info, live: Live) -> bool:
    """Whether the same content is shown, whatever encoder it was embedded with: that is the catalogue's own affair."""
    catalog = replace(live.info.catalog, encoder=info.catalog.encoder, imported=None)
    return (catalog, live.info.content_digest) == (info.catalog, info.content_digest)


def _import_id(collection: str, info: Info, next_index: int) -> str:
    generation = int(collection.rpartition("--")[2])
    values = [asdict(info.catalog), info.content_digest, info.texts, generation, next_index]
    packed = zlib.compress(json.dumps(values, separators=(",", ":")).encode())
    return base64.urlsafe_b64encode(packed).decode()


def _import_of(import_id: str) -> tuple[str, Info, int]:
    """Collection, Info and next index at the beginning. Raises NotFound where no import has such an id."""
    try:
        packed = base64.urlsafe_b64decode(import_id.encode("ascii"))
        # At most a megabyte of it: what callers send may be anything.
        unpacked = json.loads(zlib.decompressobj().decompress(packed, 1 << 20))
        catalog, content_digest, texts, generation, next_index = unpacked
        edges = tuple(map(float, catalog.pop("histogram_edges")))
        info = Info(Catalog(**catalog, histogram_edges=edges), content_digest, int(texts))
        return collection_of(info, int(generation)), info, int(next_index)
    except (UnicodeEncodeError, binascii.Error, zlib.error, ValueError, TypeError, KeyError, AttributeError):
        raise NotFound("import_id: no import has this id", field="import_id") from None


def _gone() -> NotFound:
    return NotFound("import_id: this import is no more; begin it again", field="import_id")
