"""Sends the features of an SAE to the catalogue; goes on where a broken-off import stopped."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import dataclass
from typing import TypeVar

from services.cli.clients.imports import Batch, ImportClient, batches
from services.cli.importing.source import FeatureSource
from services.features.feature import Catalog
from services.features.requests import Begun
from services.rpc.channel import RpcFailure

PATIENCE_SECONDS = 60.0
"""How long a catalogue that has begun the import may be away before it is given up."""
_RETRY_SECONDS = 1.0

T = TypeVar("T")
Report = Callable[[int, int], None]
"""Takes how many features are stored, and of how many."""


@dataclass(frozen=True, slots=True)
class Imported:
    """What an import came to."""

    catalog: Catalog
    resumed_at: int
    """The first feature that was sent; above 0 where an earlier import was broken off."""
    was_complete: bool
    """Whether this very content was shown already, and nothing was sent."""
    shipped_vectors: bool
    """Whether texts had vectors of the catalogue's encoder beside the tables."""


async def upload(
    client: ImportClient, source: FeatureSource, report: Report, *, restart: bool = False
) -> Imported:
    """Imports all features of a source, and shows them at the end, at once.

    Raises RpcFailure, TableError, ImportRefused or SaeError. Whoever calls it again after a failure sends only what
    is missing.
    """
    digest = await asyncio.to_thread(lambda: source.content_digest)
    catalog = await asyncio.to_thread(lambda: source.catalog)
    begun = await _told_to_wait(lambda: client.begin(catalog, digest, restart=restart))
    if begun.complete:
        return Imported(catalog, catalog.feature_count, was_complete=True, shipped_vectors=False)
    await asyncio.to_thread(lambda: source.sae)  # read and compared with the tables before anything is sent
    vectors = await asyncio.to_thread(lambda: source.vectors)
    shipped = vectors is not None and vectors.encoder == begun.encoder
    report(begun.next_index, catalog.feature_count)
    parts = batches(source.upserts(begun.next_index), begun, vectors)
    await _send(client, parts, lambda stored: report(stored, catalog.feature_count))
    shown = await _patiently(lambda: client.commit(begun.import_id))
    return Imported(shown, begun.next_index, was_complete=False, shipped_vectors=shipped)


async def _send(client: ImportClient, parts: Iterator[Batch], stored: Callable[[int], None]) -> None:
    """Sends the batches in order; the next one is made while one is on its way."""
    making = asyncio.create_task(asyncio.to_thread(next, parts, None))
    try:
        while (batch := await making) is not None:
            making = asyncio.create_task(asyncio.to_thread(next, parts, None))
            sent = batch
            stored(await _patiently(lambda sent=sent: client.upsert(sent)))  # type: ignore[misc]
    finally:
        making.cancel()


async def _told_to_wait(call: Callable[[], Awaitable[Begun]]) -> Begun:
    """The answer, waited for where the catalogue says for how long."""
    return await _until_available(call, lambda failure: failure.retry_after)


async def _patiently(call: Callable[[], Awaitable[T]]) -> T:
    """The same, where nobody answers too: a catalogue that is started again goes on with the import."""
    return await _until_available(call, lambda failure: failure.retry_after or _RETRY_SECONDS)


async def _until_available(call: Callable[[], Awaitable[T]], wait: Callable[[RpcFailure], float | None]) -> T:
    clock = asyncio.get_running_loop().time
    end = clock() + PATIENCE_SECONDS
    while True:
        try:
            return await call()
        except RpcFailure as failure:
            seconds = wait(failure) if failure.code.name == "UNAVAILABLE" else None
            if seconds is None or clock() + seconds > end:
                raise
            await asyncio.sleep(seconds)
