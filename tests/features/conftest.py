"""A catalogue on the embedded engine and SQLite, in a temporary folder, with an encoder made for the tests."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

from services.database.database import Database
from services.database.settings import DatabaseSettings
from services.features.catalogue import Catalogue
from services.features.database.schema import MIGRATIONS
from services.features.embedding import Embedding
from services.features.embedding_cache import EmbeddingCache
from services.features.encoders import LoadEncoder
from services.features.metrics import measured
from services.features.revisions import Revisions
from services.features.store.base import VectorStore
from services.features.store.open import open_store
from services.features.store.server_connection import QdrantSettings
from tests.features.made_features import WordEncoder


@dataclass(frozen=True, slots=True)
class Opened:
    """A catalogue and what it stands on."""

    catalogue: Catalogue
    store: VectorStore
    database: Database
    embedding: Embedding
    revisions: Revisions


@asynccontextmanager
async def opened_in(
    folder: Path, load: LoadEncoder, server: QdrantSettings | None = None
) -> AsyncIterator[Opened]:
    """A catalogue in a folder, its vectors on a server if one is given, as a process has it that starts."""
    async with AsyncExitStack() as stack:
        store = measured(await open_store(folder / "vectors", server))
        stack.push_async_callback(store.close)
        database = Database(DatabaseSettings(f"sqlite:///{folder / 'features.db'}"))
        stack.push_async_callback(database.close)
        await database.upgrade(MIGRATIONS)
        embedding = Embedding(load, EmbeddingCache(database))
        stack.push_async_callback(embedding.close)
        embedding.start()
        revisions = Revisions(database)
        catalogue = Catalogue(store, revisions, embedding)
        yield Opened(catalogue, store, database, embedding, revisions)


@pytest.fixture
def encoder() -> WordEncoder:
    """The encoder of the catalogue under test."""
    return WordEncoder()


@pytest.fixture
async def opened(tmp_path: Path, encoder: WordEncoder) -> AsyncIterator[Opened]:
    """An empty catalogue and what it stands on."""
    async with opened_in(tmp_path, encoder.load) as made:
        yield made


@pytest.fixture
def catalogue(opened: Opened) -> Catalogue:
    """An empty catalogue."""
    return opened.catalogue
