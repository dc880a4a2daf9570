"""The embedded engine: Qdrant in this process, on disk (qdrant-edge-py)."""

from __future__ import annotations

import asyncio
import os
import shutil
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TypeVar

from qdrant_edge import CountRequest, OrderBy, ScrollRequest

from services.errors import DependencyUnavailable
from services.features.store import edge_query, edge_words
from services.features.store.base import (
    EVERY_POINT,
    CollectionSchema,
    FoundPoint,
    Point,
    PointFilter,
    VectorQuery,
)
from services.features.store.edge_folder import EdgeFolder
from services.features.store.edge_shard import Shard

T = TypeVar("T")

WRITERS = 2
"""Threads that write, so that optimizing one collection, which takes minutes, lets another be written."""
POINTS_AT_ONCE = 64
"""Points in one record of the log. qdrant_edge holds Python's global lock in every call, here for 16 ms."""
GOT_AT_ONCE = 64
"""Points, at most, that are read without a thread, which would cost more than the reading: 0.1 ms for one, and as the
global lock is held, the event loop waits anyway."""
LEAST_FREE_BYTES = 256 << 20
"""Writing is refused when the disk has less: Qdrant maps its files, and a process that writes to a mapped file on a
full disk is killed."""


class EdgeStore:
    """A VectorStore in a folder, which this process uses alone.

    An upsert is in the write-ahead log when it returns: it survives the death of the process.
    """

    def __init__(self, folder: EdgeFolder, threads: int) -> None:
        self._folder = folder
        self._readers = ThreadPoolExecutor(threads, "store-read")
        self._writers = ThreadPoolExecutor(WRITERS, "store-write")

    @classmethod
    async def open(cls, path: Path, threads: int | None = None) -> EdgeStore:
        """Opens the folder, or makes it. Raises StoreUnusable.

        Reads, and building indices, use so many threads; None takes one for each core.
        """
        threads = threads or len(os.sched_getaffinity(0))
        return cls(await asyncio.to_thread(EdgeFolder, path, threads), threads)

    async def ping(self) -> None:
        """Raises DependencyUnavailable if the disk is full."""
        await self._read(self._require_space)

    async def collections(self) -> list[str]:
        """Names of all collections."""
        return self._folder.names()

    async def create(self, collection: str, schema: CollectionSchema) -> None:
        """Makes a collection; one that is there stays as it is."""
        await self._write(self._require_space)
        await self._write(self._folder.create, collection, schema)

    async def delete(self, collection: str) -> None:
        """Deletes a collection; nothing happens where there is none."""
        await self._write(self._folder.delete, collection)

    async def aliases(self) -> dict[str, str]:
        """Collections by alias."""
        return self._folder.aliases()

    async def switch(self, alias: str, collection: str | None) -> str | None:
        """Lets an alias name another collection (or none), at once; returns the one that it named before."""
        return await self._write(self._folder.switch, alias, collection)

    async def upsert(self, collection: str, points: Sequence[Point]) -> None:
        """Writes points, over those that are there."""
        await self._write(self._require_space)
        for start in range(0, len(points), POINTS_AT_ONCE):
            await self._write(self._upsert, collection, points[start : start + POINTS_AT_ONCE])

    async def get(
        self,
        collection: str,
        ids: Sequence[str],
        fields: tuple[str, ...] | None = None,
        vectors: Sequence[str] = (),
    ) -> dict[str, FoundPoint]:
        """Points by id, those that are there."""
        if len(ids) <= GOT_AT_ONCE:
            return self._get(collection, ids, fields, vectors)
        return await self._read(self._get, collection, ids, fields, vectors)

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
        request = ScrollRequest(
            limit=limit,
            filter=edge_words.where(where),
            with_payload=edge_words.payload_fields(fields),
            with_vector=list(vectors) or False,
            order_by=OrderBy(order_by, start_from=start),
        )
        return await self._read(self._scroll, collection, request, vectors)

    async def query(self, collection: str, queries: Sequence[VectorQuery]) -> list[list[FoundPoint]]:
        """Several queries in one go; the closest first in each answer."""
        return await self._read(self._query, collection, queries)

    async def count(self, collection: str, where: PointFilter = EVERY_POINT) -> int:
        """How many points there are."""
        return await self._read(self._count, collection, where)

    async def optimize(self, collection: str) -> None:
        """Builds the indices of a collection, which other calls find unavailable meanwhile if it is large."""
        await self._write(self._optimize, collection)

    async def close(self) -> None:
        """Waits for what runs, writes everything out and lets go of the folder."""
        await asyncio.to_thread(self._close)

    def _close(self) -> None:
        self._folder.interrupt()
        self._readers.shutdown()
        self._writers.shutdown()
        self._folder.close()

    async def _read(self, work: Callable[..., T], *arguments: object) -> T:
        return await asyncio.get_running_loop().run_in_executor(self._readers, work, *arguments)

    async def _write(self, work: Callable[..., T], *arguments: object) -> T:
        return await asyncio.get_running_loop().run_in_executor(self._writers, work, *arguments)

    def _require_space(self) -> None:
        free = shutil.disk_usage(self._folder.path).free
        if free < LEAST_FREE_BYTES:
            raise DependencyUnavailable("the vector store", f"its disk has only {free >> 20} MB left")

    def _use(self, collection: str, work: Callable[[Shard], T]) -> T:
        """Works on a collection; says so if it was deleted, or taken away to be optimized, meanwhile."""
        shard = self._folder.shard(collection)
        try:
            return work(shard)
        except Exception:  # qdrant_edge raises nothing more exact
            _ = shard.edge
            raise

    def _upsert(self, collection: str, points: Sequence[Point]) -> None:
        self._use(collection, lambda shard: shard.upsert(points))

    def _get(
        self, collection: str, ids: Sequence[str], fields: tuple[str, ...] | None, vectors: Sequence[str]
    ) -> dict[str, FoundPoint]:
        def work(shard: Shard) -> dict[str, FoundPoint]:
            records = shard.edge.retrieve(
                [*ids], with_payload=edge_words.payload_fields(fields), with_vector=list(vectors) or False
            )
            found = [edge_words.read(record, vectors) for record in records]
            return {point.id: point for point in found}

        return self._use(collection, work)

    def _scroll(self, collection: str, request: ScrollRequest, vectors: Sequence[str]) -> list[FoundPoint]:
        def work(shard: Shard) -> list[FoundPoint]:
            return [edge_words.read(record, vectors) for record in shard.edge.scroll(request)[0]]

        return self._use(collection, work)

    def _query(self, collection: str, queries: Sequence[VectorQuery]) -> list[list[FoundPoint]]:
        return self._use(collection, lambda shard: edge_query.run(shard.edge, queries))

    def _count(self, collection: str, where: PointFilter) -> int:
        return self._use(
            collection, lambda shard: shard.edge.count(CountRequest(filter=edge_words.where(where)))
        )

    def _optimize(self, collection: str) -> None:
        self._use(collection, lambda shard: shard.optimize())
