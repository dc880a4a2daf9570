from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from services.features.store.base import VectorStore
from services.features.store.edge import EdgeStore
from services.features.store.server import QdrantStore
from services.features.store.server_connection import QdrantSettings
from tests.features.store.points import COUNT, SCHEMA, point
from tests.features.store.qdrant_test_server import QdrantTestServer


@pytest.fixture
async def server() -> AsyncIterator[QdrantTestServer]:
    """In place of a Qdrant server."""
    running = QdrantTestServer()
    await running.start()
    yield running
    await running.stop()


@pytest.fixture
async def edge(tmp_path: Path) -> AsyncIterator[EdgeStore]:
    """The embedded engine, empty."""
    opened = await EdgeStore.open(tmp_path / "store")
    yield opened
    await opened.close()


@pytest.fixture
async def remote(server: QdrantTestServer) -> AsyncIterator[QdrantStore]:
    """The engine on a server, empty."""
    opened = QdrantStore(QdrantSettings(server.url))
    yield opened
    await opened.close()


@pytest.fixture(params=["edge", "remote"])
def store(request: pytest.FixtureRequest) -> VectorStore:
    """An empty store, of either engine."""
    opened: VectorStore = request.getfixturevalue(request.param)
    return opened


@pytest.fixture
async def filled(store: VectorStore) -> VectorStore:
    """A store of either engine with a collection of COUNT points."""
    await store.create("features", SCHEMA)
    await store.upsert("features", [point(index) for index in range(COUNT)])
    return store
