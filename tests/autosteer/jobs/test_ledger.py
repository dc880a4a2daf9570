"""Jobs as callers see them: repeated requests, pages, cancelling, the limits of the queue."""

from __future__ import annotations

import asyncio
import uuid

import pytest

from services.autosteer.events import EventLog
from services.autosteer.leases import LeaseLost
from services.autosteer.ledger import Asking, Ledger, QueueLimits
from services.autosteer.progress import StageStarted
from services.autosteer.record import Ended, JobState
from services.autosteer.spec import Stage, Tier
from services.errors import AlreadyExists, InvalidField, NotFound, QueueFull
from tests.autosteer.jobs.conftest import SPEC, Jobs, trial

REQUEST = str(uuid.UUID(int=1))


async def test_a_request_that_is_repeated_makes_one_job(jobs: Jobs) -> None:
    made = await asyncio.gather(*(jobs.make(request=REQUEST) for _ in range(5)))
    assert len({job.id for job in made}) == 1
    with pytest.raises(AlreadyExists):
        await jobs.make(tier=Tier.QUICK, request=REQUEST)
    other = await jobs.make("bob", request=REQUEST)
    assert other.id != made[0].id


async def test_pages_show_every_job_of_the_owner_once_newest_first(jobs: Jobs) -> None:
    made = [await jobs.make() for _ in range(7)]
    await jobs.make("bob")
    seen, token = [], ""
    while True:
        page, token = await jobs.ledger.page("ann", 3, token)
        seen += [job.id for job in page]
        if not token:
            break
    assert seen == [job.id for job in reversed(made)]
    with pytest.raises(InvalidField, match="page_token"):
        await jobs.ledger.page("ann", 3, "nonsense")


async def test_another_owners_job_is_as_if_it_were_not_there(jobs: Jobs) -> None:
    made = await jobs.make()
    for ask in (jobs.ledger.get, jobs.ledger.cancel):
        with pytest.raises(NotFound):
            await ask("bob", made.id)
    with pytest.raises(NotFound):
        await anext(EventLog(jobs.database, 0.01).follow("bob", made.id, 0))


async def test_a_cancelled_job_ends_at_once_and_keeps_its_best_trial(jobs: Jobs) -> None:
    made = await jobs.make()
    lease = await jobs.claimed()
    for number, score in enumerate((0.2, 0.6, 0.4)):
        await jobs.kept(lease).add_trial(trial(number, score))
    cancelled = await jobs.ledger.cancel("ann", made.id)
    assert cancelled.state is JobState.CANCELLED
    assert cancelled.best == trial(1, 0.6)
    with pytest.raises(LeaseLost):
        await jobs.kept(lease).add_trial(trial(3, 0.9))
    (last,) = await jobs.log(made)
    assert last.said == Ended(JobState.CANCELLED, best=trial(1, 0.6))
    assert await jobs.ledger.cancel("ann", made.id) == cancelled
    assert await jobs.leases.claim() is None


async def test_a_queued_job_can_be_cancelled(jobs: Jobs) -> None:
    made = await jobs.make()
    assert (await jobs.ledger.cancel("ann", made.id)).state is JobState.CANCELLED
    assert await jobs.leases.claim() is None


async def test_a_full_queue_says_when_to_come_back(jobs: Jobs) -> None:
    ledger = Ledger(jobs.database, QueueLimits(everybody=3, owner=2))
    narrow = Jobs(jobs.database)
    for owner in ("ann", "ann"):
        await narrow.make(owner)

    with pytest.raises(QueueFull) as refused:
        await ledger.create(SPEC, Asking("ann", "", b""))
    assert refused.value.retry_after
    await ledger.create(SPEC, Asking("bob", "", b""))
    with pytest.raises(QueueFull):
        await ledger.create(SPEC, Asking("bob", "", b""))


async def test_a_watcher_that_waits_sees_what_comes(jobs: Jobs) -> None:
    made = await jobs.make()
    watching = asyncio.create_task(jobs.log(made))
    lease = await jobs.claimed()
    await jobs.kept(lease).tell(StageStarted(Stage.DRAFT))
    await jobs.ledger.cancel("ann", made.id)
    seen = await watching
    assert [event.sequence for event in seen] == [1, 2]
