"""What the catalogue asks of a vector store, of both engines alike."""

from __future__ import annotations

import asyncio
import dataclasses

import numpy as np
import pytest

from services.features.store.base import (
    CollectionMissing,
    FoundPoint,
    Point,
    PointFilter,
    VectorQuery,
    VectorStore,
)
from tests.features.store.points import COUNT, SCHEMA, direction, indices, point, point_id, words


async def matching(store: VectorStore, where: PointFilter) -> list[int]:
    """Which points a scroll brings; a query and a count must agree."""
    found = indices(await store.scroll("features", "index", 0, COUNT, where, ("index",)))
    [near] = await store.query(
        "features", [VectorQuery("label", direction(1), COUNT, where, ("index",), exact=True)]
    )
    assert sorted(indices(near)) == found
    assert await store.count("features", where) == len(found)
    return found


async def test_a_ping_returns_where_the_store_answers(store: VectorStore) -> None:
    await store.ping()


async def test_a_collection_is_there_once_made_and_making_it_again_keeps_its_points(
    filled: VectorStore,
) -> None:
    await filled.create("features", SCHEMA)
    assert await filled.collections() == ["features"]
    assert await filled.count("features") == COUNT


async def test_a_collection_that_is_made_twice_at_once_is_made_once(store: VectorStore) -> None:
    await asyncio.gather(*(store.create("features", SCHEMA) for _ in range(3)))
    assert await store.collections() == ["features"]


async def test_a_deleted_collection_is_missing_and_deleting_it_again_does_nothing(
    filled: VectorStore,
) -> None:
    await filled.switch("live", "features")
    await filled.delete("features")
    await filled.delete("features")
    assert await filled.collections() == []
    assert await filled.aliases() == {}
    with pytest.raises(CollectionMissing):
        await filled.count("features")


async def test_a_deleted_collection_can_be_made_anew_and_is_empty(filled: VectorStore) -> None:
    await filled.delete("features")
    await filled.create("features", SCHEMA)
    assert await filled.count("features") == 0


@pytest.mark.parametrize("method", ["upsert", "get", "scroll", "query", "count", "optimize"])
async def test_work_on_a_collection_that_is_not_there_says_so(store: VectorStore, method: str) -> None:
    work = {
        "upsert": lambda: store.upsert("nowhere", [point(1)]),
        "get": lambda: store.get("nowhere", [point_id(1)]),
        "scroll": lambda: store.scroll("nowhere", "index", 0, 1),
        "query": lambda: store.query("nowhere", [VectorQuery("label", direction(1), 1)]),
        "count": lambda: store.count("nowhere"),
        "optimize": lambda: store.optimize("nowhere"),
    }[method]
    with pytest.raises(CollectionMissing, match="nowhere"):
        await work()


async def test_points_come_back_as_written_whatever_their_payload_holds(filled: VectorStore) -> None:
    payload = {
        "index": 3,
        "text": 'ß 汉 \U0001f600\n"',
        "none": None,
        "nested": {"list": [1, 2.5, "x", True]},
        "big": 2**53,
    }
    await filled.upsert("features", [dataclasses.replace(point(3), payload=payload)])
    found = await filled.get("features", [point_id(3), point_id(COUNT)], vectors=("label", "context"))
    assert found.keys() == {point_id(3)}
    assert found[point_id(3)].payload == payload
    np.testing.assert_allclose(found[point_id(3)].dense["label"], direction(3), atol=1e-6)
    np.testing.assert_allclose(found[point_id(3)].dense["context"], direction(1003), atol=1e-6)


async def test_a_read_brings_the_fields_and_vectors_asked_for_and_no_others(filled: VectorStore) -> None:
    found = (await filled.get("features", [point_id(5)], ("label", "absent"), ("context",)))[point_id(5)]
    assert found.payload == {"label": "feature 5"}
    assert found.dense.keys() == {"context"}
    assert (await filled.get("features", [point_id(5)], ()))[point_id(5)] == FoundPoint(point_id(5), {})


async def test_an_upsert_replaces_the_payload_and_keeps_the_vectors_that_it_does_not_bring(
    filled: VectorStore,
) -> None:
    await filled.upsert("features", [Point(point_id(7), {"index": 7}, {"label": direction(70)})])
    found = (await filled.get("features", [point_id(7)], vectors=("label", "context")))[point_id(7)]
    assert found.payload == {"index": 7}
    np.testing.assert_allclose(found.dense["label"], direction(70), atol=1e-6)
    np.testing.assert_allclose(found.dense["context"], direction(1007), atol=1e-6)
    [by_word] = await filled.query("features", [VectorQuery("words", words([2]), COUNT, fields=("index",))])
    assert 7 in indices(by_word)


async def test_one_upsert_mixes_new_points_and_known_ones_with_all_some_or_no_vectors(
    filled: VectorStore,
) -> None:
    await filled.upsert(
        "features",
        [
            Point(point_id(2), {"index": 2}),
            Point(point_id(90), {"index": 90}),
            Point(point_id(91), {"index": 91}, {"label": direction(91)}),
            point(92),
        ],
    )
    found = await filled.get("features", [point_id(i) for i in (2, 90, 91, 92)], vectors=("label", "context"))
    kinds = {each.payload["index"]: sorted(each.dense) for each in found.values()}
    assert kinds == {2: ["context", "label"], 90: [], 91: ["label"], 92: ["context", "label"]}


async def test_a_point_without_vectors_is_found_by_id_alone(filled: VectorStore) -> None:
    await filled.upsert("features", [Point(point_id(99), {"info": {"sae": "x"}})])
    assert (await filled.get("features", [point_id(99)]))[point_id(99)].payload == {"info": {"sae": "x"}}
    assert await filled.count("features") == COUNT + 1
    assert indices(await filled.scroll("features", "index", 0, 100)) == list(range(COUNT))
    answers = await filled.query(
        "features",
        [VectorQuery("label", direction(1), 100), VectorQuery("words", words([9]), 100)],
    )
    assert point_id(99) not in {each.id for answer in answers for each in answer}


async def test_a_large_upsert_is_written_whole(store: VectorStore) -> None:
    await store.create("features", SCHEMA)
    await store.upsert("features", [point(index) for index in range(1500)])
    assert await store.count("features") == 1500


async def test_upserts_at_once_of_different_vectors_of_one_point_lose_none(filled: VectorStore) -> None:
    for seed in range(5):
        await asyncio.gather(
            filled.upsert("features", [Point(point_id(1), {"index": 1}, {"label": direction(200 + seed)})]),
            filled.upsert("features", [Point(point_id(1), {"index": 1}, {"context": direction(300 + seed)})]),
        )
        found = (await filled.get("features", [point_id(1)], (), ("label", "context")))[point_id(1)]
        np.testing.assert_allclose(found.dense["label"], direction(200 + seed), atol=1e-6)
        np.testing.assert_allclose(found.dense["context"], direction(300 + seed), atol=1e-6)


async def test_a_scroll_goes_on_in_order_from_a_value(filled: VectorStore) -> None:
    await filled.upsert("features", [point(index) for index in (3, 1, 2)])
    assert indices(await filled.scroll("features", "index", 0, 5)) == [0, 1, 2, 3, 4]
    assert indices(await filled.scroll("features", "index", 5, 3, fields=("index",))) == [5, 6, 7]
    assert indices(await filled.scroll("features", "index", COUNT - 1, 10)) == [COUNT - 1]
    assert await filled.scroll("features", "index", COUNT, 10) == []
    [first] = await filled.scroll("features", "index", 4, 1, fields=(), vectors=("label",))
    assert first.payload == {}
    np.testing.assert_allclose(first.dense["label"], direction(4), atol=1e-6)


ALL = range(COUNT)


FILTERED = [
    (PointFilter(), list(ALL)),
    (PointFilter(any_of={"class": ["a"]}), [i for i in ALL if i % 2 == 0]),
    (PointFilter(any_of={"class": ["a", "b"]}), list(ALL)),
    (PointFilter(any_of={"class": []}), []),
    (PointFilter(any_of={"layer": [1, 3]}), [i for i in ALL if i % 4 in (1, 3)]),
    (PointFilter(any_of={"labelled": [True]}), [i for i in ALL if i % 3 == 0]),
    (PointFilter(any_of={"labelled": [True, False]}), list(ALL)),
    (PointFilter(none_of={"class": ["b"]}), [i for i in ALL if i % 2 == 0]),
    (PointFilter(none_of={"class": []}), list(ALL)),
    (PointFilter(none_of={"labelled": [True]}), [i for i in ALL if i % 3]),
    (PointFilter(at_least={"density": 0.35}), list(range(35, COUNT))),
    (PointFilter(at_most={"density": 0.05}), list(range(6))),
    (PointFilter(at_least={"index": 3}, at_most={"index": 5}), [3, 4, 5]),
    (PointFilter(at_least={"absent": 0.0}), []),
    (PointFilter(ids=[point_id(4), point_id(2), point_id(1000)]), [2, 4]),
    (PointFilter(ids=[]), []),
    (PointFilter(not_ids=[point_id(0)]), list(range(1, COUNT))),
    (
        PointFilter(
            any_of={"class": ["a"], "layer": [0]},
            none_of={"labelled": [True]},
            at_least={"density": 0.1},
            not_ids=[point_id(16)],
        ),
        [20, 28, 32],
    ),
]


async def test_a_filter_demands_all_of_its_conditions(filled: VectorStore) -> None:
    for where, expected in FILTERED:
        assert await matching(filled, where) == expected, where


async def test_an_alias_names_a_collection_and_is_switched_to_another(filled: VectorStore) -> None:
    await filled.create("newer", SCHEMA)
    assert await filled.switch("live", "features") is None
    assert await filled.count("live") == COUNT
    assert await filled.switch("live", "newer") == "features"
    assert await filled.aliases() == {"live": "newer"}
    assert await filled.count("live") == 0
    assert await filled.switch("live", "newer") == "newer"
    assert await filled.switch("live", None) == "newer"
    assert await filled.switch("live", None) is None
    with pytest.raises(CollectionMissing):
        await filled.count("live")
    assert sorted(await filled.collections()) == ["features", "newer"]


async def test_an_alias_cannot_name_what_is_not_there_and_stays_as_it_was(filled: VectorStore) -> None:
    await filled.switch("live", "features")
    with pytest.raises(CollectionMissing):
        await filled.switch("live", "nowhere")
    assert await filled.aliases() == {"live": "features"}


async def test_writes_through_an_alias_reach_its_collection(filled: VectorStore) -> None:
    await filled.switch("live", "features")
    await filled.upsert("live", [point(77)])
    assert (await filled.get("features", [point_id(77)])).keys() == {point_id(77)}


async def test_optimizing_changes_no_answer(filled: VectorStore) -> None:
    queries = [VectorQuery("label", direction(600), 5), VectorQuery("words", words([1, 9]), 5)]
    before = await filled.query("features", queries)
    await filled.optimize("features")
    after = await filled.query("features", queries)
    assert [each.id for each in before[0]] == [each.id for each in after[0]]
    np.testing.assert_allclose(
        [e.score for a in before for e in a], [e.score for a in after for e in a], rtol=1e-4
    )
