"""Who works on which job: turns, fences, retries, parked jobs, and jobs whose worker died."""

from __future__ import annotations

import asyncio

import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from sqlalchemy import create_engine

from services.autosteer.database.schema import MIGRATIONS
from services.autosteer.database.tables import Base
from services.autosteer.leases import MOST_DEATHS, MOST_OUTAGES, LeaseLost
from services.autosteer.progress import StageStarted, TrialDone
from services.autosteer.record import Ended, Failure, Interrupted, JobState
from services.autosteer.spec import Stage, Tier
from tests.autosteer.jobs.conftest import Jobs, trial


async def test_the_migrations_make_the_tables_that_the_code_knows(jobs: Jobs, database_url: str) -> None:
    engine = create_engine(database_url)
    with engine.connect() as connection:
        options = {"version_table": MIGRATIONS.version_table, "compare_type": True}
        context = MigrationContext.configure(connection, opts=options)
        assert compare_metadata(context, Base.metadata) == []
    engine.dispose()


async def test_quick_jobs_go_first_and_owners_are_served_in_turn(jobs: Jobs) -> None:
    await jobs.make("ann", Tier.THOROUGH)
    for _ in range(3):
        await jobs.make("ann")
    await jobs.make("bob")
    await jobs.make("cleo")
    await jobs.make("bob", Tier.QUICK)
    taken = [await jobs.claimed() for _ in range(7)]
    assert [(lease.owner, lease.spec.budget.tier) for lease in taken] == [
        ("bob", Tier.QUICK),
        ("ann", Tier.DEFAULT),
        ("cleo", Tier.DEFAULT),
        ("bob", Tier.DEFAULT),
        ("ann", Tier.DEFAULT),
        ("ann", Tier.DEFAULT),
        ("ann", Tier.THOROUGH),
    ]
    assert await jobs.leases.claim() is None


async def test_a_place_for_quick_jobs_takes_no_other(jobs: Jobs) -> None:
    await jobs.make()
    assert await jobs.leases.claim(slow=False) is None
    await jobs.make(tier=Tier.QUICK)
    assert await jobs.leases.claim(slow=False) is not None


async def test_where_a_quick_job_runs_the_next_one_waits_and_others_do_not(jobs: Jobs) -> None:
    await jobs.make(tier=Tier.QUICK)
    assert await jobs.leases.claim(quick=False) is None
    slow = await jobs.make()
    taken = await jobs.leases.claim(quick=False)
    assert taken is not None
    assert taken.job_id == slow.id


async def test_workers_that_reach_for_jobs_at_once_take_each_job_once(jobs: Jobs) -> None:
    made = {(await jobs.make(f"owner {n % 3}")).id for n in range(8)}
    taken = await asyncio.gather(*(jobs.leases.claim() for _ in range(10)))
    found = [lease.job_id for lease in taken if lease is not None]
    assert len(found) == len(set(found))
    while (lease := await jobs.leases.claim()) is not None:
        found.append(lease.job_id)
    assert sorted(found) == sorted(made)


async def test_a_worker_whose_lease_ran_out_writes_nothing(jobs: Jobs) -> None:
    made = await jobs.make()
    dead = await jobs.claimed()
    await jobs.kept(dead).tell(StageStarted(Stage.DRAFT))
    await jobs.desert(dead)
    await jobs.reconciler.once()
    assert jobs.messages.held == 1
    alive = await jobs.claimed()
    kept = jobs.kept(dead)
    for write in (
        kept.add_trial(trial(0)),
        kept.put("draft", 1),
        kept.tell(StageStarted(Stage.SEARCH)),
        jobs.leases.renew(dead),
        jobs.leases.park(dead, Failure("INTERNAL", "late")),
    ):
        with pytest.raises(LeaseLost):
            await write
    assert not await jobs.leases.is_held(dead)
    await jobs.kept(alive).tell(StageStarted(Stage.DRAFT))  # comes again after the resume
    now = await jobs.ledger.get("ann", made.id)
    assert (now.state, now.attempts, now.last_sequence) == (JobState.RUNNING, 2, 2)


async def test_what_is_repeated_after_a_resume_is_logged_once_and_in_order(jobs: Jobs) -> None:
    await jobs.make()
    first = await jobs.claimed()
    for number in range(3):
        await jobs.kept(first).add_trial(trial(number, 0.1 * number))
        await jobs.kept(first).tell(TrialDone(trial(number, 0.1 * number)))
    await jobs.desert(first)
    await jobs.reconciler.once()
    second = await jobs.claimed()
    kept = jobs.kept(second)
    assert [each.number for each in await kept.trials()] == [0, 1, 2]
    for number in range(2, 5):
        await kept.add_trial(trial(number, 0.9, pruned=number == 4))
        await kept.tell(TrialDone(trial(number, 0.9, pruned=number == 4)))
    await jobs.leases.park(second, Failure("INVALID_FIELD", "spec.model: gone"))
    log = await jobs.log(second)
    assert [event.sequence for event in log] == list(range(1, len(log) + 1))
    numbers = [event.said.trial.number for event in log if isinstance(event.said, TrialDone)]
    assert numbers == [0, 1, 2, 3, 4]
    assert isinstance(log[3].said, Interrupted)
    assert isinstance(log[-1].said, Ended)
    assert log[-1].said.best == trial(3, 0.9)  # the second time that trial 2 came, it was there already
    assert await jobs.log(second, after=4) == log[4:]
    assert await jobs.log(second, after=len(log)) == []


async def test_checkpoints_outlive_the_worker(jobs: Jobs) -> None:
    await jobs.make()
    first = await jobs.claimed()
    await jobs.kept(first).put("draft", {"made": ["a\0\ud800"]})
    await jobs.kept(first).put("draft", {"made": ["b"]})
    await jobs.leases.give_back(first)
    second = jobs.kept(await jobs.claimed())
    assert await second.get("draft") == {"made": ["b"]}
    assert await second.get("screen") is None


async def test_an_outage_postpones_a_job_and_too_many_in_a_row_end_it(jobs: Jobs) -> None:
    made = await jobs.make()
    lease = await jobs.claimed()
    await jobs.leases.postpone(lease, "inference does not answer")
    assert await jobs.leases.claim() is None  # not before its pause is over
    await jobs.reconciler.once()
    assert jobs.messages.held == 0
    await jobs.make_due(made.id)
    lease = await jobs.claimed()
    await jobs.kept(lease).put(Stage.DRAFT.value, {})  # a step forward: it counts anew
    for _ in range(MOST_OUTAGES):
        await jobs.leases.postpone(lease, "inference does not answer")
        await jobs.make_due(made.id)
        lease = await jobs.claimed()
    await jobs.leases.postpone(lease, "inference does not answer")
    now = await jobs.ledger.get("ann", made.id)
    assert now.state is JobState.FAILED
    assert now.failure is not None
    assert now.failure.reason == "DEPENDENCY_UNAVAILABLE"


async def test_a_job_that_kills_its_workers_is_parked(jobs: Jobs) -> None:
    made = await jobs.make()
    for _ in range(MOST_DEATHS):
        await jobs.desert(await jobs.claimed())
        await jobs.reconciler.once()
    now = await jobs.ledger.get("ann", made.id)
    assert (now.state, now.attempts) == (JobState.FAILED, MOST_DEATHS)
    assert now.failure is not None
    assert "died" in now.failure.message


async def test_a_worker_that_lives_takes_its_death_back(jobs: Jobs) -> None:
    made = await jobs.make()
    for _ in range(MOST_DEATHS + 1):
        lease = await jobs.claimed()
        await jobs.desert(lease)
        await jobs.reconciler.once()
        await jobs.leases.survive(lease)
    assert (await jobs.ledger.get("ann", made.id)).state is JobState.QUEUED


async def test_messages_that_the_broker_lost_are_sent_again(jobs: Jobs) -> None:
    for _ in range(3):
        await jobs.make()
    await jobs.reconciler.once()
    assert jobs.messages.held == 3
    await jobs.reconciler.once()
    assert jobs.messages.held == 3
    jobs.messages.held = 0
    await jobs.reconciler.once()
    assert jobs.messages.held == 3
