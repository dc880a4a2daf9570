"""How much each tier tries. The numbers suit the embedded model on two cores: about 0.6 s for a judged sample."""

from __future__ import annotations

from dataclasses import dataclass, replace

from services.autosteer.spec import Spec, Tier


@dataclass(frozen=True, slots=True)
class Plan:
    """The sizes of all stages."""

    seconds: float
    """After so many seconds of work it comes to an end, whatever is left out."""
    tokens: int
    """Tokens of a sample."""
    pairs: int
    """Contrast pairs that the model drafts; templates alone where 0."""
    retrieved: int
    """Candidates that are looked up."""
    probed: int
    """Of which so many are nudged, to see what becomes likelier;"""
    probe_texts: int
    """by so many texts of each kind;"""
    probed_kept: int
    """and so many are kept."""
    shares: tuple[float, ...]
    """Doses of the screen, in fractions of the residual norm."""
    screen_prompts: int
    screened_kept: int
    ceiling_rounds: int
    """Halvings of the interval in which the ceiling lies."""
    ceiling_prompts: int
    trials: int
    wave: int
    """Trials that run side by side."""
    train_prompts: int
    finalists: int
    """Best trials that are validated."""
    held_out_prompts: int
    """Prompts of the validation: all are answered by the best finalist, the system prompt and the unsteered model,"""
    finalist_prompts: int
    """so many of them by all finalists,"""
    control_prompts: int
    """and so many by the controls."""
    controls: bool
    """Whether a random feature and the wrong sign are validated too."""
    asks_gold: bool
    """Whether the judge is tried on the gold set."""


TIERS: dict[Tier, Plan] = {
    Tier.QUICK: Plan(
        seconds=44.0,
        tokens=24,
        pairs=0,
        retrieved=80,
        probed=10,
        probe_texts=3,
        probed_kept=6,
        shares=(0.24,),
        screen_prompts=2,
        screened_kept=3,
        ceiling_rounds=0,
        ceiling_prompts=2,
        trials=6,
        wave=6,
        train_prompts=4,
        finalists=1,
        held_out_prompts=6,
        finalist_prompts=6,
        control_prompts=6,
        controls=False,
        asks_gold=False,
    ),
    Tier.DEFAULT: Plan(
        seconds=420.0,
        tokens=32,
        pairs=24,
        retrieved=240,
        probed=24,
        probe_texts=4,
        probed_kept=16,
        shares=(0.25,),
        screen_prompts=6,
        screened_kept=6,
        ceiling_rounds=2,
        ceiling_prompts=3,
        trials=16,
        wave=8,
        train_prompts=12,
        finalists=3,
        held_out_prompts=40,
        finalist_prompts=20,
        control_prompts=12,
        controls=True,
        asks_gold=True,
    ),
    Tier.THOROUGH: Plan(
        seconds=1500.0,
        tokens=40,
        pairs=48,
        retrieved=300,
        probed=120,
        probe_texts=6,
        probed_kept=24,
        shares=(0.2, 0.3),
        screen_prompts=8,
        screened_kept=8,
        ceiling_rounds=3,
        ceiling_prompts=4,
        trials=64,
        wave=8,
        train_prompts=16,
        finalists=3,
        held_out_prompts=72,
        finalist_prompts=36,
        control_prompts=24,
        controls=True,
        asks_gold=True,
    ),
}


def plan_of(spec: Spec) -> Plan:
    """The tier's numbers with what the spec says instead."""
    plan = TIERS[spec.budget.tier]
    return replace(
        plan,
        seconds=plan.seconds if spec.budget.seconds is None else spec.budget.seconds,
        tokens=spec.max_tokens or plan.tokens,
        trials=spec.max_trials or plan.trials,
    )
