"""What one behaviour came to, as the work folder keeps it."""

from __future__ import annotations

from dataclasses import dataclass, field

from services.autosteer.spec import Arm, Decision, Interval, JudgeReport, Result, Sample, Tier, Validation
from services.autosteer.validation import SYSTEM_PROMPT, UNSTEERED

AUTO, TOP_HIT, RULE = "auto-steer", "top hit", "Ember's rule"
RIVALS = (TOP_HIT, RULE, SYSTEM_PROMPT, UNSTEERED)
"""What auto-steer is compared with."""
ARMS = (AUTO, *RIVALS)


@dataclass(frozen=True, slots=True)
class Setup:
    """What must be the same for numbers to stand in one table."""

    model: str
    sae: str
    tier: Tier
    seed: int
    prompts: tuple[str, ...]
    tokens: int
    """Of a text."""
    temperature: float
    seconds: float
    """The pipeline's budget."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """One behaviour."""

    name: str
    setup: Setup
    result: Result
    """Of the pipeline: with its own validation, on its own held-out prompts."""
    measured: Validation
    """All ways on the benchmark's prompts, by the offline judge."""
    labels: dict[str, str]
    """Of the features of all ways, by `sae/index`."""
    seconds: float
    """That all ways took together, the pipeline included."""
    date: str
    code: str = ""
    """Digest of the pipeline's source."""
    opinions: dict[str, Validation] = field(default_factory=dict)
    """The same texts by other judges, by name."""

    def judged_by(self, judge: str) -> Validation:
        """The ways as this judge sees them; the offline one's name is empty."""
        return self.opinions[judge] if judge else self.measured

    @property
    def decision(self) -> Decision:
        """The verdict."""
        return self.result.verdict.decision


@dataclass(frozen=True, slots=True)
class Judges:
    """Who judged, and how far each agrees with the gold set."""

    reports: tuple[JudgeReport, ...] = ()


def arm(validation: Validation, name: str) -> Arm:
    """One way."""
    return next(each for each in validation.arms if each.name == name)


def lead(validation: Validation, over: str) -> Interval:
    """By how much auto-steer's score lies above another way's, paired by prompt."""
    return next(each.score for each in validation.differences if each.over == over)


def followed(outcome: Outcome, validation: Validation) -> Arm:
    """What a user gets who does as the verdict says."""
    names = {Decision.USE: AUTO, Decision.PROMPT_INSTEAD: SYSTEM_PROMPT, Decision.NO_SAFE_STEER: UNSTEERED}
    return arm(validation, names[outcome.decision])


def worst(validation: Validation, rival: str, count: int) -> list[tuple[Sample, Sample]]:
    """Auto-steer's and the rival's samples where auto-steer lags most, worst first."""
    pairs = zip(arm(validation, AUTO).samples, arm(validation, rival).samples, strict=True)
    return sorted(pairs, key=lambda pair: pair[0].score - pair[1].score)[:count]
