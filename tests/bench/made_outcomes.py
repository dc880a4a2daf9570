"""Outcomes as a run would have measured them, with the scores that a test asks for."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cache

from bench.behaviors.outcome import ARMS, AUTO, RULE, TOP_HIT, Outcome, Setup
from services.autosteer.objective import Scores, sample_of
from services.autosteer.spec import (
    Decision,
    JudgeReport,
    Result,
    Sample,
    Tier,
    Trial,
    Validation,
    Verdict,
)
from services.autosteer.validation import SYSTEM_PROMPT, UNSTEERED, Contender, summary
from services.steering.conditions import FeatureKey
from services.steering.edits import Edit, Operation

PROMPTS = ("How is bread made?", "Why is the sky blue?", "What is a lake?")
SETUP = Setup("model", "sae", Tier.DEFAULT, 0, PROMPTS, 32, 0.7, 300.0)
EDITS = (Edit(FeatureKey("sae", 7), Operation.NUDGE, 0.4),)
AHEAD = {AUTO: 0.6, TOP_HIT: 0.2, RULE: 0.1, SYSTEM_PROMPT: 0.4, UNSTEERED: 0.0}
"""Adherence by way: auto-steer beats all others."""


def validation(adherence: Mapping[str, float], fluency: float = 0.9) -> Validation:
    return _validation(tuple(adherence.items()), fluency)


@cache
def _validation(ways: tuple[tuple[str, float], ...], fluency: float) -> Validation:
    adherence = dict(ways)
    samples: dict[str, list[Sample]] = {
        name: [
            sample_of(
                prompt, n, f"{name} says {n} about it", Scores(max(0.0, value - 0.01 * n), 1.0, fluency)
            )
            for n, prompt in enumerate(PROMPTS)
        ]
        for name, value in adherence.items()
    }
    arms = [
        Contender(name, EDITS if name == AUTO else (), trial=0 if name == AUTO else None)
        for name in adherence
    ]
    return summary(arms, samples, PROMPTS, 0)


def outcome(
    name: str,
    changed: Mapping[str, float] | None = None,
    decision: Decision = Decision.USE,
    fluency: float = 0.9,
    cut_short: Sequence[str] = (),
) -> Outcome:
    measured = validation({arm: {**AHEAD, **(changed or {})}[arm] for arm in ARMS}, fluency)
    trial = Trial(0, EDITS, 0.6, 0.6, 1.0, 0.9, ())
    result = Result(
        trial,
        (trial,),
        measured,
        Verdict(decision, f"The reason of {name}."),
        JudgeReport("offline", 0.9, 20),
        {"sae/7": "bread | ovens"},
        tuple(cut_short),
        280.0,
    )
    return Outcome(name, SETUP, result, measured, {"sae/7": "bread | ovens"}, 320.0, "2026-01-02", "abc")
