"""What a job says while it runs, in order. An event that comes again after a resume has the same key."""

from __future__ import annotations

from dataclasses import dataclass

from services.autosteer.spec import Candidate, Stage, Trial, Validation


@dataclass(frozen=True, slots=True)
class StageStarted:
    """A stage begins."""

    stage: Stage

    @property
    def key(self) -> str:
        """The same for the same event after a resume."""
        return f"{self.stage}/started"


@dataclass(frozen=True, slots=True)
class StageProgress:
    """How far a stage is."""

    stage: Stage
    done: int
    total: int
    seconds_left: float | None
    """Of the whole job, estimated; None where nobody knows yet."""
    best: Trial | None = None
    """The best trial so far, with its samples."""

    @property
    def key(self) -> str:
        """The same for the same event after a resume."""
        return f"{self.stage}/progress/{self.done}"


@dataclass(frozen=True, slots=True)
class CandidatesFound:
    """The features that a stage leaves, best first."""

    stage: Stage
    candidates: tuple[Candidate, ...]

    @property
    def key(self) -> str:
        """The same for the same event after a resume."""
        return f"{self.stage}/candidates"


@dataclass(frozen=True, slots=True)
class TrialDone:
    """The search has tried one setting."""

    trial: Trial

    @property
    def key(self) -> str:
        """The same for the same event after a resume."""
        return f"trial/{self.trial.number}"


@dataclass(frozen=True, slots=True)
class ValidationDone:
    """The held-out prompts are judged."""

    validation: Validation

    @property
    def key(self) -> str:
        """The same for the same event after a resume."""
        return "validation"


Event = StageStarted | StageProgress | CandidatesFound | TrialDone | ValidationDone
