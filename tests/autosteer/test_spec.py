"""Specs, results and events as JSON; what a job may ask for; clocks and paces."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import pytest

from services.autosteer.clock import Clock
from services.autosteer.codec import event_from_json, event_to_json, from_json, to_json
from services.autosteer.limits import check
from services.autosteer.pace import COUNTED, USUAL, Course, Pace
from services.autosteer.progress import CandidatesFound, StageProgress, StageStarted, TrialDone
from services.autosteer.spec import (
    Budget,
    JudgeChoice,
    Message,
    Prompt,
    Spec,
    Stage,
    Tier,
)
from services.autosteer.tiers import TIERS, plan_of
from services.errors import InvalidField
from tests.autosteer.made import candidate, trial

SPEC = Spec(
    "talk like a pirate",
    positive=(Prompt((Message("user", "Hi"), Message("assistant", "Arr"))),),
    negative=(Prompt(text="Hello"),),
    budget=Budget(Tier.THOROUGH, 90.0),
    judge=JudgeChoice("openai", "http://localhost:1/v1", "rater"),
    seed=2**62,
)


def test_a_spec_survives_json() -> None:
    assert from_json(Spec, json.loads(json.dumps(to_json(SPEC)))) == SPEC


def test_what_an_older_spec_lacks_has_its_default() -> None:
    assert from_json(Spec, {"behavior": "be sad", "left over": 1}) == Spec("be sad")


@pytest.mark.parametrize(
    "event",
    [
        StageStarted(Stage.DRAFT),
        StageProgress(Stage.SEARCH, 3, 20, 12.5, trial(1, 0.5)),
        StageProgress(Stage.SEARCH, 3, 20, None),
        CandidatesFound(Stage.CAUSAL, (candidate(1, lift=0.5, promoted=(" sea",)),)),
        TrialDone(trial(4, 0.25)),
    ],
)
def test_events_survive_json_with_their_keys(event: Any) -> None:
    again = event_from_json(json.loads(json.dumps(event_to_json(event))))
    assert again == event
    assert again.key == event.key


def test_a_decent_spec_is_allowed() -> None:
    check(SPEC)
    check(Spec(positive=SPEC.positive))


@pytest.mark.parametrize(
    ("changes", "field"),
    [
        ({"behavior": "  ", "positive": (), "negative": ()}, "behavior"),
        ({"behavior": "x" * 100_000}, "behavior"),
        ({"positive": (Prompt(text="Hello"),)}, "negative[0]"),
        ({"positive": ()}, "negative"),
        ({"prompts": (Prompt.ask("a?"), Prompt())}, "prompts[1]"),
        ({"prompts": (Prompt(text="x"),) * 300}, "prompts"),
        ({"max_features": 0}, "max_features"),
        ({"max_features": 6}, "max_features"),
        ({"max_trials": 501}, "max_trials"),
        ({"temperature": float("nan")}, "temperature"),
        ({"temperature": -0.1}, "temperature"),
        ({"budget": Budget(seconds=1.0)}, "budget.seconds"),
        ({"budget": Budget(seconds=float("inf"))}, "budget.seconds"),
        ({"seed": -1}, "seed"),
        ({"judge": JudgeChoice("nobody")}, "judge.name"),
        ({"judge": JudgeChoice("offline", "http://x")}, "judge.endpoint"),
        ({"judge": JudgeChoice("http", "file:///etc/passwd")}, "judge.endpoint"),
        ({"judge": JudgeChoice("openai", "http://x")}, "judge.model"),
        ({"model": "m" * 501}, "model"),
    ],
)
def test_what_is_not_allowed_is_refused_by_its_field(changes: dict[str, Any], field: str) -> None:
    with pytest.raises(InvalidField) as refused:
        check(replace(SPEC, **changes))
    assert refused.value.field == f"spec.{field}"


def test_a_spec_may_say_more_than_its_tier() -> None:
    plan = plan_of(replace(SPEC, max_trials=7, max_tokens=99))
    assert (plan.seconds, plan.trials, plan.tokens) == (90.0, 7, 99)
    assert plan_of(Spec("x")) == TIERS[Tier.DEFAULT]


def test_larger_tiers_try_no_less_of_anything() -> None:
    quick, default, thorough = (TIERS[tier] for tier in (Tier.QUICK, Tier.DEFAULT, Tier.THOROUGH))
    for name in (
        "seconds",
        "tokens",
        "pairs",
        "probed",
        "probed_kept",
        "trials",
        "train_prompts",
        "held_out_prompts",
        "finalist_prompts",
        "control_prompts",
    ):
        assert getattr(quick, name) <= getattr(default, name) <= getattr(thorough, name)


def test_a_clock_does_not_count_breaks() -> None:
    times = iter([100.0, 103.0, 103.0, 104.0])
    clock = Clock(10.0, 4.0, lambda: next(times))
    assert clock.spent == 7.0
    assert clock.left == 3.0
    assert not clock.affords(2.5)


def test_a_pace_is_the_usual_one_until_some_texts_are_seen() -> None:
    pace = Pace()
    pace.saw(COUNTED - 1, 100.0)
    assert pace.takes(10) == pytest.approx(10 * USUAL)
    pace.saw(1, 0.0)
    assert pace.takes(10) == pytest.approx(10 * 100.0 / COUNTED)


def test_the_time_left_shrinks_from_stage_to_stage() -> None:
    course = Course.of(TIERS[Tier.DEFAULT])
    assert course.left(Stage.DRAFT, 0.0, 1.0) is None
    left = [course.left(stage, 0.5, 100.0) for stage in list(Stage)[2:]]
    assert left == sorted(left, key=lambda seconds: -(seconds or 0))
    assert course.left(Stage.VALIDATE, 1.0, 100.0) == pytest.approx(0.0, abs=1e-6)
