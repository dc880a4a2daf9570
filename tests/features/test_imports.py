"""Imports: resumed after any end, shown whole or not at all."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from services.errors import ImportIncomplete, NotFound
from services.features.catalogs import alias_of
from services.features.catalogue import Catalogue
from services.features.requests import BeginCall, Begun, Upsert, UpsertCall
from services.features.texts import context_text, label_text, text_digest
from tests.features.conftest import Opened, opened_in
from tests.features.made_features import (
    SAE,
    WIDTH,
    WordEncoder,
    asked,
    catalog,
    decoder,
    feature,
    import_features,
    names,
    shown,
    upserts,
)

FEATURES = [feature(index) for index in range(24)]


async def begin(
    catalogue: Catalogue, count: int = 24, digest: str = "content", restart: bool = False
) -> Begun:
    return await catalogue.begin_import(BeginCall(catalog(count), digest, restart))


async def test_nothing_of_an_import_is_visible_until_it_is_committed(catalogue: Catalogue) -> None:
    begun = await begin(catalogue)
    await catalogue.upsert(UpsertCall(upserts(FEATURES), begun.import_id))
    assert await catalogue.list_catalogs(100, "") == ([], "")
    assert await catalogue.search(asked("sea")) == []
    with pytest.raises(NotFound):
        await catalogue.get(names(0), full=False)
    committed = await catalogue.commit_import(begun.import_id)
    assert await catalogue.list_catalogs(100, "") == ([committed], "")
    assert (await shown(catalogue, 0)).label == FEATURES[0].label
    assert len(await catalogue.search(asked("sea"))) == 10


async def test_what_was_imported_comes_back_whole(catalogue: Catalogue) -> None:
    await import_features(catalogue, FEATURES)
    for index in (0, 9, 23):
        found = await shown(catalogue, index)
        assert found.etag
        assert found.updated is not None
        assert replace(found, etag="", updated=None) == FEATURES[index]


async def test_an_incomplete_import_is_refused_and_says_where_to_go_on(catalogue: Catalogue) -> None:
    begun = await begin(catalogue)
    with pytest.raises(ImportIncomplete, match="24 of 24 features are missing, the first of them 0"):
        await catalogue.commit_import(begun.import_id)
    done = await catalogue.upsert(UpsertCall(upserts(FEATURES[:8]), begun.import_id))
    assert (done.created, done.updated, done.next_index) == (8, 0, 8)
    done = await catalogue.upsert(UpsertCall(upserts(FEATURES[10:24]), begun.import_id))
    assert (done.created, done.updated, done.next_index) == (14, 0, 8)
    with pytest.raises(ImportIncomplete, match="2 of 24 features are missing, the first of them 8"):
        await catalogue.commit_import(begun.import_id)
    done = await catalogue.upsert(UpsertCall(upserts(FEATURES[7:10]), begun.import_id))
    assert (done.created, done.updated, done.next_index) == (2, 1, 24)
    assert (await catalogue.commit_import(begun.import_id)).feature_count == 24


async def test_an_import_goes_on_after_a_restart_from_what_was_acknowledged(tmp_path: Path) -> None:
    encoder = WordEncoder()
    async with opened_in(tmp_path, encoder.load) as before:
        begun = await begin(before.catalogue)
        assert (begun.next_index, begun.complete, begun.encoder) == (0, False, "words@1")
        await before.catalogue.upsert(UpsertCall(upserts(FEATURES[:10]), begun.import_id))
        await before.catalogue.upsert(UpsertCall(upserts(FEATURES[12:20]), begun.import_id))
    async with opened_in(tmp_path, encoder.load) as after:
        again = await begin(after.catalogue)
        assert again.next_index == 10
        done = await after.catalogue.upsert(UpsertCall(upserts(FEATURES[10:12]), again.import_id))
        assert done.next_index == 20
        # The name that the import had before goes on too.
        done = await after.catalogue.upsert(UpsertCall(upserts(FEATURES[20:]), begun.import_id))
        assert done.next_index == 24
        await after.catalogue.commit_import(begun.import_id)
        assert (await shown(after.catalogue, 23)).label == FEATURES[23].label


async def test_the_same_content_again_is_complete_and_other_content_replaces_it_at_once(
    opened: Opened,
) -> None:
    catalogue = opened.catalogue
    first = await import_features(catalogue, FEATURES)
    again = await begin(catalogue)
    assert again.complete
    assert (again.import_id, again.next_index) == ("", 24)
    changed = [replace(each, label=f"new {each.index}") for each in FEATURES]
    begun = await begin(catalogue, digest="other")
    assert not begun.complete
    for start in range(0, 24, 8):
        await catalogue.upsert(UpsertCall(upserts(changed[start : start + 8]), begun.import_id))
        assert (await shown(catalogue, 3)).label == FEATURES[3].label
    second = await catalogue.commit_import(begun.import_id)
    assert (await shown(catalogue, 3)).label == "new 3"
    assert first.imported is not None
    assert second.imported is not None
    assert second.imported > first.imported
    assert len(await opened.store.collections()) == 1


async def test_the_same_content_is_imported_anew_where_a_restart_is_asked_for(opened: Opened) -> None:
    catalogue = opened.catalogue
    await import_features(catalogue, FEATURES)
    begun = await begin(catalogue, restart=True)
    assert (begun.complete, begun.next_index) == (False, 0)
    await catalogue.upsert(UpsertCall(upserts(FEATURES[:4]), begun.import_id))
    begun = await begin(catalogue, restart=True)
    assert begun.next_index == 0
    assert (await shown(catalogue, 20)).label == FEATURES[20].label
    await catalogue.upsert(UpsertCall(upserts(FEATURES), begun.import_id))
    await catalogue.commit_import(begun.import_id)
    assert (await shown(catalogue, 20)).label == FEATURES[20].label
    assert len(await opened.store.collections()) == 1


async def test_committing_twice_is_as_once_also_at_the_same_time(catalogue: Catalogue) -> None:
    begun = await begin(catalogue)
    await catalogue.upsert(UpsertCall(upserts(FEATURES), begun.import_id))
    first, second = await asyncio.gather(*(catalogue.commit_import(begun.import_id) for _ in range(2)))
    assert replace(first, imported=None) == replace(second, imported=None)
    third = await catalogue.commit_import(begun.import_id)
    assert third in (first, second)
    assert (await shown(catalogue, 5)).label == FEATURES[5].label


async def test_a_commit_goes_to_its_end_where_the_caller_leaves(
    opened: Opened, monkeypatch: pytest.MonkeyPatch
) -> None:
    catalogue = opened.catalogue
    begun = await begin(catalogue)
    await catalogue.upsert(UpsertCall(upserts(FEATURES), begun.import_id))
    optimize, calls, go_on = opened.store.optimize, 0, asyncio.Event()

    async def slow(collection: str) -> None:
        nonlocal calls
        calls += 1
        await go_on.wait()
        await optimize(collection)

    monkeypatch.setattr(opened.store, "optimize", slow)
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.05):
            await catalogue.commit_import(begun.import_id)
    again = asyncio.create_task(catalogue.commit_import(begun.import_id))
    go_on.set()
    assert (await again).feature_count == 24
    assert calls == 1
    assert (await shown(catalogue, 5)).label == FEATURES[5].label


async def test_of_two_imports_committed_together_one_is_shown_whole(opened: Opened) -> None:
    catalogue = opened.catalogue
    begun = {}
    for digest in ("one", "two"):
        begun[digest] = await begin(catalogue, digest=digest)
        features = [replace(each, description=digest) for each in FEATURES]
        await catalogue.upsert(UpsertCall(upserts(features), begun[digest].import_id))
    await asyncio.gather(*(catalogue.commit_import(each.import_id) for each in begun.values()))
    descriptions = {(await shown(catalogue, index)).description for index in range(24)}
    assert descriptions in ({"one"}, {"two"})


async def test_what_an_import_left_behind_goes_when_another_is_shown(opened: Opened) -> None:
    catalogue = opened.catalogue
    for digest in ("abandoned", "abandoned too"):
        begun = await begin(catalogue, digest=digest)
        await catalogue.upsert(UpsertCall(upserts(FEATURES[:8]), begun.import_id))
        # As after a restart: nobody in this process has written to it.
        for collection in await opened.store.collections():
            catalogue.imports.fillings.forget(collection)
    await import_features(catalogue, FEATURES)
    assert len(await opened.store.collections()) == 1


async def test_an_import_whose_collection_is_gone_says_so(catalogue: Catalogue) -> None:
    begun = await begin(catalogue)
    await catalogue.upsert(UpsertCall(upserts(FEATURES[:8]), begun.import_id))
    begun = await begin(catalogue)
    await catalogue.delete(SAE)
    for work in (
        catalogue.upsert(UpsertCall(upserts(FEATURES[8:]), begun.import_id)),
        catalogue.commit_import("no import"),
        catalogue.commit_import("bm8gaW1wb3J0"),
    ):
        with pytest.raises(NotFound) as caught:
            await work
        assert caught.value.field == "import_id"


async def test_deleting_removes_what_is_shown_and_what_is_being_imported(opened: Opened) -> None:
    catalogue = opened.catalogue
    await import_features(catalogue, FEATURES)
    begun = await begin(catalogue, digest="other")
    await catalogue.upsert(UpsertCall(upserts(FEATURES), begun.import_id))
    await catalogue.delete(SAE)
    assert await opened.store.collections() == []
    assert alias_of(SAE) not in await opened.store.aliases()
    with pytest.raises(NotFound) as caught:
        await catalogue.delete(SAE)
    assert caught.value.field == "sae"


async def test_vectors_made_beforehand_are_taken_only_where_they_can_be_the_encoders(
    tmp_path: Path,
) -> None:
    encoder = WordEncoder()
    one = feature(0)
    given = np.zeros(WIDTH, np.float32)
    given[0] = 1.0
    digests = {text_digest(label_text(one)): given, text_digest(context_text(one)): given}
    cases = {
        "taken": ("words@1", digests, []),
        "another encoder's": ("other@1", digests, [label_text(one), context_text(one)]),
        "too long": ("words@1", {d: 2 * v for d, v in digests.items()}, [label_text(one), context_text(one)]),
        "of another width": (
            "words@1",
            {d: v[:-1] for d, v in digests.items()},
            [label_text(one), context_text(one)],
        ),
    }
    for name, (made_with, vectors, encoded) in cases.items():
        async with opened_in(tmp_path / name, encoder.load) as opened:
            begun = await begin(opened.catalogue, 2)
            encoder.calls.clear()
            call = UpsertCall([Upsert(one, decoder(0))], begun.import_id, made_with, vectors)
            await opened.catalogue.upsert(call)
            assert sorted(text for call in encoder.calls for text in call) == sorted(encoded), name


async def test_a_text_is_encoded_once_for_all_imports(opened: Opened, encoder: WordEncoder) -> None:
    await import_features(opened.catalogue, FEATURES)
    encoder.calls.clear()
    await import_features(opened.catalogue, FEATURES, "other content")
    assert encoder.calls == []
