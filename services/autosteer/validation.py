"""Validation: the best settings on prompts that nothing was tuned on, beside what they must surpass.

Prompts go where the decision is close: the controls answer the first ones alone, the finalists more of them, and all
the others are left to the best of these and the system prompt. The unsteered model answers all, for the judge compares
with it.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from services.autosteer.desk import Desk, Place, Wanted
from services.autosteer.doses import norm_of
from services.autosteer.intervals import interval, paired_difference
from services.autosteer.objective import FLUENT, mean
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


@dataclass(frozen=True, slots=True)
class Reach:
    """How many prompts who answers; the best finalist, the system prompt and the unsteered model answer all."""

    finalists: int
    controls: int

    def texts(self, finalists: int, controls: int, prompts: int) -> int:
        """Texts of a validation on so many prompts, by so many finalists and controls."""
        others = (finalists - 1) * min(self.finalists, prompts) + controls * min(self.controls, prompts)
        return 3 * prompts + others


@dataclass(frozen=True, slots=True)
class Part:
    """Who answers the prompts up to which one."""

    upto: int
    arms: Callable[[], Sequence[Contender]]


def parts(
    arms: Sequence[Contender], samples: Mapping[str, Sequence[Sample]], reach: Reach, prompts: int
) -> list[Part]:
    """The parts of a validation of a job; `samples` is what they fill, for the last one goes by it."""
    finalists = [arm for arm in arms if arm.trial is not None]
    always = [arm for arm in arms if arm.name in (UNSTEERED, SYSTEM_PROMPT)]

    def deciding() -> list[Contender]:
        return [*sorted(finalists, key=lambda arm: _rank_of(samples[arm.name]))[-1:], *always]

    return [
        Part(reach.controls, lambda: arms),
        Part(reach.finalists, lambda: [*finalists, *always]),
        Part(prompts, deciding),
    ]


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
    asked: Sequence[Part],
    places: Sequence[Place],
    desk: Desk,
    samples: dict[str, list[Sample]],
    told_progress: Callable[[int, int], Awaitable[None]],
    affordable: Callable[[int], bool] = lambda texts: True,
) -> None:
    """Has the arms of each part answer its prompts, into `samples` by arm: after each group of prompts, so that what is
    there is whole whenever it ends. `affordable` says whether there is time for so many texts; the smallest group is
    tried in any case."""
    done = 0
    for part in asked:
        upto = min(part.upto, len(places))
        arms = part.arms() if done < upto else ()
        while done < upto:
            size = min(max(LEAST_PROMPTS, TOGETHER // len(arms)), upto - done)
            while size > LEAST_PROMPTS and not affordable(size * len(arms)):
                size = max(LEAST_PROMPTS, size // 2)
            if done and not affordable(size * len(arms)):
                return
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
    """Means with intervals, and the best steered arm's lead over each other arm, on the prompts that both answered."""

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
    best = max(steered, key=_ranked(steered))
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
    """The steered arm with the best mean on the prompts that all of them answered, a fluent one if there is any."""
    steered = [arm for arm in validation.arms if arm.trial is not None]
    return max(steered, key=_ranked(steered), default=None)


def _ranked(steered: Sequence[Arm]) -> Callable[[Arm], tuple[bool, float]]:
    """By the prompts that all answered: on more of them the best is less flattered than the others."""
    common = min((len(arm.samples) for arm in steered), default=0)
    return lambda arm: _rank_of(arm.samples[:common])


def _rank_of(samples: Sequence[Sample]) -> tuple[bool, float]:
    return mean([s.fluency for s in samples]) >= FLUENT, mean([s.score for s in samples])
