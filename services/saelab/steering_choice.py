"""Choosing feature and dose so that the choice holds on questions that it was not made by.

A few texts are noisy: the best of many tries is partly luck, and a dose at the edge of fluency falls off it elsewhere.
So tries are ranked by the chance that another set of questions finds them fluent and visible, taking the differences
between two sets as normal. Their deviations were measured on the embedded model, between three questions and four
others, over 200 doses of 40 features: 0.24 nats of loss, 0.13 of distinct runs, 3.4 words in a hundred.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from math import erf, sqrt

from services.saelab.feature_rows import Dose
from services.saelab.steering_rules import FLUENT_DISTINCT, FLUENT_LOSS, VISIBLE_WORDS

LOSS_DEVIATION = 0.24
DISTINCT_DEVIATION = 0.13
GAIN_DEVIATION = 3.4


def chance(dose: Dose) -> float:
    """That other questions find the dose fluent and its gain visible, in [0, 1]."""
    return (
        _below((FLUENT_LOSS - dose.loss) / LOSS_DEVIATION)
        * _below((dose.distinct - FLUENT_DISTINCT) / DISTINCT_DEVIATION)
        * _below((dose.gain - VISIBLE_WORDS) / GAIN_DEVIATION)
    )


def smoothed(doses: Sequence[Dose]) -> list[Dose]:
    """Doses in order of strength, each with a gain that its neighbours share: a lone peak is luck."""
    gains = [dose.gain for dose in doses]
    padded = [*gains[:1], *gains, *gains[-1:]]
    means = [
        (before + 2 * own + after) / 4 for before, own, after in zip(padded, gains, padded[2:], strict=False)
    ]
    return [replace(dose, gain=gain) for dose, gain in zip(doses, means, strict=True)]


def safest(doses: Sequence[Dose]) -> tuple[float, float]:
    """The strength with the best chance among doses in order of strength, and that chance."""
    best = max(smoothed(doses), key=chance)
    return best.strength, chance(best)


def _below(deviations: float) -> float:
    """The normal distribution."""
    return (1 + erf(deviations / sqrt(2))) / 2
