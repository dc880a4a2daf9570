"""What a search for steering features found, as steering.json keeps it: one row for each topic."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from statistics import median
from typing import Any

from services.encoder.minilm import Encode
from services.saelab.feature_rows import Dose
from services.saelab.steering_rules import VISIBLE_WORDS, Topic, is_fluent

STEERING = "steering.json"
GOOD_DOSE = 0.5
"""The strength unit is calibrated so that this is a good dose."""
NAMED_WITHIN = 3
"""The second judge agrees where the texts' own topic is among so many nearest."""


@dataclass(frozen=True, slots=True)
class Sample:
    """One steered text."""

    prompt: str
    plain: str
    """What the model says unsteered."""
    steered: str


@dataclass(frozen=True, slots=True)
class Found:
    """The best feature of a topic. All but the choice of feature and strength is measured on other questions."""

    topic: str
    feature: int
    strength: float
    """The dose that was chosen; one of `doses`."""
    doses: tuple[Dose, ...]
    """In order of strength."""
    samples: tuple[Sample, ...]
    """At the chosen dose."""
    candidates: int
    """Features that were tried."""
    named: int | None = None
    """The second judge's place of the topic among all topics, 1 for the nearest to the steered texts; None without."""

    @property
    def dose(self) -> Dose:
        """The chosen one."""
        return next(dose for dose in self.doses if dose.strength == self.strength)

    @property
    def fluent(self) -> bool:
        """Whether the texts stay fluent, by the stated rule."""
        return is_fluent(self.dose.loss, self.dose.distinct)

    @property
    def steers(self) -> bool:
        """Whether the texts move visibly to the topic and stay fluent."""
        return self.fluent and self.dose.gain >= VISIBLE_WORDS

    def place_of(self, strength: float) -> int:
        """The place of a strength among the doses, 1 for the best: fluent ones come first, then those of more gain."""
        return [dose.strength for dose in ranked(self.doses)].index(strength) + 1


def standing(dose: Dose) -> tuple[bool, float]:
    """What doses and features are ranked by: fluent ones before others, then by gain."""
    return is_fluent(dose.loss, dose.distinct), dose.gain


def ranked(doses: Sequence[Dose]) -> list[Dose]:
    """The best dose first."""
    return sorted(doses, key=standing, reverse=True)


def rows_of(found: Sequence[Found], topics: Sequence[Topic]) -> list[dict[str, Any]]:
    """The rows of steering.json."""
    return [
        {
            "topic": one.topic,
            "feature": one.feature,
            "strength": one.strength,
            "gain": one.dose.gain,
            "loss": one.dose.loss,
            "distinct": one.dose.distinct,
            "samples": [asdict(sample) for sample in one.samples],
            "fluent": one.fluent,
            "steers": one.steers,
            "doses": [asdict(dose) for dose in one.doses],
            "candidates": one.candidates,
            "named": one.named,
            "moved_by_others": moved_by_others(one, found, topic),
        }
        for one, topic in zip(found, topics, strict=True)
    ]


def moved_by_others(own: Found, found: Sequence[Found], topic: Topic) -> float:
    """The null of the rule: the share of the other topics' features whose texts move to this topic by it."""
    others = [one for one in found if one.topic != own.topic]

    def gain(one: Found) -> float:
        gains = [topic.words(sample.steered) - topic.words(sample.plain) for sample in one.samples]
        return sum(gains) / len(gains)

    moved = sum(one.fluent and gain(one) >= VISIBLE_WORDS for one in others)
    return moved / len(others) if others else 0.0


def calibrated_constant(found: Sequence[Found], constant: float) -> float:
    """The strength constant by which GOOD_DOSE is the middle of the best doses of the features that steer.

    `constant` is that of the doses. It is kept where nothing steers.
    """
    best = [ranked(one.doses)[0].strength for one in found if one.steers]
    return round(constant * median(best) / GOOD_DOSE, 2) if best else constant


def named(found: Sequence[Found], topics: Sequence[Topic], encode: Encode) -> list[Found]:
    """The same with the second judge's word: which topics' sentences the steered texts are nearest to, blindly.

    A topic's nearness is the mean cosine of its sentences with the texts, less that with the unsteered ones.
    """
    sentences = [encode(topic.sentences) for topic in topics]
    judged = []
    for row, one in enumerate(found):
        steered = encode([sample.steered for sample in one.samples])
        plain = encode([sample.plain for sample in one.samples])
        nearness = [float((theirs @ (steered - plain).T).mean()) for theirs in sentences]
        judged.append(replace(one, named=1 + sum(other > nearness[row] for other in nearness)))
    return judged
