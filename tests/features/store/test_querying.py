"""Searches of a vector store, of both engines alike."""

from __future__ import annotations

import numpy as np
import pytest

from services.features.store.base import PointFilter, VectorQuery, VectorStore
from tests.features.store.points import COUNT, direction, indices, point, point_id, words

ALL = range(COUNT)


async def test_a_search_ranks_by_cosine(filled: VectorStore) -> None:
    vector = 3 * direction(500)
    [found] = await filled.query("features", [VectorQuery("context", vector, 10, fields=("index",))])
    cosines = np.array([direction(1000 + i) @ direction(500) for i in ALL])
    assert indices(found) == np.argsort(-cosines)[:10].tolist()
    np.testing.assert_allclose([each.score for each in found], np.sort(cosines)[::-1][:10], atol=1e-5)


async def test_a_filtered_search_finds_its_best_even_where_those_closest_are_filtered_out(
    filled: VectorStore,
) -> None:
    cosines = np.array([direction(i) @ direction(500) for i in ALL])
    for where, keeps in (
        (PointFilter(at_least={"density": 0.1}), lambda i: i >= 10),
        (PointFilter(at_most={"density": 0.3}), lambda i: i <= 30),
        (PointFilter(any_of={"class": ["a"]}, not_ids=[point_id(2)]), lambda i: i % 2 == 0 and i != 2),
        (PointFilter(none_of={"layer": [1]}), lambda i: i % 4 != 1),
        (
            PointFilter(not_ids=[point_id(int(i)) for i in np.argsort(-cosines)[:15]]),
            lambda i: i not in np.argsort(-cosines)[:15],
        ),
    ):
        [found] = await filled.query(
            "features", [VectorQuery("label", direction(500), 10, where, ("index",))]
        )
        assert indices(found) == [i for i in np.argsort(-cosines).tolist() if keeps(i)][:10], where


async def test_a_search_for_words_weighs_rare_words_more(filled: VectorStore) -> None:
    # Word 9 is in every point with weight 0.5, word 2 in every fifth with weight 1.
    [found] = await filled.query("features", [VectorQuery("words", words([2, 9]), COUNT, fields=("index",))])
    idf = {word: np.log((COUNT - n + 0.5) / (n + 0.5) + 1) for word, n in ((2, COUNT / 5), (9, COUNT))}
    assert set(indices(found)[: COUNT // 5]) == {i for i in ALL if i % 5 == 2}
    assert found[0].score == pytest.approx(idf[2] + 0.5 * idf[9], rel=1e-3)
    assert found[-1].score == pytest.approx(0.5 * idf[9], rel=1e-3)
    assert await filled.query("features", [VectorQuery("words", words([77]), 5)]) == [[]]  # which none has


async def test_several_queries_are_answered_in_their_order_each_with_its_own_filter(
    filled: VectorStore,
) -> None:
    answers = await filled.query(
        "features",
        [
            VectorQuery("label", direction(8), 1, fields=("index",)),
            VectorQuery("words", words([3]), 2, PointFilter(any_of={"class": ["a"]}), ("index", "class")),
            VectorQuery("context", direction(1009), 1, PointFilter(not_ids=[point_id(9)]), None),
        ],
    )
    assert indices(answers[0]) == [8]
    assert len(answers[1]) == 2
    assert {each.payload["class"] for each in answers[1]} == {"a"}
    assert answers[2][0].payload.keys() == point(0).payload.keys()
    assert answers[2][0].id != point_id(9)
    assert await filled.query("features", []) == []
