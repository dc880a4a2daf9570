"""What the stages of one job share, and what they keep."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Coroutine, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Protocol, TypeVar

from services.autosteer import metrics
from services.autosteer.clock import Clock
from services.autosteer.codec import from_json, to_json
from services.autosteer.desk import Desk, Place
from services.autosteer.judges.gold import Agreements
from services.autosteer.judges.registry import Bench, Brief, Encode, Judge
from services.autosteer.judges.roster import make_judge
from services.autosteer.pace import Course, Pace
from services.autosteer.progress import Event, StageProgress, StageStarted
from services.autosteer.spec import JudgeReport, Prompt, Spec, Stage, Trial
from services.autosteer.tiers import Plan, plan_of
from services.autosteer.upstream import FeatureCatalogue, Inference, Served
from services.autosteer.wording import behavior_of, instruction_of, said_in
from services.rpc import traces

T = TypeVar("T")
Tell = Callable[[Event], Awaitable[None]]
"""Takes what a job says, in order. After a resume an event may come again, with the same key."""
Told = Callable[[int, int], Awaitable[None]]
"""Hears how much of how much of a stage is done."""
_CLOCK, _CUTS, _JUDGE = "clock", "cut short", "judge"


@contextmanager
def running(stage: Stage) -> Iterator[None]:
    """Around the work of a stage, for metrics and traces."""
    with metrics.stage_runs(stage.value), traces.span(f"autosteer {stage.value}"):
        yield


class Cancelled(Exception):
    """The job was cancelled; what it had found is in its checkpoints."""


class Checkpoints(Protocol):
    """What a job keeps, so that a killed worker goes on where it was."""

    async def get(self, stage: str) -> Any:
        """The JSON that was put under this name last; None if none was."""

    async def put(self, stage: str, value: Any) -> None:
        """Keeps a JSON value under a name, in place of what was there."""

    async def trials(self) -> list[Trial]:
        """The trials that were added, in order of number."""

    async def add_trial(self, trial: Trial) -> None:
        """Keeps a trial; the same number twice keeps one."""


@dataclass(slots=True)
class Job:
    """One job while it runs."""

    spec: Spec
    plan: Plan
    served: Served
    brief: Brief
    inference: Inference
    catalogue: FeatureCatalogue
    encode: Encode
    judge: Judge
    desk: Desk
    checkpoints: Checkpoints
    tell: Tell
    clock: Clock
    pace: Pace
    course: Course
    cuts: list[str]
    """What the budget left out."""
    key: str
    """Bearer token of the judge's endpoint."""
    agreements: Agreements
    best: Trial | None = None
    """The best trial so far."""

    @classmethod
    async def begin(
        cls,
        spec: Spec,
        inference: Inference,
        catalogue: FeatureCatalogue,
        checkpoints: Checkpoints,
        tell: Tell,
        encode: Encode,
        key: str,
        now: Callable[[], float],
        agreements: Agreements,
    ) -> Job:
        """A job where it was left. Raises InvalidField where model or SAE are not served."""
        plan = plan_of(spec)
        clock = Clock(plan.seconds, float(await checkpoints.get(_CLOCK) or 0.0), now)
        brief = Brief(
            behavior_of(spec),
            instruction_of(spec),
            tuple(map(said_in, spec.positive)),
            tuple(map(said_in, spec.negative)),
        )
        served = await inference.served(spec.model, spec.sae)
        judge = make_judge(spec.judge, Bench(brief, encode, inference, key))
        pace = Pace()
        desk = Desk(inference, judge, tokens=plan.tokens, temperature=spec.temperature, saw=pace.saw, now=now)
        return cls(
            spec,
            plan,
            served,
            brief,
            inference,
            catalogue,
            encode,
            judge,
            desk,
            checkpoints,
            tell,
            clock,
            pace,
            Course.of(plan),
            list(await checkpoints.get(_CUTS) or []),
            key,
            agreements,
        )

    def places(self, prompts: Sequence[Prompt]) -> list[Place]:
        """The prompts with the seeds of this job."""
        return [Place.of(prompt, self.spec.seed) for prompt in prompts]

    async def starts(self, stage: Stage) -> None:
        """Says that a stage begins."""
        await self.tell(StageStarted(stage))

    async def stage(
        self, stage: Stage, kind: Any, make: Callable[[], Awaitable[Any]], *, optional: bool = False
    ) -> Any:
        """What a stage makes, from its checkpoint where it has been made; `kind` is its type."""
        await self.starts(stage)
        kept = await self.checkpoints.get(stage.value)
        if kept is not None:
            return None if optional and kept["made"] is None else from_json(kind, kept["made"])
        with running(stage):
            made = await make()
        await self.checkpoints.put(stage.value, {"made": to_json(made)})
        await self.keep_time()
        return made

    async def within(self, share: float, work: Coroutine[Any, Any, T]) -> T | None:
        """What work returns; None where it is not done when this share of the budget is spent."""
        task = asyncio.create_task(work)
        try:
            while not task.done():
                left = share * self.clock.limit - self.clock.spent
                if left <= 0:
                    return None
                await asyncio.wait({task}, timeout=left)  # the clock may have stood still meanwhile
            return task.result()
        finally:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)

    def progress(self, stage: Stage) -> Told:
        """Tells how far a stage is."""

        async def told(done: int, total: int) -> None:
            left = self.course.left(stage, done / max(1, total), self.clock.spent)
            left = None if left is None else round(max(0.0, min(left, self.clock.left)), 1)
            await self.tell(StageProgress(stage, done, total, left, self.best))

        return told

    @staticmethod
    async def silent(done: int, total: int) -> None:
        """Tells nobody."""

    async def cut(self, what: str) -> None:
        """Notes what the budget left out."""
        if what not in self.cuts:
            self.cuts.append(what)
            await self.checkpoints.put(_CUTS, self.cuts)

    async def keep_time(self) -> None:
        """Keeps the time worked: a break does not count."""
        await self.checkpoints.put(_CLOCK, round(self.clock.spent, 3))

    async def try_judge(self, share: float) -> JudgeReport:
        """Who judges; with its agreement with the gold set where the tier asks for it and this share of the budget is
        enough."""
        kept = await self.checkpoints.get(_JUDGE)
        if kept is not None:
            return from_json(JudgeReport, kept)
        report = JudgeReport(self.judge.name, None)
        if self.plan.asks_gold:
            asking = self.agreements.of(
                self.served.model,
                self.spec.judge,
                self.inference,
                self.encode,
                self.key,
                has_chat_template=self.served.has_chat_template,
            )
            found = await self.within(share, asking)
            if found is None:
                return report
            report = JudgeReport(self.judge.name, *found)
        await self.checkpoints.put(_JUDGE, to_json(report))
        return report

    async def judge_report(self) -> JudgeReport:
        """The same at the end; where there was no time for it, that is said."""
        report = await self.try_judge(1.0)
        if self.plan.asks_gold and report.agreement is None:
            await self.cut("the judge was not tried on the gold set")
        return report

    async def close(self) -> None:
        """Closes the judge's connections."""
        await self.judge.close()
