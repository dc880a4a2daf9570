"""What people changed of features, on SQLite and on PostgreSQL."""

from __future__ import annotations

import asyncio
import dataclasses
import uuid
from datetime import UTC, datetime

import pytest

from services.database.database import Database
from services.errors import AlreadyExists
from services.features.revisions import Change, Revision, RevisionMismatch, Revisions

PARROTS = Change(
    sae="sae/a",
    index=4_000_000_000,
    label="parrots",
    description=None,
    shown_label="birds",
    shown_description="fires on birds",
    owner="ann",
    note="only on parrots",
)


@pytest.fixture
def revisions(database: Database) -> Revisions:
    return Revisions(database)


async def test_the_first_change_keeps_what_it_does_not_name_as_it_was_shown(revisions: Revisions) -> None:
    before = datetime.now(UTC)
    made = await revisions.append(PARROTS)
    assert before <= made.created <= datetime.now(UTC)
    assert made == Revision(
        sae="sae/a",
        index=4_000_000_000,
        revision=1,
        label="parrots",
        description="fires on birds",
        previous_label="birds",
        owner="ann",
        note="only on parrots",
        created=made.created,
    )


async def test_later_changes_build_on_earlier_ones_whatever_the_caller_saw(revisions: Revisions) -> None:
    await revisions.append(PARROTS)
    # Bob's catalogue still shows the imported label.
    made = await revisions.append(
        dataclasses.replace(PARROTS, owner="bob", label=None, description="parrots, macaws")
    )
    assert (made.revision, made.label, made.description) == (2, "parrots", "parrots, macaws")
    assert made.previous_label == "parrots"


async def test_an_unexpected_revision_is_refused(revisions: Revisions) -> None:
    with pytest.raises(RevisionMismatch) as refused:
        await revisions.append(dataclasses.replace(PARROTS, expected=1))
    assert refused.value.latest == 0
    await revisions.append(dataclasses.replace(PARROTS, expected=0))
    await revisions.append(dataclasses.replace(PARROTS, expected=1))
    with pytest.raises(RevisionMismatch) as refused:
        await revisions.append(dataclasses.replace(PARROTS, expected=1))
    assert refused.value.latest == 2


async def test_of_changes_that_expect_the_same_exactly_one_is_made(revisions: Revisions) -> None:
    tried = await asyncio.gather(
        *(revisions.append(dataclasses.replace(PARROTS, label=f"l{n}", expected=0)) for n in range(8)),
        return_exceptions=True,
    )
    won = [one for one in tried if isinstance(one, Revision)]
    assert len(won) == 1
    assert sum(isinstance(one, RevisionMismatch) for one in tried) == 7
    history, _ = await revisions.history(PARROTS.sae, PARROTS.index, 10)
    assert history == won


async def test_changes_that_expect_nothing_are_all_made(revisions: Revisions) -> None:
    made = await asyncio.gather(
        *(revisions.append(dataclasses.replace(PARROTS, label=f"l{n}")) for n in range(4))
    )
    assert sorted(one.revision for one in made) == [1, 2, 3, 4]
    by_number = sorted(made, key=lambda one: one.revision)
    assert [one.previous_label for one in by_number] == ["birds", *(one.label for one in by_number[:-1])]


async def test_a_repeated_request_changes_once(revisions: Revisions) -> None:
    asked = dataclasses.replace(PARROTS, expected=0, request_id=str(uuid.uuid4()))
    made = await revisions.append(asked)
    await revisions.append(dataclasses.replace(PARROTS, label="later"))
    assert await revisions.append(asked) == made
    assert await revisions.append(dataclasses.replace(asked, expected=-1)) == made  # it came with an old etag
    with pytest.raises(AlreadyExists):
        await revisions.append(dataclasses.replace(asked, label="another"))
    assert (await revisions.append(dataclasses.replace(asked, owner="bob", expected=2))).revision == 3


async def test_repeated_requests_that_race_change_once(revisions: Revisions) -> None:
    asked = dataclasses.replace(PARROTS, request_id=str(uuid.uuid4()))
    made = await asyncio.gather(*(revisions.append(asked) for _ in range(8)))
    assert len(set(made)) == 1
    assert made[0].revision == 1


async def _changed(revisions: Revisions, sae: str, index: int, *labels: str) -> None:
    for label in labels:
        await revisions.append(dataclasses.replace(PARROTS, sae=sae, index=index, label=label))


async def test_the_latest_of_many_features_come_at_once(revisions: Revisions) -> None:
    await _changed(revisions, "a", 5, "five", "five again")
    await _changed(revisions, "a", 2500, "far")
    await _changed(revisions, "b", 6, "another SAE's")
    found = await revisions.latest("a", range(3000))
    assert {index: (one.index, one.revision, one.label) for index, one in found.items()} == {
        5: (5, 2, "five again"),
        2500: (2500, 1, "far"),
    }
    assert await revisions.latest("a", []) == {}
    assert await revisions.latest("c", [5]) == {}


async def test_all_of_an_sae_come_in_order_of_index(
    revisions: Revisions, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("services.features.revisions._BATCH", 2)
    for index in (9, 0, 4, 7, 2):
        await _changed(revisions, "a", index, "old", f"label {index}")
    await _changed(revisions, "b", 3, "another SAE's")
    found = [(one.index, one.label) async for one in revisions.all_latest("a")]
    assert found == [(index, f"label {index}") for index in (0, 2, 4, 7, 9)]
    assert [one async for one in revisions.all_latest("none")] == []


async def test_history_comes_newest_first_and_pages_stay_the_same(revisions: Revisions) -> None:
    await _changed(revisions, "a", 1, "1", "2", "3", "4", "5")
    first, before = await revisions.history("a", 1, 2)
    await _changed(revisions, "a", 1, "6")
    second, before = await revisions.history("a", 1, 2, before)
    third, end = await revisions.history("a", 1, 2, before)
    assert [[one.label for one in page] for page in (first, second, third)] == [["5", "4"], ["3", "2"], ["1"]]
    assert end is None
    assert await revisions.history("a", 2, 2) == ([], None)
