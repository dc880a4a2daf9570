"""The texts by which a feature is found, how it is stored, and how rankings are fused."""

from __future__ import annotations

import json
import uuid
from collections.abc import Sequence
from dataclasses import replace

import hypothesis
from hypothesis import strategies as st

from services.features.feature import NAMESPACE, Example, Feature, TokenWeight, feature_id
from services.features.fusion import K, fused
from services.features.payload import BASIC_FIELDS, DETAIL, feature_of, payload_of
from services.features.texts import EXCERPTS, context_text, label_text, words_text
from tests.features.made_features import feature


def example(tokens: Sequence[str], peak: int, document: str = "") -> Example:
    return Example("top", 1.0, tuple(tokens), (0.0,) * len(tokens), peak, "", document)


def test_a_refuted_label_is_embedded_for_what_it_says() -> None:
    assert label_text(feature(0, label="unlabelled: storms at sea")) == "storms at sea"
    assert label_text(feature(0, label="")) == ""


def test_a_context_is_what_stands_around_the_peaks_of_different_documents() -> None:
    words = [f" w{number}" for number in range(100)]
    examples = (
        example(words, 50, "a"),
        example([" again", " a"], 0, "a"),
        example(["<|im_start|>", "user", "\n", "Ahoy", " there"], 3, "b"),
    )
    text = context_text(feature(0, examples=examples))
    first, second, third = text.split(" … ")
    assert first.split() == [f"w{number}" for number in range(38, 59)]
    assert second == "user Ahoy there"
    assert third == "again a"


def test_a_context_is_short_and_begins_with_a_whole_word() -> None:
    many = tuple(example([" piece", "s", " of", " words"] * 30, 60, f"d{n}") for n in range(20))
    excerpts = context_text(feature(0, examples=many)).split(" … ")
    assert len(excerpts) == EXCERPTS
    assert all(len(excerpt.split()) <= 21 for excerpt in excerpts)
    inside = example(["be", "gin", "ning", *[" x"] * 30], 13)
    assert not context_text(feature(0, examples=(inside,))).startswith("gin")


def test_words_are_those_of_label_description_contexts_and_promoted_tokens() -> None:
    one = feature(0, promoted=(TokenWeight(" schooner", 1, 2.0),))
    found = words_text(one)
    assert found == words_text(one, context_text(one))
    for word in ("ships", "fires on", "sailors", "schooner"):
        assert word in found
    assert words_text(Feature("s", 0, "")) == ""


def test_an_id_is_the_uuid5_of_sae_and_index() -> None:
    for sae, index in (("tiny/layer-3", 0), ("", 4_294_967_295), ("größe/ß", 7)):
        assert feature_id(sae, index) == str(uuid.uuid5(NAMESPACE, f"{sae}/{index}"))


def test_a_point_holds_all_of_a_feature_and_what_basic_answers_need_apart() -> None:
    one = feature(9)
    payload = json.loads(json.dumps(payload_of(one)))
    assert replace(feature_of(one.sae, payload), etag="") == one
    basic = {name: value for name, value in payload.items() if name in BASIC_FIELDS}
    assert feature_of(one.sae, basic).examples == ()
    assert len(payload[DETAIL]) < len(json.dumps(payload_of(one))) / 2


def test_an_etag_tells_any_two_features_apart() -> None:
    one = feature(3)
    others = [
        replace(one, label="x"),
        replace(one, revision=1),
        replace(one, steerability=None),
        replace(one, density=one.density * 1.0001),
        replace(one, examples=one.examples[:2]),
        replace(one, histogram=(5, 3, 2)),
        replace(one, coactivation_neighbors=one.coactivation_neighbors[:1]),
    ]
    etags = {payload_of(each)["etag"] for each in (one, *others)}
    assert len(etags) == len(others) + 1
    assert payload_of(feature(3))["etag"] == payload_of(one)["etag"]


@hypothesis.given(st.lists(st.lists(st.integers(0, 30), unique=True, max_size=20), max_size=4))
def test_fusion_is_the_sum_of_reciprocal_ranks(rankings: list[list[int]]) -> None:
    order = fused(rankings)
    assert {item for item, _ in order} == {item for ranking in rankings for item in ranking}
    for item, score in order:
        ranks = [ranking.index(item) + 1 for ranking in rankings if item in ranking]
        assert abs(score - sum(1 / (K + rank) for rank in ranks)) < 1e-12
    assert [score for _, score in order] == sorted((score for _, score in order), reverse=True)
