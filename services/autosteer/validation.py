"""Validation: the best settings on prompts that nothing was tuned on, beside what they must surpass."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass

import numpy as np

from services.autosteer.desk import Desk, Place, Wanted
from services.autosteer.doses import norm_of
from services.autosteer.intervals import interval, paired_difference
from services.autosteer.objective import FLUENT
from services.autosteer.spec import Arm, Difference, Sample, Trial, Validation
from services.autosteer.wording import number_of, told
from services.steering.conditions import FeatureKey
from services.steering.edits import Edit, Operation

UNSTEERED, SYSTEM_PROMPT = "unsteered", "system prompt"
RANDOM, WRONG_SIGN = "random feature", "wrong sign"
TOGETHER = 48
"""Texts that are written together: all arms on some prompts."""
LEAST_PROMPTS = 2
"""Prompts of the smallest such group."""


@dataclass(frozen=True, slots=True)
class Contender:
    """One arm before it has answered."""

    name: str
    edits: tuple[Edit, ...] = ()
    instruction: str = ""
    trial: int | None = None


def steered_name(place: int) -> str:
    """Of the arm of the trial in this place, from 1."""
    return f"steered {place}"


def contenders(
    finalists: Sequence[Trial], instruction: str, random_feature: FeatureKey | None, strength_constant: float
) -> list[Contender]:
    """The arms: the finalists, no steering, the behaviour as a system prompt; with a random feature, the controls."""
    arms = [Contender(steered_name(n), t.edits, trial=t.number) for n, t in enumerate(finalists, 1)]
    arms += [Contender(UNSTEERED), Contender(SYSTEM_PROMPT, instruction=instruction)]
    if random_feature is not None and finalists:
        best = finalists[0].edits
        strength = round(norm_of(best, strength_constant) / strength_constant, 3)
        arms.append(Contender(RANDOM, (Edit(random_feature, Operation.NUDGE, strength),)))
        arms.append(Contender(WRONG_SIGN, tuple(Edit(e.feature, e.operation, -e.value) for e in best)))
    return arms


def random_feature(sae: str, count: int, taken: Sequence[int], seed: int) -> FeatureKey | None:
    """A feature that is no candidate; None where all features are."""
    rng = np.random.default_rng(number_of("random feature", seed) % 2**32)
    used = set(taken)
    free = (index for index in rng.permutation(count)[: len(used) + 1].tolist() if index not in used)
    index = next(free, None)
    return None if index is None else FeatureKey(sae, int(index))


async def validate(
    arms: Sequence[Contender],
    places: Sequence[Place],
    desk: Desk,
    samples: dict[str, list[Sample]],
    told_progress: Callable[[int, int], Awaitable[None]],
    affordable: Callable[[int], bool] = lambda texts: True,
) -> None:
    """Has all arms answer all prompts, into `samples` by arm: after each group of prompts, so that what is there is
    whole whenever it ends. `affordable` says whether there is time for so many texts; the smallest group is tried in
    any case."""
    done = 0
    while done < len(places):
        size = min(max(LEAST_PROMPTS, TOGETHER // len(arms)), len(places) - done)
        while size > LEAST_PROMPTS and not affordable(size * len(arms)):
            size = max(LEAST_PROMPTS, size // 2)
        if done and not affordable(size * len(arms)):
            break
        chunk = places[done : done + size]
        wanted = [
            Wanted(place, arm.edits, told(place.prompt, arm.instruction) if arm.instruction else None)
            for arm in arms
            for place in chunk
        ]
        judged = await desk.judged(wanted)
        for n, arm in enumerate(arms):
            samples[arm.name] += judged[n * len(chunk) : (n + 1) * len(chunk)]
        done += len(chunk)
        await told_progress(done, len(places))


def summary(
    arms: Sequence[Contender], samples: dict[str, list[Sample]], prompts: Sequence[str], seed: int
) -> Validation:
    """Means with intervals, and the best steered arm's lead over each other arm."""

    def values(name: str, what: str) -> list[float]:
        return [getattr(sample, what) for sample in samples[name]]

    def described_arm(arm: Contender) -> Arm:
        return Arm(
            name=arm.name,
            edits=arm.edits,
            score=interval(values(arm.name, "score"), seed),
            adherence=interval(values(arm.name, "adherence"), seed),
            relevance=interval(values(arm.name, "relevance"), seed),
            fluency=interval(values(arm.name, "fluency"), seed),
            samples=tuple(samples[arm.name]),
            trial=arm.trial,
        )

    described = tuple(map(described_arm, arms))
    steered = [arm for arm in described if arm.trial is not None]
    if not steered:
        return Validation(tuple(prompts), described, ())
    best = max(steered, key=_rank)
    differences = tuple(
        Difference(
            best.name,
            arm.name,
            paired_difference(values(best.name, "score"), values(arm.name, "score"), seed),
        )
        for arm in described
        if arm.name != best.name
    )
    return Validation(tuple(prompts), described, differences)


def best_arm(validation: Validation) -> Arm | None:
    """The steered arm with the best mean, a fluent one if there is any."""
    return max((arm for arm in validation.arms if arm.trial is not None), key=_rank, default=None)


def _rank(arm: Arm) -> tuple[bool, float]:
    return arm.fluency.mean >= FLUENT, arm.score.mean
