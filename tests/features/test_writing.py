"""Features written over what is shown: that and nothing else changes, and what does not fit is refused by name."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from services.errors import FeatureOutOfRange, InvalidField
from services.features.catalogue import Catalogue
from services.features.feature import Feature, Neighbor, SearchMode
from services.features.requests import Upsert, UpsertCall
from tests.features.made_features import SAE, asked, feature, import_features, shown

FEATURES = [feature(index) for index in range(24)]


async def test_writing_over_what_is_shown_changes_it_and_only_it(catalogue: Catalogue) -> None:
    await import_features(catalogue, FEATURES)
    before = [await shown(catalogue, index) for index in range(24)]
    same = await catalogue.upsert(UpsertCall([Upsert(FEATURES[4])]))
    assert (same.created, same.updated) == (0, 1)
    assert await shown(catalogue, 4) == before[4]
    await catalogue.upsert(UpsertCall([Upsert(replace(FEATURES[4], label="frobnication"))]))
    after = await shown(catalogue, 4)
    assert after.label == "frobnication"
    assert after.etag != before[4].etag
    assert [await shown(catalogue, index) for index in range(24) if index != 4] == [
        each for each in before if each.index != 4
    ]
    for mode in (SearchMode.LABEL, SearchMode.LEXICAL):
        (hit,) = await catalogue.search(asked("frobnication", mode, top_k=1))
        assert hit.feature.index == 4


async def test_a_feature_of_which_nothing_is_known_is_kept_and_listed(catalogue: Catalogue) -> None:
    await import_features(catalogue, [Feature(SAE, index, "") for index in range(3)])
    found = await shown(catalogue, 1)
    assert replace(found, etag="", updated=None) == Feature(SAE, 1, "")
    for mode in SearchMode:
        assert await catalogue.search(asked("anything at all", mode)) == []


async def test_a_label_that_is_taken_away_is_not_found_any_more(catalogue: Catalogue) -> None:
    await import_features(catalogue, FEATURES)
    await catalogue.upsert(UpsertCall([Upsert(replace(FEATURES[1], label="", description=""))]))
    hits = await catalogue.search(asked("baking bread", SearchMode.LABEL, top_k=24))
    assert all(hit.feature.index != 1 or hit.score == pytest.approx(0) for hit in hits)


async def test_what_does_not_fit_the_catalogue_is_refused_by_name(catalogue: Catalogue) -> None:
    await import_features(catalogue, FEATURES)

    async def refused(feature: Feature, error: type[Exception], field: str) -> None:
        with pytest.raises(error) as caught:
            await catalogue.upsert(UpsertCall([Upsert(FEATURES[0]), Upsert(feature)]))
        assert getattr(caught.value, "field", "") == field

    beyond = (Neighbor(24, 0.5),)
    await refused(feature(24), FeatureOutOfRange, "features[1].feature.key.index")
    await refused(
        feature(1, decoder_neighbors=beyond),
        FeatureOutOfRange,
        "features[1].feature.decoder_neighbors[0].index",
    )
    await refused(feature(1, histogram=(1, 2)), InvalidField, "features[1].feature.histogram")
    with pytest.raises(InvalidField) as caught:
        await catalogue.upsert(UpsertCall([Upsert(FEATURES[0], np.ones(9, np.float32))]))
    assert caught.value.field == "features[0].decoder"
