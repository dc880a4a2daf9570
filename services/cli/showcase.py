"""What to try first on the SAEs that are served: features that were measured to steer, from beside their files."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

STEERING = "steering.json"
"""Written by `hearth sae steer` into the SAE's folder: a list of trials, the best of each topic."""
_STEERABLE = ("sea", "food", "space")
"""Topics that everybody understands come first."""


@dataclass(frozen=True, slots=True)
class Showpiece:
    """A feature that steers visibly."""

    topic: str
    feature: int
    strength: float
    prompt: str


FALLBACK = Showpiece("", 0, 0.5, "What did you do this weekend?")
"""Where nothing was measured: any feature shows that something happens."""


def showpieces(folders: Iterable[Path]) -> list[Showpiece]:
    """The features that steer, best known topics first; empty where none was measured."""
    found = [piece for folder in folders for piece in _read(folder / STEERING)]
    order = {topic: place for place, topic in enumerate(_STEERABLE)}
    return sorted(found, key=lambda piece: order.get(piece.topic, len(order)))


def _read(path: Path) -> list[Showpiece]:
    try:
        trials = json.loads(path.read_text("utf-8"))
        return [
            Showpiece(
                str(trial["topic"]),
                int(trial["feature"]),
                float(trial["strength"]),
                str(trial["samples"][0]["prompt"]),
            )
            for trial in trials
            if trial.get("steers", True)
        ]
    except (OSError, ValueError, KeyError, IndexError, TypeError, AttributeError):
        return []  # a missing or foreign file costs the examples, not the start
