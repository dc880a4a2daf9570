"""What a worker does with a job: success, outage, poison, cancelling, and giving back where it stops."""

from __future__ import annotations

import asyncio
import threading

import pytest
from sqlalchemy.orm import Session

from services.autosteer.checkpoints import Kept
from services.autosteer.database.tables import JobRow
from services.autosteer.job import Cancelled
from services.autosteer.leases import Lease, Leases, interrupt, locked
from services.autosteer.record import JobState
from services.autosteer.running import Drive, Runner
from services.autosteer.spec import Decision, JudgeReport, Result, Tier, Verdict
from services.database.database import Database
from services.database.settings import DatabaseSettings
from services.errors import DependencyUnavailable, InvalidField
from tests.autosteer.jobs.conftest import Jobs, trial

RESULT = Result(trial(0), (), None, Verdict(Decision.USE, "it works"), JudgeReport("offline", None), {})


def runner(jobs: Jobs, drive: Drive) -> Runner:
    return Runner(jobs.database, jobs.leases, drive, quick_at_once=1, slow_at_once=1, poll_seconds=0.01)


def raising(error: Exception) -> Drive:
    async def drive(lease: Lease, kept: Kept, stop: asyncio.Event) -> Result:
        raise error

    return drive


async def succeeding(lease: Lease, kept: Kept, stop: asyncio.Event) -> Result:
    return RESULT


class Generating:
    """Is in the middle of a generation until it is told to stop, as the pipeline is."""

    def __init__(self) -> None:
        self.began = asyncio.Event()

    async def __call__(self, lease: Lease, kept: Kept, stop: asyncio.Event) -> Result:
        await kept.add_trial(trial(0))
        self.began.set()
        await stop.wait()
        raise Cancelled


async def test_a_job_that_succeeds_has_its_result(jobs: Jobs) -> None:
    made = await jobs.make()
    assert await runner(jobs, succeeding).one()
    now = await jobs.ledger.get("ann", made.id)
    assert (now.state, now.result, now.best) == (JobState.SUCCEEDED, RESULT, trial(0))
    assert not await runner(jobs, succeeding).one()


@pytest.mark.parametrize(
    ("error", "reason", "message"),
    [
        (InvalidField("spec.model", "is gone"), "INVALID_FIELD", "is gone"),
        (ZeroDivisionError("secret"), "INTERNAL", "internal error"),
    ],
)
async def test_a_poisoned_job_is_parked_with_its_error_and_no_other_waits_for_it(
    jobs: Jobs, error: Exception, reason: str, message: str
) -> None:
    made, other = await jobs.make(), await jobs.make()
    await runner(jobs, raising(error)).one()
    now = await jobs.ledger.get("ann", made.id)
    assert now.state is JobState.FAILED
    assert now.failure is not None
    assert now.failure.reason == reason
    assert message in now.failure.message
    assert "secret" not in now.failure.message
    await runner(jobs, succeeding).one()
    assert (await jobs.ledger.get("ann", other.id)).state is JobState.SUCCEEDED


async def test_a_job_whose_inference_is_away_waits_and_then_goes_on(jobs: Jobs) -> None:
    made = await jobs.make()
    await runner(jobs, raising(DependencyUnavailable("inference", "away"))).one()
    assert (await jobs.ledger.get("ann", made.id)).state is JobState.QUEUED
    await jobs.make_due(made.id)
    await runner(jobs, succeeding).one()
    now = await jobs.ledger.get("ann", made.id)
    assert (now.state, now.attempts) == (JobState.SUCCEEDED, 2)


async def test_cancelling_stops_a_generation_and_the_worker_takes_the_next_job(jobs: Jobs) -> None:
    made = await jobs.make()
    generating = Generating()
    running = asyncio.create_task(runner(jobs, generating).one())
    await generating.began.wait()
    await jobs.ledger.cancel("ann", made.id)
    assert await running
    now = await jobs.ledger.get("ann", made.id)
    assert (now.state, now.best) == (JobState.CANCELLED, trial(0))


async def test_a_worker_that_stops_gives_its_job_back_at_once(jobs: Jobs) -> None:
    made = await jobs.make()
    generating = Generating()
    stopping = runner(jobs, generating)
    running = asyncio.create_task(stopping.one())
    await generating.began.wait()
    stopping.stop()
    await running
    assert (await jobs.ledger.get("ann", made.id)).state is JobState.QUEUED
    assert not await stopping.one()
    await runner(jobs, succeeding).one()
    assert (await jobs.ledger.get("ann", made.id)).state is JobState.SUCCEEDED


@pytest.mark.parametrize("taken_back", [False, True])
async def test_a_database_that_was_away_is_no_death_of_the_worker(
    jobs: Jobs, database_url: str, caplog: pytest.LogCaptureFixture, taken_back: bool
) -> None:
    made = await jobs.make()
    impatient = Database(DatabaseSettings(database_url, connect_seconds=30, lock_seconds=0.1))
    began, open_again = asyncio.Event(), threading.Event()

    async def drive(lease: Lease, kept: Kept, stop: asyncio.Event) -> Result:
        began.set()
        await stop.wait()
        raise Cancelled

    working = Runner(
        impatient, Leases(impatient, 1.0), drive, quick_at_once=1, slow_at_once=1, poll_seconds=0.01
    )
    running = asyncio.create_task(working.one())
    await began.wait()

    def away(session: Session) -> None:
        row = locked(session, made.id)
        open_again.wait()
        if row is not None and taken_back:
            row.deaths += 1
            interrupt(session, row, "the worker is gone")

    other = asyncio.create_task(jobs.database.write(away))
    while "a job is left" not in caplog.text:  # noqa: ASYNC110, the log is what tells
        await asyncio.sleep(0.01)
    open_again.set()
    await other
    assert await running
    await impatient.close()
    row = await jobs.database.read(lambda session: session.get(JobRow, made.id))
    assert row is not None
    assert (row.state, row.deaths, row.outages) == (JobState.QUEUED, 0, 0 if taken_back else 1)


async def test_the_last_place_is_kept_for_quick_jobs(jobs: Jobs) -> None:
    for _ in range(2):
        await jobs.make()
    generating = Generating()
    worker = runner(jobs, generating)
    first = asyncio.create_task(worker.one())
    await generating.began.wait()
    assert not await worker.one()
    await jobs.make(tier=Tier.QUICK)
    generating.began.clear()
    second = asyncio.create_task(worker.one())
    await generating.began.wait()
    worker.stop()
    assert await asyncio.gather(first, second) == [True, True]


async def test_quick_jobs_run_one_after_the_other_beside_one_that_is_not(jobs: Jobs) -> None:
    began: list[Tier] = []
    two, go_on = asyncio.Event(), asyncio.Event()

    async def drive(lease: Lease, kept: Kept, stop: asyncio.Event) -> Result:
        began.append(lease.spec.budget.tier)
        if len(began) == 2:
            two.set()
        await go_on.wait()
        return RESULT

    for tier in (Tier.QUICK, Tier.QUICK, Tier.DEFAULT, Tier.DEFAULT):
        await jobs.make(tier=tier)
    working = runner(jobs, drive)
    both = [asyncio.create_task(working.one()) for _ in range(2)]
    await two.wait()
    assert began == [Tier.QUICK, Tier.DEFAULT]
    assert not await working.one()
    go_on.set()
    assert all(await asyncio.gather(*both))
    assert [await working.one() for _ in range(3)] == [True, True, False]
