"""Several processes on one database, and processes and servers that are killed while they write."""

from __future__ import annotations

import asyncio
import os
import random
import sys
from asyncio.subprocess import PIPE, Process
from collections import Counter
from pathlib import Path

import numpy as np
from sqlalchemy import text

from services.database.database import Database
from services.database.settings import DatabaseSettings
from services.features.database.schema import MIGRATIONS
from services.features.embedding_cache import EmbeddingCache
from services.features.revisions import Revisions
from services.features.variants import VariantContent, Variants
from tests.database.postgres import PostgresServer

ROOT = Path(__file__).parents[2]
ROUNDS = 20


async def start(what: str, url: str) -> Process:
    return await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "tests.features.writing_process", what, url),
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": f"{ROOT}:{ROOT / 'protos/gen'}"},
        stdin=PIPE,
        stdout=PIPE,
        limit=1 << 20,
    )


async def line(process: Process) -> str:
    assert process.stdout is not None
    return (await process.stdout.readline()).decode().strip()


async def test_of_two_processes_with_one_etag_exactly_one_wins(migrated_url: str, database: Database) -> None:
    variants = Variants(database)
    variant = await variants.create("ann", VariantContent("pirate", "", "", b""))
    racers = [await start("race", migrated_url) for _ in range(2)]
    assert [await line(racer) for racer in racers] == ["ready", "ready"]
    winners: Counter[str] = Counter()
    for _ in range(ROUNDS):
        for racer in racers:
            assert racer.stdin is not None
            racer.stdin.write(f"{variant.id} {variant.etag}\n".encode())
        ends = await asyncio.gather(*(line(racer) for racer in racers))
        assert sorted(ends) == ["lost", "won"]
        variant = await variants.get("ann", variant.id)
        assert variant.content.description == str(racers[ends.index("won")].pid)
        winners[variant.content.description] += 1
    for racer in racers:
        racer.terminate()
        await racer.wait()
    assert winners.total() == ROUNDS


async def acknowledged(process: Process, count: int) -> list[list[str]]:
    """The first writes that a process has acknowledged, at least so many."""
    lines = []
    while len(lines) < count:
        lines.append((await line(process)).split())
    return lines


async def the_rest(process: Process) -> list[list[str]]:
    assert process.stdout is not None
    lines = (await process.stdout.read()).decode().split("\n")
    return [
        each.split() for each in lines[:-1]
    ]  # the last line, which ends in no newline, was not written whole


async def check(database: Database, lines: list[list[str]]) -> None:
    """All that was acknowledged is there, and what is there is whole."""
    variants, revisions, cache = Variants(database), Revisions(database), EmbeddingCache(database)
    said = {what: [rest for first, *rest in lines if first == what] for what in {line[0] for line in lines}}
    assert said.keys() == {"created", "changed", "revised", "embedded"}
    there = []
    token = ""
    while token or not there:
        page, token = await variants.page("ann", 1000, token)
        there += page
    by_id = {variant.id: variant for variant in there}
    for (variant_id,) in said["created"]:
        assert by_id[variant_id].content.steering == by_id[variant_id].content.name.encode() * 1000
    for (variant_id,) in said["changed"]:
        assert by_id[variant_id].content.description == "changed"
    # The one that was under way may be there too, but whole.
    assert len(there) <= len(said["created"]) + 1
    assert {variant.content.description for variant in there} <= {"whole", "changed"}
    numbers = Counter[int]()
    for index, number, label in said["revised"]:
        history, _ = await revisions.history("sae", int(index), 1, int(number) + 1)
        assert (history[0].revision, history[0].label) == (int(number), label)
        numbers[int(index)] = max(numbers[int(index)], int(number))
    latest = await revisions.latest("sae", list(numbers))
    assert all(latest[index].revision - number in (0, 1) for index, number in numbers.items())
    vectors = await cache.get("e", [bytes.fromhex(digest) for digest, _ in said["embedded"]])
    for digest, value in said["embedded"]:
        np.testing.assert_array_equal(vectors[bytes.fromhex(digest)], np.full(384, int(value), np.float32))


async def test_a_process_that_is_killed_while_it_writes_loses_nothing_that_it_acknowledged(
    migrated_url: str, database: Database
) -> None:
    """Killed by SIGKILL after a random number of writes, at whatever point of the next one it then is."""
    writer = await start("write", migrated_url)
    lines = await acknowledged(writer, random.Random().randrange(60, 120))
    writer.kill()
    lines += await the_rest(writer)
    await writer.wait()
    await check(database, lines)
    if database.dialect == "sqlite":
        assert (await database.read(lambda session: session.scalar(text("PRAGMA integrity_check")))) == "ok"
    made = await Variants(database).create("ann", VariantContent("after", "", "", b""))
    assert (await Variants(database).get("ann", made.id)) == made


async def test_a_server_that_crashes_loses_nothing_that_was_acknowledged(postgres: PostgresServer) -> None:
    with postgres.new_database() as url:
        database = Database(DatabaseSettings(url))
        await database.upgrade(MIGRATIONS)
        writer = await start("write", url)
        lines = await acknowledged(writer, 80)
        await asyncio.to_thread(postgres.stop, "immediate")
        lines += await the_rest(writer)  # it ends, because it asks once more and is told of the outage
        await writer.wait()
        await asyncio.to_thread(postgres.start)
        await check(database, lines)
        await database.close()
