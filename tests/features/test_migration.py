"""Another sentence encoder: the catalogue is made anew by itself and serves by words meanwhile."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from pathlib import Path

import pytest

from services.errors import DependencyUnavailable
from services.features.feature import Feature, FeatureFilter, Relation, SearchMode
from services.features.requests import NeighborsCall, Upsert, UpsertCall
from tests.features.conftest import Opened, opened_in
from tests.features.made_features import WordEncoder, asked, feature, import_features, names, shown
from tests.features.test_changes import update

FEATURES = [feature(index) for index in range(40)]
NEW = WordEncoder("words@2", width=48)


async def imported(folder: Path) -> list[Feature]:
    """What an older encoder made of the features."""
    async with opened_in(folder, WordEncoder().load) as before:
        await import_features(before.catalogue, FEATURES)
        return [await shown(before.catalogue, index) for index in range(40)]


async def test_the_old_features_serve_by_words_until_the_new_ones_are_there(tmp_path: Path) -> None:
    before = await imported(tmp_path)
    async with opened_in(tmp_path, NEW.load) as opened:
        catalogue = opened.catalogue
        for mode in (SearchMode.LABEL, SearchMode.CONTEXT):
            with pytest.raises(DependencyUnavailable) as caught:
                await catalogue.search(asked("baking bread", mode))
            assert caught.value.retry_after
        hits = await catalogue.search(asked("baking bread"))
        assert hits[0].feature.index % 8 == 1
        assert all(hit.label_similarity is None and hit.lexical_score for hit in hits)
        assert await shown(catalogue, 7) == before[7]
        with pytest.raises(DependencyUnavailable):
            await catalogue.upsert(UpsertCall([Upsert(FEATURES[0])]))

        await catalogue.migration.run()
        (catalog,), _ = await catalogue.list_catalogs(100, "")
        assert catalog.encoder == "words@2"
        assert [await shown(catalogue, index) for index in range(40)] == before
        (hit,) = await catalogue.search(asked("baking bread", SearchMode.LABEL, top_k=1))
        assert hit.label_similarity == pytest.approx(1, abs=1e-5)
        neighbors = NeighborsCall(names(3), Relation.DECODER, 4, FeatureFilter())
        assert {hit.feature.index % 8 for hit in await catalogue.neighbors(neighbors)} == {3}
        assert len(await opened.store.collections()) == 1


async def test_what_people_change_meanwhile_is_in_the_new_features(tmp_path: Path) -> None:
    await imported(tmp_path)
    async with opened_in(tmp_path, NEW.load) as opened:
        catalogue = opened.catalogue
        changed = await catalogue.update(update())
        assert changed.label == "gulls and terns"
        (hit,) = await catalogue.search(asked("gulls", top_k=1))
        assert hit.feature.index == 3
        migrating = asyncio.create_task(catalogue.migration.run())
        others = [await catalogue.update(update(index=index, label=f"zebra {index}")) for index in (5, 39)]
        await migrating
        assert await shown(catalogue, 3) == changed
        assert [await shown(catalogue, each.index) for each in others] == others
        hits = await catalogue.search(asked("zebra 39", SearchMode.LABEL, top_k=1))
        assert hits[0].feature.index == 39


async def test_a_rebuild_that_was_broken_off_goes_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    await imported(tmp_path)
    monkeypatch.setattr("services.features.migration.PAGE", 8)
    async with opened_in(tmp_path, NEW.load) as opened:
        upsert, calls = opened.store.upsert, 0

        async def broken_off(*arguments: object) -> None:
            nonlocal calls
            calls += 1
            if calls > 3:
                raise asyncio.CancelledError
            await upsert(*arguments)  # type: ignore[arg-type]

        monkeypatch.setattr(opened.store, "upsert", broken_off)
        with pytest.raises(asyncio.CancelledError):
            await opened.catalogue.migration.run()
    NEW.calls.clear()
    async with opened_in(tmp_path, NEW.load) as opened:
        await opened.catalogue.migration.run()
        (catalog,), _ = await opened.catalogue.list_catalogs(100, "")
        assert catalog.encoder == "words@2"
        # Two pages of eight were there; the third one's texts were in the cache.
        encoded = {text for call in NEW.calls for text in call}
        assert not encoded & {each.label for each in FEATURES[:24]}
        assert {each.label for each in FEATURES[24:]} <= encoded


async def test_an_import_that_is_shown_meanwhile_stays(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    await imported(tmp_path)
    async with opened_in(tmp_path, NEW.load) as opened:
        optimize = opened.store.optimize
        newer = [replace(each, description="newer") for each in FEATURES]

        async def meanwhile(collection: str) -> None:
            monkeypatch.setattr(opened.store, "optimize", optimize)
            await import_features(opened.catalogue, newer, "newer")
            await optimize(collection)

        monkeypatch.setattr(opened.store, "optimize", meanwhile)
        await opened.catalogue.migration.run()
        assert (await shown(opened.catalogue, 3)).description == "newer"
        assert await _current(opened)


async def test_what_is_current_is_left_alone(tmp_path: Path) -> None:
    await imported(tmp_path)
    async with opened_in(tmp_path, WordEncoder().load) as opened:
        before = await opened.store.collections()
        await opened.catalogue.migration.run()
        assert await opened.store.collections() == before


async def _current(opened: Opened) -> bool:
    (catalog,), _ = await opened.catalogue.list_catalogs(100, "")
    return catalog.encoder == opened.embedding.identity
