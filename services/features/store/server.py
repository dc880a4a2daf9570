"""The engine for many processes: a Qdrant server or cluster, over gRPC (qdrant-client)."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Sequence

from qdrant_client import grpc as qdrant

from services.features.store import server_words
from services.features.store.base import (
    EVERY_POINT,
    CollectionMissing,
    CollectionSchema,
    FoundPoint,
    Point,
    PointFilter,
    VectorQuery,
)
from services.features.store.server_connection import Connection, QdrantSettings, missing
from services.rpc.channel import RpcFailure

_LOG = logging.getLogger(__name__)

UPSERT_BYTES = 2 << 20
"""About so much goes into one message; gRPC's default limit, which a proxy may keep to, is twice that."""
UNFINISHED = (qdrant.CollectionStatus.Yellow, qdrant.CollectionStatus.Grey)
"""Statuses of a collection whose indices are not built yet."""


class QdrantStore:
    """A VectorStore on a Qdrant server or cluster.

    Of two processes that write one point at once, the later one wins with all its vectors.
    """

    def __init__(self, settings: QdrantSettings) -> None:
        """Raises StoreUnusable if the URL is none. Connects at the first call."""
        self._server = Connection(settings)
        self._keeping = asyncio.Lock()
        """Held from reading what an upsert keeps until it is written."""

    async def ping(self) -> None:
        """Raises DependencyUnavailable if the server does not answer."""
        await self.aliases()

    async def collections(self) -> list[str]:
        """Names of all collections."""
        answer = await self._server.read(self._server.collections.List, qdrant.ListCollectionsRequest())
        return sorted(each.name for each in answer.collections)

    async def create(self, collection: str, schema: CollectionSchema) -> None:
        """Makes a collection; one that is there stays as it is, and gets the indices that it lacks."""
        if not await self._exists(collection):
            try:
                await self._server.write(
                    self._server.collections.Create, server_words.new_collection(collection, schema)
                )
            except RpcFailure:
                if not await self._exists(collection):  # else another process made it meanwhile
                    raise
        for index in server_words.new_indices(collection, schema):
            with missing(collection):
                await self._server.write(self._server.points.CreateFieldIndex, index)

    async def delete(self, collection: str) -> None:
        """Deletes a collection; nothing happens where there is none."""
        if await self._exists(collection):
            await self._server.write(
                self._server.collections.Delete, qdrant.DeleteCollection(collection_name=collection)
            )

    async def aliases(self) -> dict[str, str]:
        """Collections by alias."""
        answer = await self._server.read(self._server.collections.ListAliases, qdrant.ListAliasesRequest())
        return {each.alias_name: each.collection_name for each in answer.aliases}

    async def switch(self, alias: str, collection: str | None) -> str | None:
        """Lets an alias name another collection (or none), at once; returns the one that it named before."""
        if collection is not None and not await self._exists(collection):
            raise CollectionMissing(collection)
        before = (await self.aliases()).get(alias)
        actions = []
        if before is not None:
            actions.append(qdrant.AliasOperations(delete_alias=qdrant.DeleteAlias(alias_name=alias)))
        if collection is not None:
            named = qdrant.CreateAlias(collection_name=collection, alias_name=alias)
            actions.append(qdrant.AliasOperations(create_alias=named))
        if actions and before != collection:
            await self._server.write(
                self._server.collections.UpdateAliases, qdrant.ChangeAliases(actions=actions)
            )
        return before

    async def upsert(self, collection: str, points: Sequence[Point]) -> None:
        """Writes points, over those that are there; some of them if the server dies meanwhile."""
        with missing(collection):
            info = await self._server.read(
                self._server.collections.Get, qdrant.GetCollectionInfoRequest(collection_name=collection)
            )
            params = info.result.config.params
            every = {*params.vectors_config.params_map.map, *params.sparse_vectors_config.map}
            lacking = [each.id for each in points if every - {*each.dense, *each.sparse}]
            if not lacking:
                await self._upsert(collection, points, {})
                return
            async with self._keeping:
                request = qdrant.GetPoints(
                    collection_name=collection,
                    ids=server_words.ids(lacking),
                    with_payload=server_words.payload_fields(()),
                    with_vectors=qdrant.WithVectorsSelector(enable=True),
                )
                answer = await self._server.read(self._server.points.Get, request)
                kept = {each.id.uuid: server_words.stored_vectors(each) for each in answer.result}
                await self._upsert(collection, points, kept)

    async def _upsert(
        self, collection: str, points: Sequence[Point], kept: dict[str, dict[str, qdrant.Vector]]
    ) -> None:
        def messages() -> list[qdrant.UpsertPoints]:
            encoded = (server_words.point(each, kept.get(each.id, {})) for each in points)
            return [
                qdrant.UpsertPoints(collection_name=collection, wait=True, points=batch)
                for batch in server_words.batches(encoded, UPSERT_BYTES)
            ]

        for message in await asyncio.to_thread(messages):
            await self._server.write(self._server.points.Upsert, message)

    async def get(
        self,
        collection: str,
        ids: Sequence[str],
        fields: tuple[str, ...] | None = None,
        vectors: Sequence[str] = (),
    ) -> dict[str, FoundPoint]:
        """Points by id, those that are there."""
        request = qdrant.GetPoints(
            collection_name=collection,
            ids=server_words.ids(ids),
            with_payload=server_words.payload_fields(fields),
            with_vectors=server_words.vector_names(vectors),
        )
        with missing(collection):
            answer = await self._server.read(self._server.points.Get, request)
        return {each.id: each for each in await asyncio.to_thread(_found, answer.result, vectors)}

    async def scroll(
        self,
        collection: str,
        order_by: str,
        start: int,
        limit: int,
        where: PointFilter = EVERY_POINT,
        fields: tuple[str, ...] | None = None,
        vectors: Sequence[str] = (),
    ) -> list[FoundPoint]:
        """Points in order of an integer field, from a value on."""
        request = qdrant.ScrollPoints(
            collection_name=collection,
            filter=server_words.where(where),
            limit=limit,
            with_payload=server_words.payload_fields(fields),
            with_vectors=server_words.vector_names(vectors),
            order_by=qdrant.OrderBy(key=order_by, start_from=qdrant.StartFrom(integer=start)),
        )
        with missing(collection):
            answer = await self._server.read(self._server.points.Scroll, request)
        return await asyncio.to_thread(_found, answer.result, vectors)

    async def query(self, collection: str, queries: Sequence[VectorQuery]) -> list[list[FoundPoint]]:
        """Several queries in one go; the closest first in each answer."""
        request = qdrant.QueryBatchPoints(
            collection_name=collection,
            query_points=[server_words.query(collection, each) for each in queries],
        )
        if not queries:
            return []
        with missing(collection):
            answer = await self._server.read(self._server.points.QueryBatch, request)
        return await asyncio.to_thread(lambda: [_found(each.result) for each in answer.result])

    async def count(self, collection: str, where: PointFilter = EVERY_POINT) -> int:
        """How many points there are."""
        request = qdrant.CountPoints(collection_name=collection, filter=server_words.where(where), exact=True)
        with missing(collection):
            answer = await self._server.read(self._server.points.Count, request)
        return int(answer.result.count)

    async def optimize(self, collection: str) -> None:
        """Waits until the server has built its indices, which it does by itself; before, searches are slower."""
        request = qdrant.GetCollectionInfoRequest(collection_name=collection)
        deadline = asyncio.get_running_loop().time() + self._server.settings.optimize_timeout
        with missing(collection):
            while (
                await self._server.read(self._server.collections.Get, request)
            ).result.status in UNFINISHED:
                if asyncio.get_running_loop().time() > deadline:
                    _LOG.warning(
                        "Qdrant still builds the indices of %s; searches are slower until then", collection
                    )
                    return
                await asyncio.sleep(0.5)

    async def close(self) -> None:
        """Closes the connections."""
        await self._server.close()

    async def _exists(self, collection: str) -> bool:
        request = qdrant.CollectionExistsRequest(collection_name=collection)
        answer = await self._server.read(self._server.collections.CollectionExists, request)
        return bool(answer.result.exists)


def _found(
    points: Sequence[qdrant.RetrievedPoint | qdrant.ScoredPoint], vectors: Sequence[str] = ()
) -> list[FoundPoint]:
    return [server_words.found(each, vectors) for each in points]
