"""The engine on a server: its failures, over a real connection to a stand-in (qdrant_test_server.py)."""

from __future__ import annotations

import asyncio
import dataclasses
from collections.abc import AsyncIterator
from pathlib import Path

import grpc
import pytest

from services.errors import DependencyUnavailable
from services.features.store.base import Point, StoreUnusable
from services.features.store.server import UPSERT_BYTES, QdrantStore
from services.features.store.server_connection import QdrantSettings
from tests.features.store.points import SCHEMA, point, point_id
from tests.features.store.processes import number, python
from tests.features.store.qdrant_test_server import QdrantTestServer


@pytest.fixture
async def hasty(server: QdrantTestServer) -> AsyncIterator[QdrantStore]:
    """An engine that waits a tenth of a second."""
    opened = QdrantStore(QdrantSettings(server.url, timeout=0.1, write_timeout=0.1, optimize_timeout=0))
    yield opened
    await opened.close()


async def until_it_answers(store: QdrantStore) -> None:
    """Tries again as a caller does, only sooner."""
    async with asyncio.timeout(30):
        while True:
            try:
                return await store.ping()
            except DependencyUnavailable:
                await asyncio.sleep(0.05)


async def test_a_server_that_is_gone_is_told_at_once_and_found_again_when_it_is_back(
    server: QdrantTestServer, remote: QdrantStore
) -> None:
    await remote.create("features", SCHEMA)
    await remote.upsert("features", [point(1)])
    await server.stop()
    for call in (remote.ping(), remote.count("features"), remote.upsert("features", [point(2)])):
        with pytest.raises(DependencyUnavailable) as gone:
            await asyncio.wait_for(call, 5)
        assert gone.value.retry_after is not None
    await server.start()
    await until_it_answers(remote)
    await remote.upsert("features", [point(2)])
    assert await remote.count("features") == 2


async def test_a_server_that_is_not_there_yet_is_found_when_it_comes(server: QdrantTestServer) -> None:
    await server.stop()
    store = QdrantStore(QdrantSettings(server.url))
    with pytest.raises(DependencyUnavailable):
        await store.ping()
    await server.start()
    await until_it_answers(store)
    await store.close()


async def test_a_slow_server_is_given_up_at_the_deadline_and_used_again_when_it_is_quick(
    server: QdrantTestServer, hasty: QdrantStore
) -> None:
    server.faults.hold = asyncio.Event()
    for call in (hasty.ping(), hasty.get("features", [point_id(1)]), hasty.create("features", SCHEMA)):
        with pytest.raises(DependencyUnavailable, match="DEADLINE_EXCEEDED"):
            await asyncio.wait_for(call, 5)
    server.faults.hold.set()
    server.faults.hold = None
    await until_it_answers(hasty)


@pytest.mark.parametrize("status", ["UNAVAILABLE", "INTERNAL", "ABORTED", "UNAUTHENTICATED", "UNKNOWN"])
async def test_whatever_the_server_cannot_do_now_is_told_with_a_hint_when_to_try_again(
    server: QdrantTestServer, remote: QdrantStore, status: str
) -> None:
    server.faults.status = grpc.StatusCode[status]
    with pytest.raises(DependencyUnavailable, match=status) as refused:
        await remote.ping()
    assert refused.value.retry_after is not None


async def test_a_server_that_limits_its_calls_says_when_to_try_again(
    server: QdrantTestServer, remote: QdrantStore
) -> None:
    server.faults.status = grpc.StatusCode.RESOURCE_EXHAUSTED
    server.faults.retry_after = 7
    with pytest.raises(DependencyUnavailable) as refused:
        await remote.ping()
    assert refused.value.retry_after == 7


async def test_a_server_that_dies_in_the_middle_of_an_upsert_leaves_it_to_be_repeated(tmp_path: Path) -> None:
    points = [dataclasses.replace(point(i), payload={"index": i, "text": "x" * 100_000}) for i in range(100)]
    async with python("qdrant_test_server", tmp_path, 0, 3) as dying:
        port = await number(dying)
        store = QdrantStore(QdrantSettings(f"http://127.0.0.1:{port}"))
        await until_it_answers(store)
        await store.create("features", SCHEMA)
        with pytest.raises(DependencyUnavailable):
            await store.upsert("features", points)
        assert await dying.wait() == -9
    restarted = QdrantTestServer(str(tmp_path))
    await restarted.start(port)
    await until_it_answers(store)
    assert 0 < await store.count("features") < len(points)
    await store.upsert("features", points)
    assert await store.count("features") == len(points)
    await store.close()
    await restarted.stop()


async def test_points_go_in_messages_that_every_server_takes(
    server: QdrantTestServer, remote: QdrantStore
) -> None:
    await remote.create("features", SCHEMA)
    text = "x" * (UPSERT_BYTES // 4)
    await remote.upsert("features", [Point(point_id(i), {"index": i, "text": text}) for i in range(10)])
    assert server.points.upserts == 4
    assert await remote.count("features") == 10


async def test_the_key_goes_with_every_call_and_into_no_text(server: QdrantTestServer) -> None:
    settings = QdrantSettings(server.url, "a secret")
    with pytest.warns(UserWarning, match="insecure"):
        store = QdrantStore(settings)
    await store.ping()
    assert server.faults.metadata["api-key"] == "a secret"
    assert "secret" not in repr(settings)
    await store.close()


async def test_a_collection_that_was_left_without_its_indices_gets_them(
    server: QdrantTestServer, remote: QdrantStore
) -> None:
    await remote.create("features", SCHEMA)
    complete = server.points.indexed
    assert sorted(complete) == ["class", "density", "index", "labelled", "layer"]
    server.points.indexed = []
    await remote.create("features", SCHEMA)
    assert server.points.indexed == complete


async def test_optimizing_waits_until_the_server_has_built_its_indices(
    server: QdrantTestServer, remote: QdrantStore
) -> None:
    await remote.create("features", SCHEMA)
    server.collections.unfinished = 1
    await remote.optimize("features")
    assert server.collections.unfinished == 0


async def test_optimizing_gives_up_in_time(
    server: QdrantTestServer, hasty: QdrantStore, caplog: pytest.LogCaptureFixture
) -> None:
    await hasty.create("features", SCHEMA)
    server.collections.unfinished = 1_000_000
    await hasty.optimize("features")
    assert "still builds" in caplog.text


@pytest.mark.parametrize(
    "url", ["qdrant:6334", "ftp://qdrant", "http://", "http://qdrant:port", "http://[::1"]
)
def test_what_is_no_url_is_refused(url: str) -> None:
    with pytest.raises(StoreUnusable, match="is no URL"):
        QdrantStore(QdrantSettings(url))
