"""The screen: short texts under each candidate at a few doses. Rules come first; the judge sees what survives."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, replace

from services.autosteer.desk import Desk, Place, Wanted
from services.autosteer.doses import nudge
from services.autosteer.objective import mean
from services.autosteer.spec import Candidate, Sample
from services.steering.conditions import FeatureKey

TOGETHER = 32
"""Texts that are written side by side: those of some candidates at all doses."""
COHERENT = 0.5
"""Mean fluency from which on a dose counts as coherent."""


@dataclass(frozen=True, slots=True)
class Tried:
    """One candidate at one dose."""

    feature: FeatureKey
    share: float
    """Of the norm; negative where the sign is."""
    score: float
    adherence: float
    fluency: float
    samples: tuple[Sample, ...]

    @property
    def coherent(self) -> bool:
        """Whether the texts stay fluent at this dose."""
        return self.fluency >= COHERENT


@dataclass(frozen=True, slots=True)
class Screened:
    """Candidates that passed, best first, and all that was tried."""

    candidates: tuple[Candidate, ...]
    tried: tuple[Tried, ...]


async def screen(
    candidates: Sequence[Candidate],
    shares: Sequence[float],
    places: Sequence[Place],
    keep: int,
    strength_constant: float,
    desk: Desk,
    told: Callable[[int, int], Awaitable[None]],
    goes_on: Callable[[], bool] = lambda: True,
) -> Screened:
    """The best `keep` by their best dose. `goes_on` is asked before each group whether there is time for it."""
    tried: list[Tried] = []
    seen = 0
    together = group_size(len(shares), len(places))
    for start in range(0, len(candidates), together):
        if start and not goes_on():
            break
        group = candidates[start : start + together]
        doses = [(each, each.sign * share) for each in group for share in shares]
        wanted = [
            Wanted(place, nudge(each.feature, share, strength_constant))
            for each, share in doses
            for place in places
        ]
        samples = await desk.judged(wanted)
        size = len(places)
        tried += [
            tried_of(each.feature, share, samples[n * size : (n + 1) * size])
            for n, (each, share) in enumerate(doses)
        ]
        seen += len(group)
        await told(seen, len(candidates))
    return Screened(tuple(passed(candidates[:seen], tried, keep)), tuple(tried))


def group_size(doses: int, prompts: int) -> int:
    """Candidates in a group."""
    return max(1, TOGETHER // (doses * prompts))


def tried_of(feature: FeatureKey, share: float, samples: Sequence[Sample]) -> Tried:
    """Means over the samples."""
    return Tried(
        feature,
        share,
        mean([sample.score for sample in samples]),
        mean([sample.adherence for sample in samples]),
        mean([sample.fluency for sample in samples]),
        tuple(samples),
    )


def passed(candidates: Sequence[Candidate], tried: Sequence[Tried], keep: int) -> list[Candidate]:
    """Candidates by the score of their best dose; equal ones stay in the order of the causal filter."""
    best = {each.feature: max(t.score for t in tried if t.feature == each.feature) for each in candidates}
    order = sorted(candidates, key=lambda each: -best[each.feature])
    # A score of 0 on few texts is no proof: where nothing shows, the search still has something to combine.
    good = [each for each in order if best[each.feature] > 0] or order[:2]
    return [replace(each, score=best[each.feature]) for each in good[:keep]]
