"""The platform of the tests, and what a job keeps and says."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pytest

from services.autosteer import tiers
from services.autosteer.codec import from_json, to_json
from services.autosteer.progress import Event
from services.autosteer.spec import Tier, Trial
from tests.autosteer.tiny_platform import Platform, platform_in


@dataclass
class Kept:
    """Checkpoints that hold what would lie in a database: JSON texts."""

    values: dict[str, str] = field(default_factory=dict)
    kept: dict[int, str] = field(default_factory=dict)

    async def get(self, stage: str) -> Any:
        return json.loads(self.values[stage]) if stage in self.values else None

    async def put(self, stage: str, value: Any) -> None:
        self.values[stage] = json.dumps(value)

    async def trials(self) -> list[Trial]:
        return [from_json(Trial, json.loads(self.kept[number])) for number in sorted(self.kept)]

    async def add_trial(self, trial: Trial) -> None:
        self.kept.setdefault(trial.number, json.dumps(to_json(trial)))


class Killed(Exception):
    """The worker is gone."""


@dataclass
class Heard:
    """What a job says; the worker is killed before it can say what has the key `dies_at`."""

    dies_at: str = ""
    events: list[Event] = field(default_factory=list)

    async def __call__(self, event: Event) -> None:
        if event.key == self.dies_at:
            raise Killed
        self.events.append(event)

    def of(self, kind: type[Any]) -> list[Any]:
        return [event for event in self.events if isinstance(event, kind)]


@pytest.fixture
async def platform(tmp_path: Path) -> AsyncIterator[Platform]:
    """Both services in this process."""
    async with platform_in(tmp_path) as running:
        yield running


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch) -> tiers.Plan:
    """A tier `quick` whose every stage is tiny, with all of them in it."""
    plan = replace(
        tiers.TIERS[Tier.DEFAULT],
        tokens=8,
        pairs=4,
        retrieved=24,
        probed=5,
        probe_texts=2,
        probed_kept=4,
        shares=(0.2, 0.4),
        screen_prompts=1,
        screened_kept=3,
        ceiling_rounds=1,
        ceiling_prompts=1,
        trials=6,
        wave=2,
        train_prompts=6,
        finalists=2,
        held_out_prompts=4,
        finalist_prompts=3,
        control_prompts=2,
        asks_gold=False,
    )
    monkeypatch.setitem(tiers.TIERS, Tier.QUICK, plan)
    return plan
