"""Quick jobs first: what others ask waits meanwhile, and their clock stands still."""

from __future__ import annotations

import asyncio

from services.autosteer.clock import Clock
from services.autosteer.right_of_way import RightOfWay, StandingAside
from services.autosteer.spec import Prompt
from services.autosteer.upstream import Ask
from services.steering.edits import Steering
from tests.autosteer.made import WrittenInference


class Hand:
    """A clock that is set by hand."""

    seconds = 0.0

    def __call__(self) -> float:
        return self.seconds


async def test_what_another_job_asks_waits_for_the_quick_one() -> None:
    way, inference = RightOfWay(), WrittenInference(lambda ask: "a text")
    aside = StandingAside(inference, way)
    with way.taken():
        with way.taken():
            asked = asyncio.create_task(aside.generate(Ask(Prompt(text="x"), Steering(), 1, 8, 0.5)))
        await asyncio.sleep(0)
        assert not asked.done()
    assert await asked == "a text"


def test_a_clock_stands_still_while_quick_jobs_run() -> None:
    hand = Hand()
    way = RightOfWay(hand)
    clock = Clock(100.0, 0.0, way.now)
    hand.seconds = 10.0
    with way.taken():
        hand.seconds = 50.0
        assert clock.spent == 10.0
        with way.taken():
            hand.seconds = 60.0
    hand.seconds = 65.0
    assert clock.spent == 15.0
