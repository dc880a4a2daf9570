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
from services.features.revisions import Revisions
from services.features.store.edge import EdgeStore
from tests.features.made_features import WordEncoder


@dataclass(frozen=True, slots=True)
class Opened:
    """A catalogue and what it stands on."""

    catalogue: Catalogue
    store: EdgeStore
    database: Database
    embedding: Embedding
    revisions: Revisions


@asynccontextmanager
async def opened_in(folder: Path, load: LoadEncoder) -> AsyncIterator[Opened]:
    """A catalogue in a folder, as a process has it that starts; closed in the end."""
    async with AsyncExitStack() as stack:
        store = await EdgeStore.open(folder / "vectors")
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
