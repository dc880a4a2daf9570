"""A whole job on real services: what it says, what it keeps, and that a kill or a cancel changes nothing else."""

from __future__ import annotations

import asyncio
from dataclasses import replace

import pytest

from services.autosteer import tiers
from services.autosteer.clients import retrying
from services.autosteer.codec import from_json, to_json
from services.autosteer.drafting import is_held_out
from services.autosteer.pipeline import Cancelled, run
from services.autosteer.progress import (
    CandidatesFound,
    StageProgress,
    StageStarted,
    TrialDone,
    ValidationDone,
)
from services.autosteer.spec import Budget, Decision, Prompt, Result, Spec, Stage, Tier
from services.errors import DependencyUnavailable, ModelNotServed, SaeNotServed
from tests.autosteer.conftest import Heard, Kept, Killed
from tests.autosteer.tiny_platform import BEHAVIOR, Platform

SPEC = Spec(BEHAVIOR, budget=Budget(Tier.QUICK, 300.0), seed=3, max_features=2)


async def job(
    platform: Platform,
    kept: Kept,
    heard: Heard,
    spec: Spec = SPEC,
    cancelled: asyncio.Event | None = None,
) -> Result:
    """Runs a job, or goes on with it."""
    return await run(
        spec,
        platform.inference,
        platform.catalogue,
        kept,
        heard,
        cancelled or asyncio.Event(),
        encode=platform.encoder.encode,
    )


def comparable(result: Result) -> Result:
    """All but the time that it took."""
    return replace(result, seconds=0.0)


async def test_it_goes_through_all_stages_and_validates_beside_its_controls(
    platform: Platform, small: tiers.Plan
) -> None:
    heard, kept = Heard(), Kept()
    result = await job(platform, kept, heard)
    assert [event.stage for event in heard.of(StageStarted)] == list(Stage)
    assert [event.trial.number for event in heard.of(TrialDone)] == list(range(small.trials))
    assert {event.stage for event in heard.of(CandidatesFound)} >= {Stage.RETRIEVE, Stage.SCREEN}
    assert {event.stage for event in heard.of(StageProgress)} >= {Stage.CAUSAL, Stage.SEARCH, Stage.VALIDATE}
    keys = [event.key for event in heard.events]
    assert len(set(keys)) == len(keys)
    assert result.validation is not None
    (told,) = heard.of(ValidationDone)
    assert told.validation == result.validation
    names = [arm.name for arm in result.validation.arms]
    assert names[-4:] == ["unsteered", "system prompt", "random feature", "wrong sign"]
    counts = {arm.name: len(arm.samples) for arm in result.validation.arms}
    assert counts["unsteered"] == counts["system prompt"] == small.held_out_prompts
    assert counts["random feature"] == counts["wrong sign"] == small.control_prompts
    steered = sorted(count for name, count in counts.items() if name.startswith("steered"))
    assert steered == [small.finalist_prompts, small.held_out_prompts]
    assert result.verdict.decision in Decision
    assert result.verdict.reason
    assert not result.cut_short
    assert from_json(Result, to_json(result)) == result


async def test_nothing_that_is_concluded_from_was_tuned_on(platform: Platform, small: tiers.Plan) -> None:
    own = tuple(Prompt.ask(f"{word} ?") for word in ("sea", "bread", "court", "snow", "knight", "grief"))
    heard = Heard()
    result = await job(platform, Kept(), heard, replace(SPEC, prompts=own))
    tuned = {sample.prompt for event in heard.of(TrialDone) for sample in event.trial.samples}
    assert result.validation is not None
    assert not tuned & set(result.validation.prompts)
    assert {p.question for p in own if is_held_out(p)} & set(result.validation.prompts)


async def test_every_trial_has_the_same_prompts_and_seeds(platform: Platform, small: tiers.Plan) -> None:
    heard = Heard()
    await job(platform, Kept(), heard)
    places = [[(s.prompt, s.seed) for s in event.trial.samples] for event in heard.of(TrialDone)]
    longest = max(places, key=len)
    assert len(longest) == small.train_prompts
    assert all(each == longest[: len(each)] for each in places)


async def test_a_job_that_is_killed_again_and_again_ends_as_if_it_had_not_been(
    platform: Platform, small: tiers.Plan
) -> None:
    whole, kept, said = Heard(), Kept(), Heard()
    wanted = await job(platform, Kept(), whole)
    known: set[str] = set()
    for share in (0.05, 0.3, 0.5, 0.65, 0.8, 0.95):
        heard = Heard(whole.events[int(share * len(whole.events))].key)
        with pytest.raises(Killed):
            await job(platform, kept, heard)
        said.events += [event for event in heard.events if event.key not in known]
        known |= {event.key for event in heard.events}
    last = Heard()
    result = await job(platform, kept, last)
    said.events += [event for event in last.events if event.key not in known]
    assert comparable(result) == comparable(wanted)
    assert [event.key for event in said.events] == [event.key for event in whole.events]
    assert said.of(TrialDone) == whole.of(TrialDone)


async def test_a_cancelled_job_ends_within_a_generation_and_keeps_its_best_trial(
    platform: Platform, small: tiers.Plan, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(tiers.TIERS, Tier.QUICK, replace(small, trials=400))
    cancelled, kept = asyncio.Event(), Kept()

    class Canceller(Heard):
        async def __call__(self, event: object) -> None:
            await super().__call__(event)  # type: ignore[arg-type]
            if isinstance(event, TrialDone) and event.trial.number == 3:
                cancelled.set()

    with pytest.raises(Cancelled):
        await job(platform, kept, Canceller(), cancelled=cancelled)
    assert len(await kept.trials()) >= 4
    assert len(await kept.trials()) < 400


async def test_a_budget_in_seconds_is_kept_and_what_was_cut_short_is_said(
    platform: Platform, small: tiers.Plan, monkeypatch: pytest.MonkeyPatch
) -> None:
    long = replace(small, trials=100_000, held_out_prompts=50, finalist_prompts=50)
    monkeypatch.setitem(tiers.TIERS, Tier.QUICK, long)
    result = await job(platform, Kept(), Heard(), replace(SPEC, budget=Budget(Tier.QUICK, 4.0)))
    assert any("trials" in what for what in result.cut_short)
    assert result.seconds < 2 * 4.0


async def test_what_does_not_answer_is_named(
    platform: Platform, small: tiers.Plan, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(retrying, "FIRST_WAIT", 0.001)
    await platform.servers[0].drain()
    with pytest.raises(DependencyUnavailable, match="inference"):
        await job(platform, Kept(), Heard())


async def test_a_model_or_sae_that_is_not_served_is_refused_before_anything_runs(platform: Platform) -> None:
    heard = Heard()
    with pytest.raises(ModelNotServed):
        await job(platform, Kept(), heard, replace(SPEC, model="no/such-model"))
    with pytest.raises(SaeNotServed) as refused:
        await job(platform, Kept(), heard, replace(SPEC, sae="no-such-sae"))
    assert refused.value.field == "spec.sae"
    assert not heard.events


async def test_examples_stand_in_for_words(platform: Platform, small: tiers.Plan) -> None:
    positive = tuple(Prompt(text=f"the ship and the waves {n}") for n in ("bread", "dough", "oven"))
    result = await job(platform, Kept(), Heard(), replace(SPEC, behavior="", positive=positive))
    assert result.validation is not None
