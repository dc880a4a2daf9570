"""The embedded engine: its folder, its deaths, its indices."""

from __future__ import annotations

import asyncio
import json
import shutil
import threading
from pathlib import Path

import numpy as np
import pytest

from services.errors import DependencyUnavailable
from services.features.store import edge as edge_module
from services.features.store import tuning
from services.features.store.base import (
    CollectionMissing,
    CollectionSchema,
    Point,
    PointFilter,
    StoreUnusable,
    VectorQuery,
)
from services.features.store.edge import EdgeStore
from services.features.store.edge_shard import Shard
from tests.features.store.points import SCHEMA, direction, point, point_id
from tests.features.store.processes import number, python


async def test_what_was_acknowledged_survives_kill_9_and_the_folder_is_free_again(tmp_path: Path) -> None:
    async with python("writing_process", tmp_path) as process:
        while await number(process) < 128:
            pass
        with pytest.raises(StoreUnusable, match=str(tmp_path)):
            await EdgeStore.open(tmp_path)
        process.kill()
        assert process.stdout is not None
        last = [int(line) for line in (await process.stdout.read()).split()]
    acknowledged = max([128, *last])

    store = await EdgeStore.open(tmp_path)
    assert await store.aliases() == {"live": "features"}
    found = await store.get("live", [point_id(i) for i in range(acknowledged)], vectors=("label", "context"))
    for index in range(acknowledged):
        assert found[point_id(index)].payload == point(index).payload
        np.testing.assert_allclose(found[point_id(index)].dense["label"], direction(index), atol=1e-6)
        np.testing.assert_allclose(
            found[point_id(index)].dense["context"], direction(1000 + index), atol=1e-6
        )
    [near] = await store.query(
        "live", [VectorQuery("label", direction(acknowledged - 1), 1, fields=("index",))]
    )
    assert near[0].payload == {"index": acknowledged - 1}
    await store.upsert("live", [point(100_000)])
    await store.close()


async def test_a_folder_holds_what_it_held_when_it_is_opened_again(tmp_path: Path) -> None:
    store = await EdgeStore.open(tmp_path)
    await store.create("features", SCHEMA)
    await store.upsert("features", [point(index) for index in range(20)])
    await store.switch("live", "features")
    await store.optimize("features")
    await store.upsert("features", [point(20)])
    await store.close()
    again = await EdgeStore.open(tmp_path)
    assert await again.collections() == ["features"]
    assert await again.count("live", PointFilter(any_of={"class": ["a"]})) == 11
    # The schema is known, too: this keeps the context and the words.
    await again.upsert("live", [Point(point_id(3), {"index": 3}, {"label": direction(3)})])
    assert (await again.get("live", [point_id(3)], (), ("context",)))[point_id(3)].dense.keys() == {"context"}
    await again.close()


@pytest.mark.parametrize("left", ["unmarked", ".removed-features"])
async def test_a_collection_that_was_left_half_made_or_half_deleted_is_cleared_away(
    tmp_path: Path, left: str
) -> None:
    store = await EdgeStore.open(tmp_path)
    await store.create("features", SCHEMA)
    await store.close()
    folder = tmp_path / "collections" / "features"
    if left == "unmarked":  # as a kill before the marker leaves it
        (folder / "collection.json").unlink()
    else:
        folder.rename(folder.with_name(left))
    (tmp_path / "aliases.json").write_text(json.dumps({"live": "features"}))

    again = await EdgeStore.open(tmp_path)
    assert await again.collections() == []
    assert await again.aliases() == {}
    assert list((tmp_path / "collections").iterdir()) == []
    await again.create("features", SCHEMA)
    await again.upsert("features", [point(1)])
    await again.close()


async def test_a_broken_collection_is_named_and_its_folder_not_held(tmp_path: Path) -> None:
    store = await EdgeStore.open(tmp_path)
    await store.create("features", SCHEMA)
    await store.close()
    broken = tmp_path / "collections" / "features"
    shutil.rmtree(broken / "shard")
    for _ in range(2):
        with pytest.raises(StoreUnusable, match=str(broken)):
            await EdgeStore.open(tmp_path)


async def test_a_broken_file_of_aliases_is_named(tmp_path: Path) -> None:
    (tmp_path / "aliases.json").write_text("{")
    with pytest.raises(StoreUnusable, match=r"aliases\.json"):
        await EdgeStore.open(tmp_path)


async def test_a_name_that_leaves_the_folder_is_refused(edge: EdgeStore) -> None:
    for name in ("../features", "a/b", ".removed-x", ""):
        with pytest.raises(ValueError, match="cannot name"):
            await edge.create(name, SCHEMA)


async def test_searches_that_run_while_their_collection_is_deleted_end_well_or_miss_it(
    edge: EdgeStore,
) -> None:
    await edge.create("features", SCHEMA)
    await edge.upsert("features", [point(index) for index in range(200)])
    searches = [edge.query("features", [VectorQuery("label", direction(i), 5)]) for i in range(50)]
    answers = await asyncio.gather(*searches, edge.delete("features"), return_exceptions=True)
    for answer in answers[:-1]:
        assert isinstance(answer, CollectionMissing) or len(answer[0]) == 5  # type: ignore[index, arg-type]
    assert answers[-1] is None


async def test_a_full_disk_refuses_writes_and_lets_read(
    edge: EdgeStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    await edge.create("features", SCHEMA)
    await edge.upsert("features", [point(1)])
    monkeypatch.setattr(edge_module, "LEAST_FREE_BYTES", 1 << 60)
    with pytest.raises(DependencyUnavailable) as refused:
        await edge.upsert("features", [point(2)])
    assert refused.value.retry_after is not None
    with pytest.raises(DependencyUnavailable):
        await edge.ping()
    assert await edge.count("features") == 1


@pytest.fixture
async def large(edge: EdgeStore, monkeypatch: pytest.MonkeyPatch) -> EdgeStore:
    """A collection that is searched by its graph: the sizes from which are lowered."""
    monkeypatch.setattr(tuning, "INDEXED_FROM_KB", 100)
    monkeypatch.setattr(tuning, "SCANNED_TO_KB", 10)
    await edge.create(
        "large", CollectionSchema({"label": 32}, keyword_fields=("class",), integer_fields=("index",))
    )
    vectors = _clustered()
    await edge.upsert(
        "large",
        [
            Point(point_id(i), {"index": i, "class": "abc"[i % 3]}, {"label": vector})
            for i, vector in enumerate(vectors)
        ],
    )
    await edge.optimize("large")
    return edge


def _clustered() -> np.ndarray:
    """3,000 unit vectors of 32 dimensions, around 100 centres."""
    random = np.random.default_rng(0)
    vectors = random.normal(size=(100, 32))[np.arange(3000) % 100] + 0.5 * random.normal(size=(3000, 32))
    return (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype(np.float32)


async def test_the_graph_finds_what_comparing_with_all_finds_whatever_the_filter(large: EdgeStore) -> None:
    vectors = _clustered()
    asked = range(0, 3000, 100)
    for classes in ("abc", "ab", "a"):
        where = PointFilter(any_of={"class": list(classes)})
        passes = np.array(["abc"[i % 3] in classes for i in range(len(vectors))])
        answers = await large.query(
            "large", [VectorQuery("label", vectors[i], 10, where, ("index",)) for i in asked]
        )
        shares = []
        for i, answer in zip(asked, answers, strict=True):
            best = np.argsort(-np.where(passes, vectors @ vectors[i], -2))[:10]
            shares.append(len({*best.tolist()} & {each.payload["index"] for each in answer}) / 10)
        assert np.mean(shares) >= 0.99, classes


async def test_a_query_among_given_points_ranks_every_one_of_them(large: EdgeStore) -> None:
    vectors = _clustered()
    among = list(range(0, 3000, 2))
    where = PointFilter(ids=[point_id(i) for i in among])
    [found] = await large.query("large", [VectorQuery("label", vectors[1], len(among), where, ("index",))])
    cosines = vectors[among] @ vectors[1]
    assert [each.payload["index"] for each in found[:20]] == [among[i] for i in np.argsort(-cosines)[:20]]
    assert len(found) == len(among)


async def test_a_large_collection_is_optimized_by_another_process_and_says_so_meanwhile(
    large: EdgeStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its own process would stand still: qdrant_edge holds Python's global lock."""
    began, go_on = threading.Event(), threading.Event()
    run = Shard._run_optimizer

    def held(shard: Shard) -> None:
        began.set()
        go_on.wait(30)
        run(shard)

    monkeypatch.setattr(Shard, "_run_optimizer", held)
    optimizing = asyncio.create_task(large.optimize("large"))
    await asyncio.to_thread(began.wait, 30)
    for call in (
        large.count("large"),
        large.upsert("large", [Point(point_id(1), {"index": 1})]),
        large.delete("large"),
        large.optimize("large"),
    ):
        with pytest.raises(DependencyUnavailable, match="is being optimized"):
            await call
    await large.create("other", SCHEMA)
    await large.upsert("other", [point(1)])
    assert await large.switch("live", "large") is None
    go_on.set()
    await optimizing
    assert await large.count("live") == 3000


async def test_closing_kills_the_optimizer_and_the_collection_stays_as_it_was(
    large: EdgeStore, tmp_path: Path
) -> None:
    shard = large._folder.shard("large")
    optimizing = asyncio.create_task(large.optimize("large"))
    while shard._optimizer is None:  # noqa: ASYNC110, it tells nobody
        await asyncio.sleep(0.001)
    await large.close()
    with pytest.raises(DependencyUnavailable, match="broke off"):
        await optimizing
    again = await EdgeStore.open(tmp_path / "store")
    assert await again.count("large") == 3000
    await again.upsert("large", [Point(point_id(1), {"index": 1})])
    await again.close()
