"""The pure parts of bench.catalogue: recall, variants of features, questions, goals, tables."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pytest

from bench.catalogue.exact import best, recall, scores
from bench.catalogue.made import JITTER, features, jittered
from bench.catalogue.questions import Questions
from bench.catalogue.seeds import Seeds
from bench.catalogue.tables import Goal, Row, Section, measured, render
from services.features.feature import UNLABELLED, Example, Feature
from services.features.texts import context_text, label_text, words_text

EVERY = np.ones(4, np.bool_)
COSINES = np.array([0.1, 0.9, 0.5, 0.7], np.float32)


def test_exact_search_gives_the_best_first_and_none_that_the_filter_leaves_out() -> None:
    vectors = np.array([[1, 0], [0, 1], [0.6, 0.8], [-1, 0]], np.float32)
    query = np.array([0, 1], np.float32)
    assert best(scores(vectors, query, EVERY), 2).tolist() == [1, 2]
    assert best(scores(vectors, query, np.array([True, False, True, False])), 3).tolist() == [2, 0]


def test_recall_is_the_share_of_the_best_that_were_found() -> None:
    assert recall([1, 3], COSINES, 2) == 1.0
    assert recall([3, 1], COSINES, 2) == 1.0
    assert recall([1, 0], COSINES, 2) == 0.5
    assert recall([], COSINES, 2) == 0.0


def test_recall_counts_none_twice_and_none_beyond_the_first_k() -> None:
    assert recall([1, 1], COSINES, 2) == 0.5
    assert recall([0, 2, 1, 3], COSINES, 2) == 0.0


def test_one_that_is_as_near_as_the_last_of_the_best_is_as_good() -> None:
    tied = np.array([0.9, 0.5, 0.5, 0.1], np.float32)
    assert recall([0, 1], tied, 2) == recall([0, 2], tied, 2) == 1.0


def test_recall_where_a_filter_leaves_fewer_than_k() -> None:
    left = np.where([True, False, False, False], COSINES, np.float32(-np.inf))
    assert recall([0], left, 2) == 1.0
    assert recall([1], left, 2) == 0.0
    assert recall([], np.full(4, -np.inf, np.float32), 2) == 1.0


def test_the_first_vectors_are_the_seeds_and_variants_lie_about_them() -> None:
    drawn = np.random.default_rng(7).standard_normal((50, 384)).astype(np.float32)
    seeds = drawn / np.linalg.norm(drawn, axis=1, keepdims=True)
    made = jittered(seeds, 120, seed=1)
    assert np.array_equal(made[:50], seeds)
    assert np.linalg.norm(made, axis=1) == pytest.approx(np.ones(120), abs=1e-5)
    cosines = (made[50:100] * seeds).sum(1)
    assert np.median(cosines) == pytest.approx(1 / np.hypot(1, JITTER), abs=0.03)
    assert np.array_equal(made, jittered(seeds, 120, seed=1))
    assert not np.array_equal(made[50:], jittered(seeds, 120, seed=2)[50:])


def test_no_two_features_have_the_same_label_or_contexts_and_each_keeps_within_the_limits() -> None:
    made = list(features(some_seeds(7), np.linspace(0, 1, 40)))
    assert [feature.index for feature in made] == list(range(40))
    assert len({label_text(feature) for feature in made}) == 40
    assert len({context_text(feature) for feature in made}) == 40
    assert all(len(feature.label) <= 80 for feature in made)
    assert {feature.is_labelled for feature in made[::7]} == {False}
    assert made[8].steerability == pytest.approx(8 / 39)


def test_a_variant_has_words_of_another_seed() -> None:
    made = list(features(some_seeds(7), np.zeros(14)))
    assert "text2" in words_text(made[2])
    others = {n for n in range(7) if n != 2 and f"text{n}" in words_text(made[7 + 2])}
    assert len(others) == 1


def some_seeds(count: int) -> Seeds:
    """Features of long labels, the first of them refuted."""
    made = tuple(
        Feature(
            "lab/sae",
            index,
            f"{UNLABELLED * (index == 0)}feature {index} of long words {'and more ' * 4}"[:80],
            examples=tuple(
                Example("top", 1.0, (f"text{index} ", f"place{place}"), (0.0, 1.0), 1, "", f"{index} {place}")
                for place in range(8)
            ),
        )
        for index in range(count)
    )
    vectors = np.eye(count, 8, dtype=np.float32)
    return Seeds("made for a test", made, vectors, vectors, vectors, (), ("kept out",))


def test_a_fresh_question_was_never_asked() -> None:
    questions = Questions([f"one{n} two{n} three{n}" for n in range(5)], seen=20)
    asked = [*questions.labels, *questions.seen, *questions.fresh(30), *questions.fresh(30)]
    assert len(set(asked)) == len(asked) == 85


def test_labels_that_make_too_few_questions_are_an_error() -> None:
    with pytest.raises(ValueError, match="not make enough questions"):
        Questions(["one"], seen=2)


def test_a_goal_is_met_below_its_limit_or_from_it_on() -> None:
    assert Goal("p50", 25).verdict(24.9) == "p50 < 25: met"
    assert Goal("p50", 25).verdict(25.0) == "p50 < 25: missed"
    assert Goal("a second", 1500, at_least=True).verdict(1500.0) == "a second ≥ 1,500: met"
    assert Goal("a second", 1500, at_least=True).verdict(1499.0) == "a second ≥ 1,500: missed"


async def test_rounds_alternate_the_order_and_peers_are_compared_round_by_round() -> None:
    order: list[str] = []

    def taking(label: str, *seconds: float) -> Row:
        times = iter(seconds)

        async def measure() -> Mapping[str, float]:
            order.append(label)
            return {"p50": next(times)}

        goals = (Goal("p50", 5),) if label == "Hearth" else ()
        return Row(label, measure, goals, beside="" if label == "Hearth" else "Hearth")

    section = Section("Searches", "How long.", "ms", (taking("Hearth", 4, 2), taking("numpy", 12, 8)))
    results = await measured([section], 2, lambda line: None)
    assert order == ["Hearth", "numpy", "numpy", "Hearth"]
    text = render(section, results)
    assert "| ms | p50 | Hearth is faster by | goal |" in text
    assert "| Hearth | 3 (2–4) |  | p50 < 5: met |" in text
    assert "| numpy | 10 (8–12) | 3.5 (3–4) times |  |" in text
