"""Health follows what the process depends on, and recovers by itself."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest

from services.errors import DependencyUnavailable
from services.rpc import watch as module
from services.rpc.watch import Watch


class Dependency:
    """Answers, does not, or hangs."""

    def __init__(self) -> None:
        self.problem: Exception | None = None
        self.hangs = False

    async def ping(self) -> None:
        if self.hangs:
            await asyncio.Event().wait()
        if self.problem:
            raise self.problem


class Told:
    """What health checks were told, in order."""

    def __init__(self) -> None:
        self.reports: asyncio.Queue[bool] = asyncio.Queue()
        self.prepared = 0
        self.behind = False
        self.caught_up = asyncio.Event()

    async def prepare(self) -> None:
        self.prepared += 1
        if self.behind:
            self.behind = False
            self.caught_up.set()

    async def next(self) -> bool:
        return await asyncio.wait_for(self.reports.get(), 10)


@pytest.fixture
async def watched(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[tuple[Dependency, Told]]:
    monkeypatch.setattr(module, "ANSWER_SECONDS", 0.05)
    store, told = Dependency(), Told()
    pings = {"store": store.ping, "other": Dependency().ping}
    watch = Watch(pings, told.prepare, lambda: told.behind, told.reports.put, 0.001)
    task = asyncio.create_task(watch.run())
    yield store, told
    task.cancel()


async def test_outages_and_hangs_are_told_and_their_end_is_prepared_for(
    watched: tuple[Dependency, Told],
) -> None:
    store, told = watched
    assert await told.next() is True
    assert told.prepared == 1
    store.problem = DependencyUnavailable("the vector store", "it is gone")
    assert await told.next() is False
    store.problem = None
    assert await told.next() is True
    assert told.prepared == 2
    store.hangs = True
    assert await told.next() is False
    store.hangs = False
    assert await told.next() is True
    assert told.prepared == 3
    assert told.reports.empty()


async def test_what_is_behind_is_caught_up_without_a_word(watched: tuple[Dependency, Told]) -> None:
    _, told = watched
    await told.next()
    told.behind = True
    await asyncio.wait_for(told.caught_up.wait(), 10)
    assert told.prepared == 2
    assert told.reports.empty()


async def test_what_can_never_serve_ends_the_watch() -> None:
    async def unusable() -> None:
        raise ValueError("a database of a newer release")

    told = Told()
    watch = Watch({"store": Dependency().ping}, unusable, lambda: False, told.reports.put, 0.001)
    with pytest.raises(ValueError, match="newer release"):
        await watch.run()
    assert told.reports.empty()
