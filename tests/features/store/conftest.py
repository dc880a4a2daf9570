from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from services.features.store.base import VectorStore
from services.features.store.edge import EdgeStore


@pytest.fixture(params=["edge"])
async def store(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[VectorStore]:
    """An empty store, of either engine."""
    opened: VectorStore = await EdgeStore.open(tmp_path / "store")
    yield opened
    await opened.close()
