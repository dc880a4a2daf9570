"""Small values for the tests of auto-steer's logic."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from services.autosteer.desk import Desk, Place, Wanted
from services.autosteer.objective import Scores, sample_of
from services.autosteer.spec import Candidate, Prompt, Sample, Trial
from services.autosteer.upstream import Ask, Contrasted, Likelihood, Served
from services.steering.conditions import FeatureKey
from services.steering.edits import Edit, Operation, Steering

SAE = "made"
CONSTANT = 0.5
"""Strength 1 is half of the norm."""


def key(index: int) -> FeatureKey:
    return FeatureKey(SAE, index)


def candidate(index: int, **changes: Any) -> Candidate:
    return Candidate(
        key(index), **{"label": f"feature {index}", "sources": ("search",), "score": 0.5, **changes}
    )


def nudge(index: int, value: float) -> Edit:
    return Edit(key(index), Operation.NUDGE, value)


def places(count: int) -> list[Place]:
    return [Place.of(Prompt.ask(f"question {n}?"), 7) for n in range(count)]


def sample(number: int = 0, adherence: float = 0.5, relevance: float = 1.0, fluency: float = 1.0) -> Sample:
    return sample_of(f"question {number}?", number, "a text", Scores(adherence, relevance, fluency))


def trial(number: int, adherence: float, fluency: float = 1.0, pruned: bool = False, *edits: Edit) -> Trial:
    scores = Scores(adherence, 1.0, fluency)
    return Trial(
        number, edits or (nudge(number, 0.5),), scores.objective, adherence, 1.0, fluency, (), pruned
    )


class PlannedDesk(Desk):
    """Scores each text by a function of its edits and its place: no model writes anything."""

    def __init__(self, scores: Callable[[dict[int, float], Place], Scores]) -> None:
        self.scores = scores
        self.seen: list[Wanted] = []

    async def judged(self, wanted: Sequence[Wanted]) -> list[Sample]:
        self.seen += wanted
        return [
            sample_of(
                each.place.prompt.question,
                each.place.seed,
                "a text",
                self.scores({e.feature.index: e.value for e in each.edits}, each.place),
            )
            for each in wanted
        ]

    async def losses(self, wanted: Sequence[Wanted]) -> list[tuple[str, float]]:
        self.seen += wanted
        return [
            (
                "a text",
                0.2 if self.scores({e.feature.index: e.value for e in w.edits}, w.place).fluency else 9.0,
            )
            for w in wanted
        ]


def noise(*parts: object) -> float:
    """A number in 0..1 that depends on the parts alone."""
    return hashlib.sha256(repr(parts).encode()).digest()[0] / 255


def bag_of_words(texts: Sequence[str]) -> np.ndarray[tuple[int, int], np.dtype[np.float32]]:
    """An encoder of which texts that share words are alike."""
    rows = []
    for text in texts:
        row = np.full(512, 1e-3, np.float32)
        for word in text.lower().replace(".", " ").replace("?", " ").replace(",", " ").split():
            row[int.from_bytes(hashlib.sha256(word.encode()).digest()[:4], "big") % 512] += 1
        rows.append(row / np.linalg.norm(row))
    return np.stack(rows)


class WrittenInference:
    """Answers with texts and likelihoods that a test has written."""

    def __init__(
        self,
        text: Callable[[Ask], str] = lambda ask: "a plain answer of some words",
        likelihood: Callable[[Prompt, str, Steering], float] = lambda prompt, text, steering: -2.0,
    ) -> None:
        self.text, self.likelihood = text, likelihood
        self.asked: list[Ask] = []
        self.read: list[tuple[Prompt, str]] = []

    async def served(self, model: str, sae: str) -> Served:
        return Served("made", SAE, True, 100, CONSTANT)

    async def generate(self, ask: Ask) -> str:
        self.asked.append(ask)
        return self.text(ask)

    async def score(self, texts: Sequence[tuple[Prompt, str]], steering: Steering) -> list[Likelihood]:
        self.read += texts
        return [Likelihood(10, 10 * self.likelihood(prompt, text, steering)) for prompt, text in texts]

    async def contrast(
        self, positive: Sequence[Prompt], negative: Sequence[Prompt], top_k: int
    ) -> list[Contrasted]:
        return []

    async def activations(self, prompts: Sequence[Prompt], features: Sequence[int]) -> list[dict[int, float]]:
        return [{} for _ in prompts]
