"""The catalogue on a Qdrant server (a stand-in, see store/qdrant_test_server.py), which several processes share."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from dataclasses import replace
from pathlib import Path

import pytest

from services.errors import DependencyUnavailable, EtagMismatch
from services.features import catalogs
from services.features.feature import Feature, FeatureFilter, Relation, SearchMode
from services.features.requests import ListCall, NeighborsCall, RerankCall
from services.features.store.server_connection import QdrantSettings
from tests.features.conftest import Opened, opened_in
from tests.features.made_features import SAE, WordEncoder, asked, feature, import_features, names, shown
from tests.features.store.qdrant_test_server import QdrantTestServer
from tests.features.test_changes import update

FEATURES = [feature(index) for index in range(24)]


@pytest.fixture
async def server() -> AsyncIterator[QdrantTestServer]:
    running = QdrantTestServer()
    await running.start()
    yield running
    await running.stop()


@pytest.fixture
async def pair(server: QdrantTestServer, tmp_path: Path) -> AsyncIterator[tuple[Opened, Opened]]:
    """Two processes' catalogues, on one server and one database, with FEATURES in them."""
    async with AsyncExitStack() as stack:
        first, second = [
            await stack.enter_async_context(
                opened_in(tmp_path, WordEncoder().load, QdrantSettings(server.url))
            )
            for _ in range(2)
        ]
        await import_features(first.catalogue, FEATURES)
        yield first, second


async def test_it_answers_as_the_embedded_engine_does(pair: tuple[Opened, Opened], tmp_path: Path) -> None:
    remote = pair[0].catalogue
    async with opened_in(tmp_path / "embedded", WordEncoder().load) as opened:
        local = opened.catalogue
        await import_features(local, FEATURES)
        for mode in SearchMode:
            call = asked("the judge and the sailors", mode, top_k=8)
            here, there = await local.search(call), await remote.search(call)
            assert [hit.feature.index for hit in here[:2]] == [hit.feature.index for hit in there[:2]]
            assert [hit.score for hit in here] == pytest.approx([hit.score for hit in there], rel=0.02)
        page = ListCall(SAE, 10, "", FeatureFilter(min_steerability=0.25), False)
        for catalogue in (local, remote):
            features, _ = await catalogue.page(page)
            assert [each.index for each in features] == [i for i in range(24) if i % 4 >= 2][:10]
        rerank = RerankCall("baking bread", names(3, 1, 9), 10, SearchMode.LABEL)
        neighbors = NeighborsCall(names(2, 10), Relation.DECODER, 5, FeatureFilter())
        for ask in ("rerank", "neighbors"):
            call_of = rerank if ask == "rerank" else neighbors
            here, there = await getattr(local, ask)(call_of), await getattr(remote, ask)(call_of)
            assert [hit.feature.index for hit in here] == [hit.feature.index for hit in there]
            assert [hit.score for hit in here] == pytest.approx([hit.score for hit in there], abs=1e-3)
        assert replace(await shown(local, 5), updated=None) == replace(await shown(remote, 5), updated=None)


async def test_of_writers_in_two_processes_with_one_etag_exactly_one_wins(
    pair: tuple[Opened, Opened],
) -> None:
    for turn in range(4):
        etag = (await shown(pair[0].catalogue, 3)).etag
        calls = [
            each.catalogue.update(update(label=f"{turn} {number}", etag=etag))
            for number, each in enumerate(pair)
        ]
        done = await asyncio.gather(*calls, return_exceptions=True)
        (won,) = [each for each in done if isinstance(each, Feature)]
        assert isinstance(done[1 - done.index(won)], EtagMismatch)
        for each in pair:
            assert await shown(each.catalogue, 3) == won


async def test_an_import_by_one_process_is_seen_by_the_other(
    pair: tuple[Opened, Opened], monkeypatch: pytest.MonkeyPatch
) -> None:
    first, second = (each.catalogue for each in pair)
    assert (await shown(second, 3)).description == FEATURES[3].description
    newer = [replace(each, description="newer") for each in FEATURES]
    await import_features(first, newer, "newer")
    # The collection that the other one knows is gone; it finds the new one within the call.
    assert (await shown(second, 3)).description == "newer"
    assert (await second.search(asked("sea")))[0].feature.description == "newer"
    other = "tiny/layer-5"
    await import_features(first, [feature(index, other) for index in range(2)])
    assert (await shown(second, 1, other)).sae == other
    monkeypatch.setattr(catalogs, "FRESH_SECONDS", 0.0)
    await first.delete(SAE)
    assert [each.sae for each in (await second.list_catalogs(10, ""))[0]] == [other]


async def test_an_outage_is_unavailable_and_its_end_needs_no_restart(
    pair: tuple[Opened, Opened], server: QdrantTestServer
) -> None:
    opened = pair[0]
    catalogue = opened.catalogue
    await server.stop()
    for call in (
        catalogue.get(names(3), full=False),
        catalogue.search(asked("sea")),
        catalogue.update(update()),
        import_features(catalogue, FEATURES, "another"),
    ):
        with pytest.raises(DependencyUnavailable) as gone:
            await asyncio.wait_for(call, 15)
        assert gone.value.retry_after
    await server.start()

    async def back() -> Feature:
        while True:
            try:
                return await shown(catalogue, 3)
            except DependencyUnavailable as error:
                await asyncio.sleep(min(error.retry_after or 0.1, 0.1))

    assert (await asyncio.wait_for(back(), 30)).label == FEATURES[3].label


async def test_a_change_that_an_outage_kept_from_being_shown_is_shown_afterwards(
    pair: tuple[Opened, Opened], server: QdrantTestServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    catalogue = pair[0].catalogue
    upsert = pair[0].store.upsert

    async def gone(*_: object) -> None:
        raise DependencyUnavailable("the vector store", "it is gone")

    with monkeypatch.context() as patched:
        patched.setattr(pair[0].store, "upsert", gone)
        with pytest.raises(DependencyUnavailable):
            await catalogue.update(update())
    assert pair[0].store.upsert == upsert
    assert catalogue.changes.behind
    await catalogue.catch_up()
    assert not catalogue.changes.behind
    for each in pair:
        assert (await shown(each.catalogue, 3)).label == "gulls and terns"
