"""Features by name, and page by page."""

from __future__ import annotations

from dataclasses import replace

import pytest

from services.errors import FeatureOutOfRange, InvalidField, NotFound
from services.features import reading
from services.features.catalogue import Catalogue
from services.features.feature import Feature, FeatureClass, FeatureFilter
from services.features.requests import Absent, ListCall, Names, Upsert, UpsertCall
from services.steering.conditions import FeatureKey
from tests.features.made_features import SAE, feature, import_features, names

FEATURES = [feature(index) for index in range(20)]
OTHER = "tiny/layer-5"
EVERY = ListCall(SAE, 6, "", FeatureFilter(), False)


@pytest.fixture
async def filled(catalogue: Catalogue) -> Catalogue:
    await import_features(catalogue, FEATURES)
    return catalogue


def by_id(*features: Feature) -> Names:
    return Names(
        ids=tuple(each.id for each in features), fields=tuple(f"ids[{n}]" for n in range(len(features)))
    )


async def every_page(catalogue: Catalogue, call: ListCall) -> list[list[Feature]]:
    pages, token = [], call.page_token
    while not pages or token:
        page, token = await catalogue.page(replace(call, page_token=token))
        pages.append(page)
    return pages


async def test_features_come_in_the_order_of_their_names_however_often_each_is_named(
    filled: Catalogue,
) -> None:
    wanted = [7, 3, 3, 19, 0, 7]
    found = await filled.get(names(*wanted), full=False)
    assert [each.index for each in found if isinstance(each, Feature)] == wanted
    assert found == await filled.get(by_id(*(FEATURES[index] for index in wanted)), full=False)


async def test_a_basic_feature_has_all_but_what_is_long(filled: Catalogue) -> None:
    (basic,) = await filled.get(names(4), full=False)
    (full,) = await filled.get(names(4), full=True)
    assert isinstance(full, Feature)
    assert full.examples
    long = {
        "examples": (),
        "histogram": (),
        "doses": (),
        "decoder_neighbors": (),
        "coactivation_neighbors": (),
    }
    assert basic == replace(full, **long)


async def test_what_is_missing_is_named_or_stands_in_its_place(filled: Catalogue) -> None:
    with pytest.raises(FeatureOutOfRange) as beyond:
        await filled.get(names(0, 20), full=False)
    assert beyond.value.field == "keys[1].index"
    with pytest.raises(NotFound) as unknown:
        await filled.get(names(0, sae="no/such"), full=False)
    assert unknown.value.field == "keys[0].sae"
    stranger = feature(0, "no/such")
    with pytest.raises(NotFound) as missing:
        await filled.get(by_id(FEATURES[0], stranger), full=False)
    assert missing.value.field == "ids[1]"

    keys = Names(
        keys=(FeatureKey(SAE, 20), FeatureKey("no/such", 0), FeatureKey("", 2)),
        fields=("keys[0]", "keys[1]", "keys[2]"),
    )
    first, second, third = await filled.get(keys, full=False, allow_missing=True)
    assert first == Absent(feature(20).id, FeatureKey(SAE, 20))
    assert second == Absent(stranger.id, FeatureKey("no/such", 0))
    assert isinstance(third, Feature)
    there, absent = await filled.get(by_id(FEATURES[0], stranger), full=False, allow_missing=True)
    assert isinstance(there, Feature)
    assert absent == Absent(stranger.id)


async def test_no_sae_means_the_only_one_and_is_refused_where_there_are_several(filled: Catalogue) -> None:
    (found,) = await filled.get(names(5, sae=""), full=False)
    assert isinstance(found, Feature)
    assert found.sae == SAE
    await import_features(filled, [feature(index, OTHER) for index in range(2)])
    with pytest.raises(InvalidField, match=f"{SAE}, {OTHER}") as caught:
        await filled.get(names(5, sae=""), full=False)
    assert caught.value.field == "keys[0].sae"
    with pytest.raises(InvalidField) as listed:
        await filled.page(replace(EVERY, sae=""))
    assert listed.value.field == "sae"


async def test_ids_of_several_saes_are_found_in_one_call(filled: Catalogue) -> None:
    others = [feature(index, OTHER) for index in range(3)]
    await import_features(filled, others)
    found = await filled.get(by_id(others[2], FEATURES[1], others[0]), full=False)
    assert [(each.sae, each.index) for each in found if isinstance(each, Feature)] == [
        (OTHER, 2),
        (SAE, 1),
        (OTHER, 0),
    ]


async def test_pages_hold_every_feature_once_in_order_of_index(filled: Catalogue) -> None:
    pages = await every_page(filled, EVERY)
    assert [len(page) for page in pages] == [6, 6, 6, 2]
    assert [each.index for page in pages for each in page] == list(range(20))
    exact = await every_page(filled, replace(EVERY, page_size=10))
    assert [len(page) for page in exact] == [10, 10]


async def test_a_list_has_every_class_unless_the_filter_names_some(filled: Catalogue) -> None:
    await filled.upsert(UpsertCall([Upsert(replace(FEATURES[9], feature_class=FeatureClass.DEAD))]))
    pages = await every_page(filled, EVERY)
    assert [each.index for page in pages for each in page] == list(range(20))
    dead = replace(EVERY, filter=FeatureFilter(classes=(FeatureClass.DEAD,)))
    assert [[each.index for each in page] for page in await every_page(filled, dead)] == [[9]]
    layers = replace(EVERY, filter=FeatureFilter(layers=(7,)))
    assert await every_page(filled, layers) == [[]]


async def test_page_tokens_stay_good_whatever_is_written_meanwhile(filled: Catalogue) -> None:
    call = replace(EVERY, filter=FeatureFilter(max_density=0.5))
    first, token = await filled.page(call)
    changed = [replace(FEATURES[index], label=f"new {index}") for index in (1, 8)]
    leaving = replace(FEATURES[7], density=0.75)
    await filled.upsert(UpsertCall([Upsert(each) for each in (*changed, leaving)]))
    newer = [replace(each, description="newer") for each in FEATURES]
    await import_features(filled, newer, "newer")
    rest = [each for page in await every_page(filled, replace(call, page_token=token)) for each in page]
    assert [each.index for each in (*first, *rest)] == list(range(20))
    assert rest[0].description == "newer"


async def test_a_token_is_good_for_its_own_list_alone(filled: Catalogue) -> None:
    _, token = await filled.page(EVERY)
    _, same = await filled.page(replace(EVERY, sae="", page_size=4))
    assert await filled.page(replace(EVERY, page_token=same))  # how much of it does not matter
    for call in (
        replace(EVERY, page_token=token, filter=FeatureFilter(labelled_only=True)),
        replace(EVERY, page_token="zzz"),
        replace(EVERY, page_token=token[:-4]),
        replace(EVERY, page_token="é"),
    ):
        with pytest.raises(InvalidField) as caught:
            await filled.page(call)
        assert caught.value.field == "page_token"


async def test_a_page_of_long_features_ends_before_it_is_too_long_for_a_message(
    filled: Catalogue, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(reading, "MAX_PAGE_BYTES", 8000)
    pages = await every_page(filled, replace(EVERY, full=True, page_size=20))
    assert len(pages) > 2
    assert [each.index for page in pages for each in page] == list(range(20))


async def test_catalogues_come_in_order_of_sae_page_by_page(filled: Catalogue) -> None:
    for sae in (OTHER, "a/first"):
        await import_features(filled, [feature(index, sae) for index in range(2)])
    first, token = await filled.list_catalogs(2, "")
    rest, end = await filled.list_catalogs(2, token)
    assert [each.sae for each in (*first, *rest)] == ["a/first", SAE, OTHER]
    assert end == ""
