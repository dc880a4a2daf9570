"""What auto-steer answers, as plain data of the command line; results and events are auto-steer's own words."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from services.autosteer.progress import Event
from services.autosteer.spec import Result, Trial


@dataclass(frozen=True, slots=True)
class SteerWish:
    """What is wanted; None is the server's default."""

    behavior: str
    model: str = ""
    sae: str = ""
    tier: str = "default"
    seconds: int | None = None
    max_features: int | None = None
    max_trials: int | None = None
    seed: int | None = None
    judge: str = ""
    endpoint: str = ""
    judge_model: str = ""


@dataclass(frozen=True, slots=True)
class SteerJob:
    """A job as it is now."""

    id: str
    behavior: str
    model: str
    tier: str
    state: str
    stage: str
    created: datetime
    best: Trial | None
    result: Result | None
    decision: str
    """`use`, `prompt_instead` or `no_safe_steer`; empty before it has succeeded."""
    error: str

    @property
    def is_over(self) -> bool:
        """Whether nothing comes any more."""
        return self.state in ("succeeded", "failed", "cancelled")


@dataclass(frozen=True, slots=True)
class Pause:
    """The job was interrupted and goes on."""

    reason: str


@dataclass(frozen=True, slots=True)
class End:
    """The job has ended."""

    state: str


@dataclass(frozen=True, slots=True)
class Happening:
    """One event of a job."""

    sequence: int
    said: Event | Pause | End
