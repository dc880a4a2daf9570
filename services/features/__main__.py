"""The features process: `python -m services.features`, configured by HEARTH_FEATURES_* (see settings.py)."""

from __future__ import annotations

import asyncio
import logging
import sys
from contextlib import AsyncExitStack

from hearth.v1 import feature_service_pb2, variant_service_pb2
from hearth.v1.feature_service_pb2_grpc import add_FeatureServiceServicer_to_server
from hearth.v1.variant_service_pb2_grpc import add_VariantServiceServicer_to_server
from services.database.database import Database
from services.database.settings import DatabaseSettings, UnusableDatabase
from services.features.catalogue import Catalogue
from services.features.database.schema import MIGRATIONS
from services.features.embedding import Embedding
from services.features.embedding_cache import EmbeddingCache
from services.features.encoders import minilm_loader
from services.features.metrics import catalogue_behind, measured
from services.features.revisions import Revisions
from services.features.servicer import FeatureServicer
from services.features.settings import FeaturesSettings
from services.features.store.base import StoreUnusable, VectorStore
from services.features.store.open import open_store
from services.features.store.server_connection import QdrantSettings
from services.features.variants import Variants
from services.features.variants_servicer import VariantsServicer
from services.keys.opening import opened
from services.rpc import telemetry
from services.rpc.access import Authenticator
from services.rpc.calls import Deadlines
from services.rpc.logs import configure
from services.rpc.server import RunningServer, ServerSettings, serve
from services.rpc.watch import Watch

FEATURES = feature_service_pb2.DESCRIPTOR.services_by_name["FeatureService"].full_name
VARIANTS = variant_service_pb2.DESCRIPTOR.services_by_name["VariantService"].full_name


async def main(settings: FeaturesSettings) -> int:
    """Listens, NOT_SERVING until store, database and encoder are there; returns when it has drained."""
    try:
        async with AsyncExitStack() as stack:
            return await _run(settings, stack)
    except (StoreUnusable, UnusableDatabase, OSError) as problem:
        logging.getLogger(__name__).error("cannot serve: %s", problem)
        return 1


async def _run(settings: FeaturesSettings, stack: AsyncExitStack) -> int:
    store = measured(await _open_store(settings))
    stack.push_async_callback(store.close)
    database = Database(DatabaseSettings(settings.sql))
    stack.push_async_callback(database.close)
    embedding = Embedding(minilm_loader(settings.encoder, settings.threads), EmbeddingCache(database))
    stack.push_async_callback(embedding.close)
    embedding.start()
    catalogue = Catalogue(store, Revisions(database), embedding)
    authenticator = await stack.enter_async_context(opened(settings.access))
    variants = VariantsServicer(Variants(database))
    server = await _serve(settings, FeatureServicer(catalogue), variants, authenticator)

    rebuilds: set[asyncio.Task[None]] = set()

    async def prepare() -> None:
        await database.upgrade(MIGRATIONS)
        await embedding.tried()
        await catalogue.catch_up()
        if not rebuilds:
            rebuilds.add(asyncio.create_task(catalogue.migration.run()))
            for task in rebuilds:
                task.add_done_callback(_tell_failure)

    async def report(serving: bool) -> None:
        for name in ("", FEATURES, VARIANTS):
            await server.set_serving(name, serving)

    pings = {"vector_store": store.ping, "database": database.ping}
    watch = Watch(pings, prepare, lambda: catalogue.changes.behind, report, settings.watch_seconds)
    catalogue_behind(lambda: catalogue.changes.behind)
    watching = asyncio.create_task(watch.run())
    stopped = asyncio.create_task(server.stopped())
    await asyncio.wait({watching, stopped}, return_when=asyncio.FIRST_COMPLETED)
    if not stopped.done():
        await server.drain()
        await watching  # raises what ended it
    for task in (watching, *rebuilds):
        task.cancel()
    return 0


def _tell_failure(task: asyncio.Task[None]) -> None:
    """Logs what ended a rebuild early: nobody waits for one."""
    if not task.cancelled() and (error := task.exception()):
        logging.getLogger(__name__).error("a rebuild failed", exc_info=error)


async def _open_store(settings: FeaturesSettings) -> VectorStore:
    key = settings.qdrant_api_key.get_secret_value()
    server = QdrantSettings(settings.qdrant_url, key) if settings.qdrant_url else None
    return await open_store(settings.data_dir / "vectors", server)


async def _serve(
    settings: FeaturesSettings,
    features: FeatureServicer,
    variants: VariantsServicer,
    authenticator: Authenticator | None,
) -> RunningServer:
    return await serve(
        {
            FEATURES: lambda s: add_FeatureServiceServicer_to_server(features, s),
            VARIANTS: lambda s: add_VariantServiceServicer_to_server(variants, s),
        },
        ServerSettings(
            host=settings.host,
            port=settings.port,
            drain_seconds=settings.drain_seconds,
            deadlines=Deadlines(settings.max_call_seconds),
            tls=settings.tls,
        ),
        serving=False,
        authenticator=authenticator,
    )


if __name__ == "__main__":
    chosen = FeaturesSettings()
    configure(chosen.log_level)
    telemetry.start("features")
    sys.exit(asyncio.run(main(chosen)))
