"""Events that are told at once are logged in the order in which they were told."""

from __future__ import annotations

import asyncio

from services.autosteer.progress import StageProgress
from services.autosteer.spec import Stage
from tests.autosteer.jobs.conftest import Jobs


async def test_what_is_told_at_once_is_logged_in_order(jobs: Jobs) -> None:
    await jobs.make()
    lease = await jobs.claimed()
    kept = jobs.kept(lease)
    told = [StageProgress(Stage.SCREEN, done, 20, None) for done in range(1, 21)]
    await asyncio.gather(*(kept.tell(event) for event in told))
    await jobs.ledger.cancel("ann", lease.job_id)
    assert [event.said for event in await jobs.log(lease)][:-1] == told
