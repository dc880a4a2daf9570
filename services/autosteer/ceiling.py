"""The ceiling of each direction: the largest dose at which texts stay coherent, by bisection between what is known."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, replace

from services.autosteer.desk import Desk, Place, Wanted
from services.autosteer.doses import MAX_SHARE, TRIED_MOST, nudge
from services.autosteer.judges.rules import DOUBLED_LOSS
from services.autosteer.screen import Tried
from services.autosteer.spec import Candidate

LEAST_SHARE = 0.08
"""A ceiling is never set lower: below it no nudge shows."""
UNTRIED = 0.6
BROKEN_MOST = 1 / 3
"""Share of texts that the rules may find broken."""


@dataclass(frozen=True, slots=True)
class Bounds:
    """Where a ceiling lies, in fractions of the norm: coherent at `low`, not at `high`."""

    low: float
    high: float

    @property
    def middle(self) -> float:
        """The dose that halves it."""
        return (self.low + self.high) / 2

    def halved(self, coherent: bool) -> Bounds:
        """The half in which the ceiling lies."""
        return Bounds(self.middle, self.high) if coherent else Bounds(self.low, self.middle)


def bounds_of(candidate: Candidate, tried: Sequence[Tried]) -> Bounds:
    """What the screen tells of a candidate's ceiling."""
    own = sorted((abs(t.share), t.coherent) for t in tried if t.feature == candidate.feature)
    broken = [share for share, coherent in own if not coherent]
    high = min(broken, default=TRIED_MOST)
    low = max((share for share, coherent in own if coherent and share < high), default=0.0)
    return Bounds(low, high)


async def ceilings(
    candidates: Sequence[Candidate],
    tried: Sequence[Tried],
    rounds: int,
    places: Sequence[Place],
    strength_constant: float,
    desk: Desk,
    told: Callable[[int, int], Awaitable[None]],
    goes_on: Callable[[], bool] = lambda: True,
) -> list[Candidate]:
    """The candidates with their ceilings. `goes_on` is asked before each round whether there is time for it."""
    bounds = [bounds_of(each, tried) for each in candidates]
    for number in range(rounds):
        if not goes_on():
            break
        wanted = [
            Wanted(place, nudge(each.feature, each.sign * bound.middle, strength_constant))
            for each, bound in zip(candidates, bounds, strict=True)
            for place in places
        ]
        read = await desk.losses(wanted)
        size = len(places)
        bounds = [
            bound.halved(is_coherent([loss for _, loss in read[n * size : (n + 1) * size]]))
            for n, bound in enumerate(bounds)
        ]
        await told(number + 1, rounds)
    return [replace(each, ceiling=_ceiling(bound)) for each, bound in zip(candidates, bounds, strict=True)]


def is_coherent(losses: Sequence[float]) -> bool:
    """Whether texts stay coherent: few are broken, and the perplexity of the others is at most doubled on average."""
    whole = [loss for loss in losses if loss != float("inf")]
    if len(losses) - len(whole) > BROKEN_MOST * len(losses) or not whole:
        return False
    return sum(whole) / len(whole) <= DOUBLED_LOSS


def _ceiling(bound: Bounds) -> float:
    """Between what is known to be coherent and what is known not to be: the objective punishes what is too much. Where
    nothing was coherent yet, 0.6 of the smallest dose that was not is taken for it. Within what a result may use."""
    low = max(bound.low, UNTRIED * bound.high)
    return min(MAX_SHARE, max(LEAST_SHARE, (low + bound.high) / 2))
