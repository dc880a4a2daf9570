"""How fast texts come, and from that how long the rest takes."""

from __future__ import annotations

from dataclasses import dataclass, field

from services.autosteer.screen import HALVED
from services.autosteer.spec import Stage
from services.autosteer.tiers import Plan
from services.autosteer.validation import Reach

USUAL = 0.6
"""Seconds for a judged text, until some have been seen: the embedded model on two cores."""
COUNTED = 8
"""Texts that make the pace known."""
_CONTROLS = 2


@dataclass(slots=True)
class Pace:
    """Counts judged texts and the time that they took."""

    texts: int = 0
    seconds: float = 0.0

    def saw(self, texts: int, seconds: float) -> None:
        """Some texts were judged."""
        self.texts += texts
        self.seconds += seconds

    def takes(self, texts: int) -> float:
        """Seconds that so many texts will take."""
        return texts * (self.seconds / self.texts if self.texts >= COUNTED else USUAL)


def validated(plan: Plan, prompts: int) -> int:
    """Texts of the validation on so many prompts."""
    reach = Reach(plan.finalist_prompts, plan.control_prompts)
    return reach.texts(plan.finalists, _CONTROLS if plan.controls else 0, prompts)


@dataclass(frozen=True, slots=True)
class Course:
    """What share of a job each stage is, in judged texts: an estimate for people who wait."""

    stages: dict[Stage, float] = field(default_factory=dict)

    @classmethod
    def of(cls, plan: Plan) -> Course:
        """The course of a plan."""
        screened = plan.probed_kept * (0.75 if plan.screen_prompts >= HALVED else 1.0)
        return cls(
            {
                Stage.DRAFT: 2 + 0.8 * plan.pairs,
                Stage.RETRIEVE: 4 + plan.pairs * 0.3,
                Stage.CAUSAL: 0.15 * plan.probed * 2 * plan.probe_texts,
                Stage.SCREEN: screened * len(plan.shares) * plan.screen_prompts,
                Stage.CEILING: 0.7 * plan.screened_kept * plan.ceiling_rounds * plan.ceiling_prompts,
                Stage.SEARCH: 0.8 * plan.trials * plan.train_prompts,
                Stage.VALIDATE: validated(plan, plan.held_out_prompts),
            }
        )

    def left(self, stage: Stage, share: float, spent: float) -> float | None:
        """Seconds left when this share of a stage is done; None at the very beginning."""
        total = sum(self.stages.values())
        before = sum(self.stages[s] for s in list(Stage)[: list(Stage).index(stage)])
        done = before + share * self.stages[stage]
        return None if done < 0.03 * total else spent * (total - done) / done
