"""What the project promises of auto-steer, counted over the behaviours that are measured."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from bench.behaviors.outcome import AUTO, RULE, TOP_HIT, Outcome, arm, lead
from services.autosteer.objective import FLUENT
from services.autosteer.spec import Decision
from services.autosteer.validation import SYSTEM_PROMPT, UNSTEERED

BEHAVIORS = 20
"""The promises are about so many."""


@dataclass(frozen=True, slots=True)
class Target:
    """One promise."""

    words: str
    least: float
    """Share of the behaviours that it is about, in which it holds at least."""
    concerns: Callable[[Outcome, str], bool]
    """Whether it is about this behaviour, as a judge sees it."""
    holds: Callable[[Outcome, str], bool]

    def met(self, outcomes: Sequence[Outcome], judge: str = "") -> bool:
        """Whether it is kept; nothing to count keeps it."""
        concerned, holding = self.counted(outcomes, judge)
        return len(holding) >= self.least * len(concerned) - 1e-9

    def counted(self, outcomes: Sequence[Outcome], judge: str = "") -> tuple[list[Outcome], list[Outcome]]:
        """The behaviours that it is about, and those of them in which it holds."""
        concerned = [each for each in outcomes if self.concerns(each, judge)]
        return concerned, [each for each in concerned if self.holds(each, judge)]

    def failures(self, outcomes: Sequence[Outcome], judge: str = "") -> list[Outcome]:
        """The behaviours in which it does not hold."""
        concerned, holding = self.counted(outcomes, judge)
        return [each for each in concerned if each not in holding]

    @property
    def goal(self) -> str:
        """How many are promised, of all twenty where it is about all."""
        if self.concerns is always:
            return f"at least {self.least * BEHAVIORS:.0f} of {BEHAVIORS}"
        return f"at least {100 * self.least:.0f} %"


def always(outcome: Outcome, judge: str) -> bool:
    """About every behaviour."""
    return True


def beats(*rivals: str) -> Callable[[Outcome, str], bool]:
    """Whether auto-steer's mean objective lies above each of these."""

    def holds(outcome: Outcome, judge: str) -> bool:
        return all(lead(outcome.judged_by(judge), rival).mean > 0 for rival in rivals)

    return holds


def surely_beats(outcome: Outcome, judge: str, rival: str) -> bool:
    """Whether the whole interval of the lead lies above 0."""
    return lead(outcome.judged_by(judge), rival).low > 0


def prompt_wins(outcome: Outcome, judge: str) -> bool:
    """Whether the system prompt's mean objective is the higher one."""
    return lead(outcome.judged_by(judge), SYSTEM_PROMPT).mean < 0


def fluent(outcome: Outcome, judge: str) -> bool:
    """Whether the edits' texts keep the fluency that a verdict asks for."""
    return arm(outcome.judged_by(judge), AUTO).fluency.mean >= FLUENT


def says_prompt(outcome: Outcome, judge: str) -> bool:
    """Whether the verdict is to prompt instead."""
    return outcome.decision is Decision.PROMPT_INSTEAD


TARGETS = (
    Target("beats (a) the top hit and (b) Ember's rule", 0.8, always, beats(TOP_HIT, RULE)),
    Target("beats (d) no steering", 0.9, always, beats(UNSTEERED)),
    Target(f"keeps a mean fluency of {FLUENT:g}, the bound of the verdict", 1.0, always, fluent),
    Target("says PROMPT_INSTEAD where (c) the system prompt is better", 0.8, prompt_wins, says_prompt),
)
