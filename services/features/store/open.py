"""Opens the vector store that the settings choose."""

from __future__ import annotations

from pathlib import Path

from services.features.store.base import VectorStore
from services.features.store.edge import EdgeStore
from services.features.store.server import QdrantStore
from services.features.store.server_connection import QdrantSettings


async def open_store(folder: Path, server: QdrantSettings | None = None) -> VectorStore:
    """Qdrant in this process, with its files in `folder`; or the server, if one is given.

    Raises StoreUnusable. A server need not be up yet: calls raise DependencyUnavailable until it is.
    """
    return QdrantStore(server) if server else await EdgeStore.open(folder)
