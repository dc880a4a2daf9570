"""The one number that is maximised: the harmonic mean of adherence, relevance and fluency, 0 if any is 0."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from services.autosteer.spec import Sample, Trial

FREE_LOSS = 0.3
"""Nats a token by which a text may be less likely than the unsteered one at no cost,"""
LOSS_SCALE = 0.8
"""and nats over which fluency then falls to 1/e."""

FLUENT = 0.5
"""Mean fluency below which no edits are called safe: others are chosen as long as there are any."""


@dataclass(frozen=True, slots=True)
class Scores:
    """What a judge says of a text, each in 0..1."""

    adherence: float
    """1: the behaviour is plain to see; 0: no more of it than in the unsteered text."""
    relevance: float
    """1: answers the prompt as well as the unsteered text does; 0: not about it at all."""
    fluency: float
    """1: reads as well as the unsteered text; 0: broken."""

    @property
    def objective(self) -> float:
        """Harmonic mean, 0 if any is 0."""
        return harmonic_mean(self.adherence, self.relevance, self.fluency)


BROKEN = Scores(0.0, 0.0, 0.0)
"""Of a text that the rules find broken: no judge is asked."""


def harmonic_mean(*values: float) -> float:
    """0 if any is 0."""
    return 0.0 if min(values) <= 0 else len(values) / sum(1 / value for value in values)


def fluency_of(loss: float) -> float:
    """1 to a loss of 0.3 nats a token against the unsteered text, then falling by e with every 0.8."""
    return math.exp(-max(0.0, loss - FREE_LOSS) / LOSS_SCALE)


def clipped(value: float) -> float:
    """Within 0..1; 0 for what is no number."""
    return min(1.0, max(0.0, value)) if math.isfinite(value) else 0.0


def mean(values: Sequence[float]) -> float:
    """0 of none."""
    return sum(values) / len(values) if values else 0.0


def pareto_front(trials: Sequence[Trial]) -> tuple[Trial, ...]:
    """Trials that saw all prompts and that no other surpasses in adherence, relevance and fluency; best score first.

    Of trials with equal scores the first one stays.
    """
    whole = [trial for trial in trials if not trial.pruned]

    def covers(one: Trial, other: Trial) -> bool:
        ours = (one.adherence, one.relevance, one.fluency)
        theirs = (other.adherence, other.relevance, other.fluency)
        no_worse = all(a >= b for a, b in zip(ours, theirs, strict=True))
        return no_worse and (ours != theirs or one.number < other.number)

    front = [trial for trial in whole if not any(covers(o, trial) for o in whole if o is not trial)]
    return tuple(sorted(front, key=lambda trial: (-trial.score, trial.number)))


def sample_of(question: str, seed: int, text: str, scores: Scores) -> Sample:
    """A sample with its scores."""
    return Sample(question, seed, text, scores.objective, scores.adherence, scores.relevance, scores.fluency)
