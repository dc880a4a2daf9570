"""Saved variants, on SQLite and on PostgreSQL."""

from __future__ import annotations

import asyncio
import base64
import dataclasses
import uuid

import pytest

from services.database.database import Database
from services.database.settings import DatabaseSettings
from services.errors import AlreadyExists, EtagMismatch, InvalidField, NotFound
from services.features import variant_pages
from services.features.variants import Variant, VariantChange, VariantContent, Variants

PIRATE = VariantContent("pirate", "talks like one", "some/model", b"\x00\xffsteering")


@pytest.fixture
def variants(database: Database) -> Variants:
    return Variants(database)


def named(name: str) -> VariantContent:
    return dataclasses.replace(PIRATE, name=name)


async def test_what_was_created_is_found_by_id_and_by_name(variants: Variants) -> None:
    made = await variants.create("ann", PIRATE)
    assert made.content == PIRATE
    assert made.created == made.updated
    assert made.created.utcoffset() is not None
    assert made.deleted is None
    assert await variants.get("ann", made.id) == made
    assert await variants.by_name("ann", "pirate") == made


async def test_any_text_comes_back_as_it_was(variants: Variants) -> None:
    strange = VariantContent(
        "'; DROP TABLE variants; --%s", "é\n\t🦜\u2028", 'a\\b"', bytes(range(256)) * 400
    )
    made = await variants.create("o'ann", strange)
    assert (await variants.get("o'ann", made.id)).content == strange


async def test_owners_do_not_see_each_other(variants: Variants) -> None:
    made = await variants.create("ann", PIRATE)
    with pytest.raises(NotFound):
        await variants.get("bob", made.id)
    with pytest.raises(NotFound):
        await variants.by_name("bob", "pirate")
    with pytest.raises(NotFound):
        await variants.update("bob", made.id, VariantChange(name="mine"))
    with pytest.raises(NotFound):
        await variants.delete("bob", made.id)
    with pytest.raises(NotFound):
        await variants.undelete("bob", made.id)
    assert await variants.page("bob", 10) == ([], "")
    assert (await variants.create("bob", PIRATE)).id != made.id
    assert await variants.get("ann", made.id) == made


async def test_a_name_is_taken_once_among_those_not_deleted(variants: Variants) -> None:
    first = await variants.create("ann", PIRATE)
    other = await variants.create("ann", named("Pirate"))  # names that differ are different
    with pytest.raises(AlreadyExists) as taken:
        await variants.create("ann", PIRATE)
    assert taken.value.field == "variant.name"
    with pytest.raises(AlreadyExists):
        await variants.update("ann", other.id, VariantChange(name="pirate"))
    await variants.delete("ann", first.id)
    second = await variants.create("ann", PIRATE)
    assert second.id != first.id
    with pytest.raises(AlreadyExists):
        await variants.undelete("ann", first.id)
    await variants.update("ann", second.id, VariantChange(name="captain"))
    assert (await variants.undelete("ann", first.id)).content.name == "pirate"


async def test_a_repeated_request_creates_once(variants: Variants) -> None:
    request = str(uuid.uuid4())
    made = await variants.create("ann", PIRATE, request)
    assert await variants.create("ann", PIRATE, request) == made
    with pytest.raises(AlreadyExists) as refused:
        await variants.create("ann", named("captain"), request)
    assert refused.value.field == "request_id"
    assert (await variants.create("bob", PIRATE, request)).id != made.id  # another owner's id is another id
    changed = await variants.update("ann", made.id, VariantChange(name="captain"))
    assert await variants.create("ann", PIRATE, request) == changed
    deleted = await variants.delete("ann", made.id)
    assert await variants.create("ann", PIRATE, request) == deleted


async def test_repeated_requests_that_race_create_once(variants: Variants) -> None:
    request = str(uuid.uuid4())
    made = await asyncio.gather(*(variants.create("ann", PIRATE, request) for _ in range(8)))
    assert len({variant.id for variant in made}) == 1
    assert len((await variants.page("ann", 10))[0]) == 1


async def test_of_creations_that_race_for_a_name_one_wins(variants: Variants) -> None:
    tried = await asyncio.gather(*(variants.create("ann", PIRATE) for _ in range(8)), return_exceptions=True)
    assert sum(isinstance(one, Variant) for one in tried) == 1
    assert sum(isinstance(one, AlreadyExists) for one in tried) == 7


async def test_a_change_leaves_what_it_does_not_name(variants: Variants) -> None:
    made = await variants.create("ann", PIRATE)
    changed = await variants.update("ann", made.id, VariantChange(description="", steering=b""), made.etag)
    assert changed.content == dataclasses.replace(PIRATE, description="", steering=b"")
    assert changed.etag != made.etag
    assert changed.updated > made.updated
    assert changed.created == made.created
    assert await variants.get("ann", made.id) == changed
    same_name = await variants.update("ann", made.id, VariantChange(name="pirate"))
    assert same_name.content == changed.content


async def test_a_stale_etag_is_refused_and_none_overwrites(variants: Variants) -> None:
    made = await variants.create("ann", PIRATE)
    changed = await variants.update("ann", made.id, VariantChange(model="x"), made.etag)
    with pytest.raises(EtagMismatch, match=changed.etag):
        await variants.update("ann", made.id, VariantChange(model="y"), made.etag)
    with pytest.raises(EtagMismatch):
        await variants.delete("ann", made.id, made.etag)
    assert (await variants.get("ann", made.id)) == changed
    assert (await variants.update("ann", made.id, VariantChange(model="z"))).content.model == "z"


async def test_of_writers_with_one_etag_exactly_one_wins(variants: Variants) -> None:
    made = await variants.create("ann", PIRATE)
    tried = await asyncio.gather(
        *(variants.update("ann", made.id, VariantChange(model=f"m{n}"), made.etag) for n in range(8)),
        return_exceptions=True,
    )
    won = [one for one in tried if isinstance(one, Variant)]
    assert len(won) == 1
    assert sum(isinstance(one, EtagMismatch) for one in tried) == 7
    assert await variants.get("ann", made.id) == won[0]


async def test_a_repeated_change_happens_once(variants: Variants) -> None:
    made = await variants.create("ann", PIRATE)
    request = str(uuid.uuid4())
    change = VariantChange(model="x")
    changed = await variants.update("ann", made.id, change, made.etag, request)
    assert await variants.update("ann", made.id, change, made.etag, request) == changed
    later = await variants.update("ann", made.id, VariantChange(model="y"))
    assert await variants.update("ann", made.id, change, made.etag, request) == later
    with pytest.raises(AlreadyExists):
        await variants.update("ann", made.id, VariantChange(model="z"), made.etag, request)
    with pytest.raises(AlreadyExists):
        await variants.create("ann", named("other"), request)


async def test_a_refused_change_does_not_use_up_its_request_id(variants: Variants) -> None:
    made = await variants.create("ann", PIRATE)
    request = str(uuid.uuid4())
    with pytest.raises(EtagMismatch):
        await variants.update("ann", made.id, VariantChange(model="x"), "stale", request)
    changed = await variants.update("ann", made.id, VariantChange(model="x"), made.etag, request)
    assert changed.content.model == "x"


async def test_deletion_is_undone_by_undeleting(variants: Variants) -> None:
    made = await variants.create("ann", PIRATE)
    deleted = await variants.delete("ann", made.id, made.etag)
    assert deleted.deleted is not None
    assert deleted.etag != made.etag
    assert await variants.get("ann", made.id) == deleted
    with pytest.raises(NotFound):
        await variants.by_name("ann", "pirate")
    with pytest.raises(NotFound, match="deleted"):
        await variants.update("ann", made.id, VariantChange(model="x"))
    back = await variants.undelete("ann", made.id)
    assert back.deleted is None
    assert back.content == PIRATE
    assert len({made.etag, deleted.etag, back.etag}) == 3
    assert await variants.undelete("ann", made.id) == back


async def test_a_repeated_deletion_is_as_once(variants: Variants) -> None:
    made = await variants.create("ann", PIRATE)
    deleted = await variants.delete("ann", made.id, made.etag)
    assert await variants.delete("ann", made.id, made.etag) == deleted  # its answer may have been lost
    assert await variants.delete("ann", made.id, deleted.etag) == deleted
    assert await variants.delete("ann", made.id) == deleted
    with pytest.raises(EtagMismatch):
        await variants.delete("ann", made.id, "another")
    back = await variants.undelete("ann", made.id)
    with pytest.raises(EtagMismatch):
        await variants.delete("ann", made.id, made.etag)
    assert await variants.get("ann", made.id) == back


async def _walk(variants: Variants, size: int, **more: bool) -> list[str]:
    names: list[str] = []
    token = ""
    while True:
        page, token = await variants.page("ann", size, token, **more)
        assert len(page) <= size
        names += [variant.content.name for variant in page]
        if not token:
            return names


async def test_pages_list_all_newest_first(variants: Variants) -> None:
    for number in range(7):
        await variants.create("ann", named(f"v{number}"))
    gone = await variants.by_name("ann", "v3")
    await variants.delete("ann", gone.id)
    living = ["v6", "v5", "v4", "v2", "v1", "v0"]
    for size in (1, 2, 3, 6, 7):
        assert await _walk(variants, size) == living
    assert await _walk(variants, 3, with_deleted=True) == ["v6", "v5", "v4", "v3", "v2", "v1", "v0"]


async def test_writes_between_pages_move_nothing_to_another_page(variants: Variants) -> None:
    made = [await variants.create("ann", named(f"v{number}")) for number in range(6)]
    first, token = await variants.page("ann", 2)
    await variants.create("ann", named("new"))
    await variants.update("ann", made[0].id, VariantChange(description="changed last"))
    await variants.delete("ann", made[5].id)  # on the first page
    await variants.delete("ann", made[4].id)  # where the second page goes on from
    await variants.delete("ann", made[2].id)  # on the second page
    second, _ = await variants.page("ann", 2, token)
    assert [v.content.name for v in (*first, *second)] == ["v5", "v4", "v3", "v1"]


NESTED = base64.b64encode(b"[" * 100_000).decode()


@pytest.mark.parametrize(
    "token", ["zzz", "-1", "9" * 30, "é", "bnVsbA==", "WzFd", NESTED], ids=lambda t: t[:8]
)
async def test_a_token_that_no_answer_gave_is_refused(variants: Variants, token: str) -> None:
    with pytest.raises(InvalidField) as refused:
        await variants.page("ann", 2, token)
    assert refused.value.field == "page_token"


@pytest.mark.parametrize(
    "position", ["", "1", "x y", f"1e400 {uuid.UUID(int=0)}", f"{9**40} {uuid.UUID(int=0)}"]
)
async def test_a_token_that_was_tampered_with_is_refused(variants: Variants, position: str) -> None:
    forged = variant_pages.page_token(variant_pages.Listing("ann", False), position)
    with pytest.raises(InvalidField):
        await variants.page("ann", 2, forged)


async def test_a_token_is_good_for_its_own_list_alone(variants: Variants) -> None:
    for number in range(3):
        await variants.create("ann", named(f"v{number}"))
    _, token = await variants.page("ann", 1)
    for owner, with_deleted in (("bob", False), ("ann", True)):
        with pytest.raises(InvalidField):
            await variants.page(owner, 1, token, with_deleted=with_deleted)


async def test_a_page_of_long_steerings_ends_early(variants: Variants) -> None:
    long = dataclasses.replace(PIRATE, steering=b"x" * (variant_pages.MAX_PAGE_BYTES * 2 // 5))
    for number in range(3):
        await variants.create("ann", dataclasses.replace(long, name=f"v{number}"))
    huge = dataclasses.replace(long, name="huge", steering=b"x" * (2 * variant_pages.MAX_PAGE_BYTES))
    await variants.create("ann", huge)
    page, token = await variants.page("ann", 100)
    assert [v.content.name for v in page] == ["huge"]  # alone, rather than never
    page, token = await variants.page("ann", 100, token)
    assert [v.content.name for v in page] == ["v2", "v1"]
    page, token = await variants.page("ann", 100, token)
    assert [v.content.name for v in page] == ["v0"]
    assert token == ""


async def test_variants_outlive_the_process(migrated_url: str, variants: Variants) -> None:
    made = await variants.create("ann", PIRATE)
    again = Database(DatabaseSettings(migrated_url))
    assert await Variants(again).get("ann", made.id) == made
    await again.close()
