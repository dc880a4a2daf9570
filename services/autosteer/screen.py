"""The screen: short texts under each candidate at a few doses. Rules come first; the judge sees what survives."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, replace

from services.autosteer.candidates import leading
from services.autosteer.desk import Desk, Place, Wanted
from services.autosteer.doses import nudge
from services.autosteer.objective import mean
from services.autosteer.spec import Candidate, Sample
from services.steering.conditions import FeatureKey

TOGETHER = 32
"""Texts that are written side by side: those of some candidates at all doses."""
HALVED = 4
"""Prompts from which on only the better half of the candidates sees all of them."""
BEFORE = 0.6
"""What a point of the score before the screen counts beside one of the screen: on six prompts, features that do the
same on many lie 0.2 apart by chance, and what they mean tells more."""
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
    """The best `keep` by their best dose. With HALVED prompts or more, the better half of the candidates after half of
    the prompts sees the others. `goes_on` is asked before each group whether there is time for it."""
    samples: dict[FeatureKey, dict[float, list[Sample]]] = {}
    middle = (len(places) + 1) // 2 if len(places) >= HALVED else len(places)
    half = max(keep, (len(candidates) + 1) // 2)
    total = len(candidates) + (min(half, len(candidates)) if middle < len(places) else 0)
    done, left = 0, list(candidates)
    for part in (places[:middle], places[middle:]):
        together = max(1, TOGETHER // (len(shares) * max(1, len(part))))
        for start in range(0, len(left) if part else 0, together):
            if done and not goes_on():
                break
            group = left[start : start + together]
            doses = [(each, each.sign * share) for each in group for share in shares]
            judged = iter(await desk.judged(_wanted(doses, part, strength_constant)))
            for each, share in doses:
                seen = samples.setdefault(each.feature, {}).setdefault(share, [])
                seen += [next(judged) for _ in part]
            done += len(group)
            await told(done, total)
        going = {each.feature for each in passed(left, _tried(samples), half)}
        left = [each for each in left if each.feature in going]
    tried = _tried(samples)
    return Screened(tuple(passed(candidates, tried, keep)), tried)


def _wanted(
    doses: Sequence[tuple[Candidate, float]], places: Sequence[Place], constant: float
) -> list[Wanted]:
    return [Wanted(place, nudge(each.feature, share, constant)) for each, share in doses for place in places]


def _tried(samples: Mapping[FeatureKey, Mapping[float, Sequence[Sample]]]) -> tuple[Tried, ...]:
    return tuple(
        tried_of(feature, share, seen) for feature, doses in samples.items() for share, seen in doses.items()
    )


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
    """Candidates that were tried, those on more prompts first, by the score of their best dose and what was known of
    them before. The top hit is among them."""
    best: dict[FeatureKey, tuple[int, float]] = {}
    for each in tried:
        seen = len(each.samples), each.score
        best[each.feature] = max(best.get(each.feature, seen), seen)
    order = sorted(
        (each for each in candidates if each.feature in best),
        key=lambda each: (-best[each.feature][0], -best[each.feature][1] - BEFORE * each.score),
    )
    # A score of 0 on few texts is no proof: where nothing shows, the search still has something to combine.
    good = [each for each in order if best[each.feature][1] > 0] or order[:2]
    hit = [each for each in order if each.top_hit and each not in good]
    kept = leading([*good, *hit], keep)
    return [replace(each, score=best[each.feature][1]) for each in kept]
