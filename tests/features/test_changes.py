"""What people call features: one of two writers wins, nothing is undone by an import, nothing is half done."""

from __future__ import annotations

import asyncio
import uuid
from dataclasses import replace
from pathlib import Path

import pytest

from services.errors import AlreadyExists, DependencyUnavailable, EtagMismatch, NotFound
from services.features.catalogue import Catalogue
from services.features.changes import Changes
from services.features.feature import Feature, SearchMode
from services.features.requests import BeginCall, RevisionsCall, UpdateCall, Upsert, UpsertCall
from tests.features.conftest import Opened, opened_in
from tests.features.made_features import (
    SAE,
    WordEncoder,
    asked,
    catalog,
    feature,
    import_features,
    names,
    shown,
    upserts,
)

FEATURES = [feature(index) for index in range(16)]


@pytest.fixture
async def changed(catalogue: Catalogue) -> Catalogue:
    await import_features(catalogue, FEATURES)
    return catalogue


def update(index: int = 3, **changes: object) -> UpdateCall:
    fields = {"label": "gulls and terns", "description": None, "etag": "", "note": "", "request_id": ""}
    return UpdateCall(names(index), owner="ann", **fields | changes)  # type: ignore[arg-type]


async def test_a_persons_label_is_theirs_and_was_not_tested(changed: Catalogue) -> None:
    before = await shown(changed, 3)
    after = await changed.update(update(etag=before.etag))
    assert after == await shown(changed, 3)
    assert (after.label, after.label_source, after.revision) == ("gulls and terns", "person:ann", 1)
    assert after.label_score is after.label_fuzzing is after.label_null is None
    assert after.etag != before.etag
    kept = replace(
        after,
        label=before.label,
        label_source=before.label_source,
        label_score=before.label_score,
        label_fuzzing=before.label_fuzzing,
        label_null=before.label_null,
        revision=0,
        etag=before.etag,
        updated=before.updated,
    )
    assert kept == before


async def test_a_description_alone_leaves_the_label_and_its_test(changed: Catalogue) -> None:
    after = await changed.update(update(label=None, description="seabirds"))
    assert (after.label, after.label_source, after.label_score) == (FEATURES[3].label, "offline", 0.75)
    assert (after.description, after.revision) == ("seabirds", 1)


async def test_a_new_label_is_found_by_meaning_and_word_and_the_old_one_is_not(changed: Catalogue) -> None:
    await changed.update(update())
    for mode in (SearchMode.LABEL, SearchMode.LEXICAL):
        (hit,) = await changed.search(asked("gulls terns", mode, top_k=1))
        assert hit.feature.index == 3
    hits = await changed.search(asked(FEATURES[3].label, SearchMode.LABEL, top_k=1))
    assert hits[0].feature.index != 3


async def test_of_writers_with_one_etag_exactly_one_wins(changed: Catalogue) -> None:
    etag = (await shown(changed, 3)).etag
    calls = [update(label=f"label {number}", etag=etag) for number in range(8)]
    done = await asyncio.gather(*map(changed.update, calls), return_exceptions=True)
    won = [each for each in done if isinstance(each, Feature)]
    assert len(won) == 1
    assert all(isinstance(each, EtagMismatch) and each.field == "etag" for each in done if each not in won)
    assert await shown(changed, 3) == won[0]
    assert won[0].revision == 1


async def test_of_writers_in_two_processes_with_one_etag_exactly_one_wins(opened: Opened) -> None:
    await import_features(opened.catalogue, FEATURES)
    # What two processes share is the store and the database.
    other = Catalogue(opened.store, opened.revisions, opened.embedding)
    for turn in range(5):
        etag = (await shown(other, 3)).etag
        calls = [
            each.update(update(label=f"{turn} {n}", etag=etag))
            for n, each in enumerate((opened.catalogue, other))
        ]
        done = await asyncio.gather(*calls, return_exceptions=True)
        (won,) = [each for each in done if isinstance(each, Feature)]
        assert isinstance(done[1 - done.index(won)], EtagMismatch)
        assert await shown(other, 3) == won


async def test_the_same_request_twice_changes_the_feature_once(changed: Catalogue) -> None:
    request_id = str(uuid.uuid4())
    etag = (await shown(changed, 3)).etag
    first = await changed.update(update(etag=etag, request_id=request_id))
    assert await changed.update(update(etag=etag, request_id=request_id)) == first
    later = await changed.update(update(label="gannets"))
    assert later.revision == 2
    assert await changed.update(update(etag=etag, request_id=request_id)) == later
    with pytest.raises(AlreadyExists) as caught:
        await changed.update(update(label="another", request_id=request_id))
    assert caught.value.field == "request_id"
    assert (await shown(changed, 3)).label == "gannets"


async def test_an_old_etag_is_refused_and_the_new_one_told(changed: Catalogue) -> None:
    old = (await shown(changed, 3)).etag
    now = (await changed.update(update())).etag
    with pytest.raises(EtagMismatch, match=now):
        await changed.update(update(label="late", etag=old))
    assert (await shown(changed, 3)).label == "gulls and terns"


async def test_an_import_does_not_undo_what_people_said(changed: Catalogue) -> None:
    await changed.update(update())
    await changed.update(update(index=5, label=None, description="by hand"))
    newer = [replace(each, label=f"new {each.index}", density=0.5) for each in FEATURES]
    await import_features(changed, newer, "newer")
    kept = await shown(changed, 3)
    assert (kept.label, kept.label_source, kept.label_score) == ("gulls and terns", "person:ann", None)
    assert (kept.density, kept.revision) == (0.5, 1)
    assert (await shown(changed, 5)).description == "by hand"
    assert (await shown(changed, 4)).label == "new 4"
    await changed.upsert(UpsertCall([Upsert(replace(FEATURES[3], density=0.25))]))
    kept = await shown(changed, 3)
    assert (kept.label, kept.density, kept.revision) == ("gulls and terns", 0.25, 1)


async def test_a_change_between_the_last_upsert_and_the_commit_is_in_what_is_shown(
    changed: Catalogue,
) -> None:

    begun = await changed.begin_import(BeginCall(catalog(16), "newer", restart=False))
    await changed.upsert(UpsertCall(upserts(FEATURES), begun.import_id))
    await changed.update(update())
    await changed.commit_import(begun.import_id)
    assert (await shown(changed, 3)).label == "gulls and terns"
    (hit,) = await changed.search(asked("gulls terns", SearchMode.LABEL, top_k=1))
    assert hit.feature.index == 3


async def test_what_people_said_survives_the_deletion_of_the_catalogue(changed: Catalogue) -> None:
    await changed.update(update())
    await changed.delete(SAE)
    await import_features(changed, FEATURES)
    assert (await shown(changed, 3)).label == "gulls and terns"


async def test_a_change_that_was_decided_but_not_shown_is_shown_after_a_restart(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    encoder = WordEncoder()
    async with opened_in(tmp_path, encoder.load) as before:
        await import_features(before.catalogue, FEATURES)

        async def killed(*_: object) -> Feature:
            raise DependencyUnavailable("the vector store", "the process is gone")

        with monkeypatch.context() as patched:
            patched.setattr(Changes, "_show", killed)
            with pytest.raises(DependencyUnavailable):
                await before.catalogue.update(update())
        assert (await shown(before.catalogue, 3)).label == FEATURES[3].label
    async with opened_in(tmp_path, encoder.load) as after:
        await after.catalogue.catch_up()
        assert (await shown(after.catalogue, 3)).label == "gulls and terns"
        (hit,) = await after.catalogue.search(asked("gulls terns", SearchMode.LABEL, top_k=1))
        assert hit.feature.index == 3
        assert not after.catalogue.changes.behind


async def test_a_change_goes_to_its_end_where_the_caller_leaves(changed: Catalogue) -> None:
    task = asyncio.create_task(changed.update(update()))
    await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    # The next one waits its turn behind it.
    after = await changed.update(update(label=None, description="next"))
    assert (after.label, after.revision) == ("gulls and terns", 2)


async def test_the_history_is_newest_first_page_by_page(changed: Catalogue) -> None:
    for number in range(5):
        await changed.update(update(label=f"label {number}", note=f"because {number}"))
    first, token = await changed.revisions(RevisionsCall(names(3), 2, ""))
    await changed.update(update(label="label 5"))
    rest, end = await changed.revisions(RevisionsCall(names(3), 100, token))
    assert [each.label for each in (*first, *rest)] == [f"label {number}" for number in (4, 3, 2, 1, 0)]
    assert rest[-1].previous_label == FEATURES[3].label
    assert (first[0].note, first[0].owner, end) == ("because 4", "ann", "")
    assert await changed.revisions(RevisionsCall(names(4), 100, "")) == ([], "")


async def test_a_feature_that_is_not_there_cannot_be_changed(changed: Catalogue) -> None:
    with pytest.raises(NotFound):
        await changed.update(replace(update(), names=names(3, sae="no/such")))
