"""Features like one, or like the centre of a group."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from services.errors import InvalidField
from services.features.catalogue import Catalogue
from services.features.decoders import REDUCED, stored_directions
from services.features.feature import FeatureClass, FeatureFilter, Hit, Neighbor, Relation
from services.features.requests import BeginCall, Names, NeighborsCall, Upsert, UpsertCall
from tests.features.conftest import Opened
from tests.features.made_features import catalog, decoder, feature, import_features, names

COUNT = 40
FEATURES = [feature(index) for index in range(COUNT)]


@pytest.fixture
async def filled(catalogue: Catalogue) -> Catalogue:
    await import_features(catalogue, FEATURES)
    return catalogue


def like(*indices: int, **changes: object) -> NeighborsCall:
    return replace(
        NeighborsCall(names(*indices), Relation.DECODER, 10, FeatureFilter()),
        **changes,  # type: ignore[arg-type]
    )


def indices(hits: list[Hit]) -> list[int]:
    return [hit.feature.index for hit in hits]


@pytest.mark.parametrize("group", [(3,), (3, 11, 20), tuple(range(0, COUNT, 2))])
async def test_decoder_neighbours_are_those_of_the_groups_centre(
    filled: Catalogue, group: tuple[int, ...]
) -> None:
    directions = np.stack([decoder(index) for index in range(COUNT)])
    directions /= np.linalg.norm(directions, axis=1, keepdims=True)
    centre = directions[list(group)].sum(0)
    cosines = directions @ (centre / np.linalg.norm(centre))
    expected = [int(index) for index in np.argsort(-cosines) if index not in group][:10]
    hits = await filled.neighbors(like(*group))
    assert indices(hits) == expected
    assert [hit.score for hit in hits] == pytest.approx(
        [float(cosines[index]) for index in expected], abs=1e-4
    )


async def test_label_neighbours_have_labels_alike(filled: Catalogue) -> None:
    hits = await filled.neighbors(like(9, relation=Relation.LABEL, top_k=4))
    assert {index % 8 for index in indices(hits)} == {1}
    assert 9 not in indices(hits)


async def test_coactivation_neighbours_are_those_of_the_stored_lists(catalogue: Catalogue) -> None:
    def listed(*pairs: tuple[int, float]) -> dict[str, tuple[Neighbor, ...]]:
        return {"coactivation_neighbors": tuple(Neighbor(*pair) for pair in pairs)}

    features = [
        feature(0, **listed((1, 0.9), (2, 0.8), (3, 0.7))),
        feature(1, **listed((0, 0.9), (3, 0.5), (4, 0.4))),
        *(feature(index, **listed()) for index in (2, 3, 4)),
    ]
    await import_features(catalogue, features)
    call = like(0, 1, relation=Relation.COACTIVATION)
    hits = await catalogue.neighbors(call)
    assert [(hit.feature.index, hit.score) for hit in hits] == [
        (3, pytest.approx(0.6)),
        (2, pytest.approx(0.4)),
        (4, pytest.approx(0.2)),
    ]
    only = await catalogue.neighbors(replace(call, filter=FeatureFilter(min_output_score=0.75)))
    assert indices(only) == [3, 4]
    assert indices(await catalogue.neighbors(replace(call, top_k=1))) == [3]
    assert await catalogue.neighbors(like(2, relation=Relation.COACTIVATION)) == []


async def test_neighbours_are_of_any_class_but_the_dead(catalogue: Catalogue) -> None:
    kinds = {0: FeatureClass.SYNTACTIC, 8: FeatureClass.SYNTACTIC, 16: FeatureClass.DEAD}
    features = [replace(each, feature_class=kinds.get(each.index, each.feature_class)) for each in FEATURES]
    await import_features(catalogue, features)
    hits = await catalogue.neighbors(like(0, top_k=4))
    assert {8, 24, 32} <= set(indices(hits))
    assert 16 not in indices(hits)
    dead = await catalogue.neighbors(like(0, filter=FeatureFilter(classes=(FeatureClass.DEAD,))))
    assert indices(dead) == [16]


async def test_a_filter_counts_before_the_neighbours_are_chosen(filled: Catalogue) -> None:
    hits = await filled.neighbors(like(3, filter=FeatureFilter(min_steerability=0.375), top_k=5))
    assert len(hits) == 5
    assert all((hit.feature.steerability or 0) >= 0.375 for hit in hits)
    assert await filled.neighbors(like(3, filter=FeatureFilter(layers=(9,)))) == []


async def test_a_group_is_of_one_sae(filled: Catalogue) -> None:
    other = [feature(index, "tiny/layer-5") for index in range(2)]
    await import_features(filled, other)
    mixed = Names(ids=(FEATURES[0].id, other[0].id), fields=("ids[0]", "ids[1]"))
    with pytest.raises(InvalidField) as caught:
        await filled.neighbors(like(0, names=mixed))
    assert caught.value.field == "ids[1]"


async def test_what_has_no_direction_has_no_neighbours(catalogue: Catalogue) -> None:
    begun = await catalogue.begin_import(BeginCall(catalog(4), "content", restart=False))
    zero = np.zeros(8, np.float32)
    one = np.eye(8, dtype=np.float32)[0]
    directions = [zero, one, -one, one]
    features = [Upsert(feature(index), direction) for index, direction in enumerate(directions)]
    await catalogue.upsert(UpsertCall(features, begun.import_id))
    await catalogue.commit_import(begun.import_id)
    assert await catalogue.neighbors(like(0)) == []
    assert await catalogue.neighbors(like(1, 2)) == []  # their centre is no direction
    assert indices(await catalogue.neighbors(like(1))) == [3, 2]


async def test_an_import_without_directions_has_neighbours_by_label_alone(catalogue: Catalogue) -> None:
    begun = await catalogue.begin_import(BeginCall(catalog(COUNT), "content", restart=False))
    await catalogue.upsert(UpsertCall([Upsert(each) for each in FEATURES], begun.import_id))
    await catalogue.commit_import(begun.import_id)
    assert await catalogue.neighbors(like(3)) == []
    assert len(await catalogue.neighbors(like(3, relation=Relation.LABEL))) == 10


async def test_wide_directions_are_reduced_and_keep_their_cosines(opened: Opened) -> None:
    wide = np.random.default_rng(0).standard_normal((60, 2304)).astype(np.float32)
    wide[1] = wide[0] + 0.5 * wide[1]
    stored = stored_directions(wide)
    assert stored.shape == (60, REDUCED)

    def cosines(
        rows: np.ndarray[tuple[int, int], np.dtype[np.float32]],
    ) -> np.ndarray[tuple[int, int], np.dtype[np.float32]]:
        unit = rows / np.linalg.norm(rows, axis=1, keepdims=True)
        return unit @ unit.T

    errors = (cosines(stored) - cosines(wide))[np.triu_indices(60, 1)]
    assert errors.std() < 0.05
    assert np.abs(errors).max() < 0.25

    catalogue = opened.catalogue
    begun = await catalogue.begin_import(BeginCall(catalog(60), "content", restart=False))
    features = [Upsert(feature(index), wide[index]) for index in range(60)]
    await catalogue.upsert(UpsertCall(features, begun.import_id))
    await catalogue.commit_import(begun.import_id)
    (hit,) = await catalogue.neighbors(like(0, top_k=1))
    assert hit.feature.index == 1
    assert hit.score == pytest.approx(float(cosines(wide)[0, 1]), abs=0.1)
