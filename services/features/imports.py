"""Imports: the features of an SAE are filled into a collection that nobody sees, and shown all at once.

An import's name says all of it (SAE, content, encoder), so that it can go on in any process, after any restart; nothing
is kept of it but the collection, which begins with the first features that arrive.
"""

from __future__ import annotations

import base64
import binascii
import json
import logging
import time
import zlib
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime

from services.errors import ImportIncomplete, NotFound
from services.features.catalogs import Catalogs, Info, Live, alias_of, collection_of, next_generation
from services.features.changes import Changes
from services.features.decoders import stored_width
from services.features.embedding import Embedding
from services.features.feature import Catalog
from services.features.payload import INDEX, schema
from services.features.requests import BeginCall, Begun, UpsertCall, Upserted
from services.features.store.base import CollectionMissing, PointFilter, VectorStore
from services.features.texts import VERSION
from services.features.writing import Writer
from services.rpc.logs import structured

log = logging.getLogger("hearth.features")

IDLE_SECONDS = 900.0
"""An import that has had no call for this long may be thrown away when another one of its SAE is shown."""


@dataclass(slots=True)
class _Filling:
    """A collection that is being filled, as this process knows it."""

    info: Info
    next_index: int
    stored: int
    """Features in the collection; more than next_index where they came out of order."""
    used: float
    """When it last had a call, by the monotonic clock."""


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
        self._filling: dict[str, _Filling] = {}

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
            self._filling.pop(collection, None)
            await self._store.delete(collection)
        started = await self._catalogs.info(collection)
        next_index = 0 if started is None else (await self._known(collection, started)).next_index
        return Begun(_import_id(collection, info, next_index), next_index, False, encoder.id)

    async def write(self, call: UpsertCall) -> Upserted:
        """Writes features of an import. Raises NotFound where there is no such import any more."""
        collection, info, next_index = _import_of(call.import_id)
        filling = await self._filled(collection, info, next_index, call)
        filling.used = time.monotonic()
        try:
            created, updated = await self._writer.write(collection, filling.info, call)
        except CollectionMissing:
            self._filling.pop(collection, None)
            raise _gone() from None
        filling.stored += created
        arrived = {upsert.feature.index for upsert in call.upserts}
        while filling.next_index in arrived:
            filling.next_index += 1
        if filling.stored > filling.next_index:
            found = await self._contiguous(collection, filling.next_index, filling.stored)
            filling.next_index = max(found, filling.next_index)
        return Upserted(created, updated, filling.next_index)

    async def commit(self, import_id: str) -> Catalog:
        """Shows an import in place of what there was. Raises ImportIncomplete where features are missing."""
        collection, info, _ = _import_of(import_id)
        live = await self._catalogs.find(info.catalog.sae)
        if live is not None and live.collection == collection:
            return live.info.catalog
        started = await self._catalogs.info(collection)
        if started is None:
            raise _gone()
        if (stored := await self._stored(collection)) < info.catalog.feature_count:
            first = await self._contiguous(collection, 0, stored)
            raise ImportIncomplete(
                f"{info.catalog.feature_count - stored} of {info.catalog.feature_count} features are missing, "
                f"the first of them {first}; go on from there",
                field="import_id",
            )
        try:
            await self._store.optimize(collection)
            shown = await self.show(collection, started)
        except CollectionMissing:
            raise _gone() from None
        self._filling.pop(collection, None)
        log.info("features shown", extra=structured(sae=info.catalog.sae, features=stored))
        return shown.info.catalog

    async def show(self, collection: str, info: Info, instead_of: Live | None = None) -> Live:
        """Lets a collection be the one that is shown, with all that people have changed of it.

        With `instead_of`, raises CollectionMissing where another one is shown by now.
        """
        sae = info.catalog.sae
        shown = replace(info, catalog=replace(info.catalog, imported=datetime.now(UTC)))
        live = Live(collection, shown)
        async with self._catalogs.writing(sae):
            if instead_of is not None and await self._catalogs.find(sae) != instead_of:
                raise CollectionMissing(instead_of.collection)
            await self._changes.repair(live)
            await self._store.upsert(collection, [shown.point()])
            await self._store.switch(alias_of(sae), collection)
            self._catalogs.forget()
            # Another process may have shown a change in the collection that was replaced.
            await self._changes.repair(live)
        for other in await self._catalogs.others(sae):
            filling = self._filling.get(other)
            if filling is None or time.monotonic() - filling.used > IDLE_SECONDS:
                await self._store.delete(other)
        return live

    async def delete(self, sae: str) -> None:
        """Removes an SAE's features, and imports of it. Raises NotFound where there are none."""
        async with self._catalogs.writing(sae):
            others = await self._catalogs.others(sae)
            if await self._catalogs.find(sae) is None and not others:
                await self._catalogs.get(sae, "sae")
            shown = await self._store.switch(alias_of(sae), None)
            self._catalogs.forget()
            for collection in [*others, *([shown] if shown else [])]:
                self._filling.pop(collection, None)
                await self._store.delete(collection)

    async def _filled(self, collection: str, info: Info, next_index: int, call: UpsertCall) -> _Filling:
        """The collection of an import, made with its first features."""
        if collection in self._filling:
            return self._filling[collection]
        started = await self._catalogs.info(collection)
        if started is None:
            if next_index or info.catalog.encoder != (await self._embedding.encoder()).id:
                raise _gone()  # what it had is no more, or was made by another encoder
            started = await self._create(collection, info, call)
        return await self._known(collection, started)

    async def _create(self, collection: str, info: Info, call: UpsertCall) -> Info:
        d_model = next((len(u.decoder) for u in call.upserts if u.decoder is not None), 0)
        started = replace(info, d_model=d_model)
        width = (await self._embedding.encoder()).width
        await self._store.create(collection, schema(width, stored_width(d_model)))
        await self._store.upsert(collection, [started.point()])
        return started

    async def _known(self, collection: str, info: Info) -> _Filling:
        if collection not in self._filling:
            stored = await self._stored(collection)
            next_index = await self._contiguous(collection, 0, stored)
            filling = _Filling(info, next_index, stored, time.monotonic())
            self._filling.setdefault(collection, filling)
        return self._filling[collection]

    async def _stored(self, collection: str) -> int:
        return await self._store.count(collection, PointFilter(at_least={INDEX: 0}))

    async def _contiguous(self, collection: str, low: int, stored: int) -> int:
        """How many features there are without a gap, from the first on; at least `low`, at most `stored`."""
        high = stored
        while low < high:
            middle = (low + high + 1) // 2
            below = PointFilter(at_least={INDEX: 0}, at_most={INDEX: middle - 1})
            if await self._store.count(collection, below) == middle:
                low = middle
            else:
                high = middle - 1
        return low


def _is_shown(info: Info, live: Live) -> bool:
    """Whether the same content is shown, whatever encoder it was embedded with: that is the catalogue's own affair."""
    catalog = replace(live.info.catalog, encoder=info.catalog.encoder, imported=None)
    return (catalog, live.info.content_digest) == (info.catalog, info.content_digest)


def _import_id(collection: str, info: Info, next_index: int) -> str:
    generation = collection.rpartition("--")[2]
    values = [
        asdict(info.catalog) | {"imported": None},
        info.content_digest,
        info.texts,
        generation,
        next_index,
    ]
    packed = zlib.compress(json.dumps(values, separators=(",", ":")).encode())
    return base64.urlsafe_b64encode(packed).decode()


def _import_of(import_id: str) -> tuple[str, Info, int]:
    """Collection, Info and next index at the beginning. Raises NotFound where an import has no such id."""
    try:
        packed = base64.urlsafe_b64decode(import_id.encode("ascii"))
        catalog, content_digest, texts, generation, next_index = json.loads(_inflated(packed))
        edges = tuple(catalog.pop("histogram_edges"))
        info = Info(Catalog(**catalog, histogram_edges=edges), content_digest, texts)
        return collection_of(info, int(generation)), info, int(next_index)
    except (UnicodeEncodeError, binascii.Error, zlib.error, ValueError, TypeError, KeyError, AttributeError):
        raise NotFound("import_id: no import has this id", field="import_id") from None


def _inflated(packed: bytes) -> bytes:
    """At most a megabyte of it: what callers send may be anything."""
    return zlib.decompressobj().decompress(packed, 1 << 20)


def _gone() -> NotFound:
    return NotFound("import_id: this import is no more; begin it again", field="import_id")
