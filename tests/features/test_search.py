"""Features by meaning or by word."""

from __future__ import annotations

import pytest

from services.errors import NotFound
from services.features.catalogue import Catalogue
from services.features.feature import FeatureClass, FeatureFilter, Hit, SearchMode
from services.features.requests import Names, RerankCall
from services.features.search import WORDS_FUSED
from tests.features.conftest import Opened
from tests.features.made_features import SAE, asked, feature, import_features, names


@pytest.fixture
async def searched(catalogue: Catalogue) -> Catalogue:
    await import_features(catalogue, [feature(index) for index in range(40)])
    return catalogue


def indices(hits: list[Hit]) -> list[int]:
    return [hit.feature.index for hit in hits]


@pytest.mark.parametrize("mode", list(SearchMode))
async def test_every_mode_finds_the_feature_whose_words_are_asked_for(
    searched: Catalogue, mode: SearchMode
) -> None:
    query = "the judge asked the lawyer" if mode is SearchMode.CONTEXT else "court trials"
    hits = await searched.search(asked(query, mode))
    assert indices(hits)[0] % 8 == 2
    assert [hit.score for hit in hits] == sorted((hit.score for hit in hits), reverse=True)


async def test_a_hybrid_score_is_the_sum_of_reciprocal_ranks(searched: Catalogue) -> None:
    query = "snow and ice on the lake"
    hybrid = await searched.search(asked(query, top_k=5))
    orders = [
        indices(await searched.search(asked(query, mode, top_k=places)))
        for mode, places in (
            (SearchMode.LABEL, 100),
            (SearchMode.CONTEXT, 100),
            (SearchMode.LEXICAL, WORDS_FUSED),
        )
    ]
    for hit in hybrid:
        index = hit.feature.index
        expected = sum(1 / (61 + order.index(index)) for order in orders if index in order)
        assert hit.score == pytest.approx(expected, abs=1e-6)


async def test_hits_say_how_alike_they_are_in_each_respect_that_was_compared(searched: Catalogue) -> None:
    (best,) = await searched.search(asked("baking bread", top_k=1))
    (label,) = await searched.search(asked("baking bread", SearchMode.LABEL, top_k=1))
    (words,) = await searched.search(asked("baking bread", SearchMode.LEXICAL, top_k=1))
    assert best.label_similarity == pytest.approx(label.score, abs=1e-5)
    assert best.label_similarity == pytest.approx(1.0, abs=1e-5)
    assert best.lexical_score == pytest.approx(words.score, abs=1e-4)
    assert best.context_similarity is not None
    assert label.context_similarity is label.lexical_score is None
    assert words.label_similarity is None


async def test_a_query_without_words_that_count_is_answered_by_meaning_alone(searched: Catalogue) -> None:
    hits = await searched.search(asked("the and of"))
    assert len(hits) == 10
    assert all(hit.lexical_score is None for hit in hits)
    assert await searched.search(asked("the and of", SearchMode.LEXICAL)) == []


async def test_a_search_leaves_out_grammar_places_templates_and_the_dead_unless_they_are_named(
    catalogue: Catalogue,
) -> None:
    classes = [*FeatureClass, FeatureClass.CONCEPT]
    await import_features(catalogue, [feature(n, feature_class=each) for n, each in enumerate(classes)])
    found = await catalogue.search(asked("the sea and ships", top_k=20))
    assert {hit.feature.feature_class for hit in found} == {
        FeatureClass.UNSPECIFIED,
        FeatureClass.CONCEPT,
        FeatureClass.LEXICAL,
    }
    dead = await catalogue.search(
        asked("the sea and ships", filter=FeatureFilter(classes=(FeatureClass.DEAD,)))
    )
    assert [hit.feature.feature_class for hit in dead] == [FeatureClass.DEAD]


@pytest.mark.parametrize(
    "which",
    [
        FeatureFilter(min_density=20 / 1024),
        FeatureFilter(max_density=20 / 1024),
        FeatureFilter(min_steerability=0.25),
        FeatureFilter(min_output_score=5.0),
        FeatureFilter(label_sources=("person:ann",)),
        FeatureFilter(min_label_score=0.8),
        FeatureFilter(labelled_only=True),
        FeatureFilter(labelled_only=True, max_density=0.02, min_steerability=0.125),
        FeatureFilter(layers=(2, 3)),
        FeatureFilter(layers=(4,)),
    ],
    ids=str,
)
async def test_a_filter_leaves_what_a_plain_comparison_leaves(
    catalogue: Catalogue, which: FeatureFilter
) -> None:
    features = [
        feature(
            index,
            label_source="person:ann" if index % 5 == 0 else "offline",
            label_score=None if index % 3 == 0 else 0.5 + index / 100,
            steerability=None if index % 7 == 0 else 0.125 * (index % 4),
            label=f"unlabelled: thing {index}" if index % 2 else f"thing {index}",
        )
        for index in range(48)
    ]
    await import_features(catalogue, features)

    def fits(index: int) -> bool:
        one = features[index]
        return (
            (not which.layers or 3 in which.layers)
            and one.density >= (which.min_density or 0)
            and one.density <= (1 if which.max_density is None else which.max_density)
            and (which.min_steerability is None or (one.steerability or -1) >= which.min_steerability)
            and (which.min_output_score is None or (one.output_score or 0) >= which.min_output_score)
            and (not which.label_sources or one.label_source in which.label_sources)
            and (which.min_label_score is None or (one.label_score or 0) >= which.min_label_score)
            and (not which.labelled_only or one.is_labelled)
        )

    hits = await catalogue.search(asked("thing", SearchMode.LABEL, top_k=100, filter=which))
    assert sorted(indices(hits)) == [index for index in range(48) if fits(index)]


async def test_a_label_that_a_test_refuted_is_found_by_what_it_says(catalogue: Catalogue) -> None:
    await import_features(catalogue, [feature(0), feature(1, label="unlabelled: volcanoes")])
    (hit,) = await catalogue.search(asked("volcanoes", SearchMode.LABEL, top_k=1))
    assert hit.feature.index == 1
    assert hit.label_similarity == pytest.approx(1.0, abs=1e-5)


async def test_without_an_sae_all_are_searched_and_their_hits_merged(catalogue: Catalogue) -> None:
    other = "tiny/layer-5"
    await import_features(catalogue, [feature(index) for index in range(3)])
    await import_features(
        catalogue, [feature(index, other) for index in range(3, 6)], layer=5
    ) if False else None
    features = [feature(index, other, label="an ocean voyage", examples=()) for index in range(2)]
    await import_features(catalogue, features, layer=5)
    hits = await catalogue.search(asked("the sea and ships on an ocean voyage", top_k=5))
    assert {hit.feature.sae for hit in hits} == {SAE, other}
    only = await catalogue.search(asked("sea", sae=other))
    assert {hit.feature.sae for hit in only} == {other}
    layered = await catalogue.search(asked("sea", filter=FeatureFilter(layers=(5,))))
    assert {hit.feature.sae for hit in layered} == {other}


async def test_an_sae_that_is_not_there_is_named(searched: Catalogue) -> None:
    with pytest.raises(NotFound) as caught:
        await searched.search(asked("sea", sae="no/such"))
    assert caught.value.field == "sae"


async def test_rerank_orders_exactly_the_features_that_are_given(searched: Catalogue) -> None:
    given = [30, 2, 5, 17, 10]
    hits = await searched.rerank(RerankCall("court trials", names(*given), 1000, SearchMode.HYBRID))
    assert sorted(indices(hits)) == sorted(given)
    assert indices(hits)[0] == 2
    assert set(indices(hits)[:2]) == {2, 10}
    by_id = Names(ids=tuple(hit.feature.id for hit in reversed(hits)), fields=tuple("abcde"))
    again = await searched.rerank(RerankCall("court trials", by_id, 2, SearchMode.HYBRID))
    assert indices(again) == indices(hits)[:2]


async def test_rerank_of_thousands_agrees_with_their_cosines(opened: Opened) -> None:
    catalogue = opened.catalogue
    features = [feature(index, examples=(), doses=(), promoted=()) for index in range(1000)]
    await import_features(catalogue, features)
    call = RerankCall("frozen chess birds", names(*range(0, 1000, 2)), 1000, SearchMode.LABEL)
    hits = await catalogue.rerank(call)
    assert len(hits) == 500
    vector = await opened.embedding.query("frozen chess birds")
    labels = await opened.embedding.texts([hit.feature.label for hit in hits], {})
    for hit in hits:
        assert hit.score == pytest.approx(float(vector @ labels[hit.feature.label]), abs=1e-3)


async def test_a_feature_that_nothing_compares_with_the_query_stands_last(catalogue: Catalogue) -> None:
    await import_features(catalogue, [feature(0, label="", examples=()), feature(1), feature(2)])
    hits = await catalogue.rerank(RerankCall("court", names(0, 1, 2), 10, SearchMode.LABEL))
    assert indices(hits)[-1] == 0
    assert hits[-1].score == 0
    assert hits[-1].label_similarity is None


async def test_rerank_names_the_feature_that_is_not_there(searched: Catalogue) -> None:
    ids = Names(ids=("00000000-0000-4000-8000-000000000000",), fields=("ids[0]",))
    with pytest.raises(NotFound) as caught:
        await searched.rerank(RerankCall("court", ids, 10, SearchMode.HYBRID))
    assert caught.value.field == "ids[0]"
