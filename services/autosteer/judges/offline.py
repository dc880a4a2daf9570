"""The judge that needs nobody else: a sentence encoder, and the served model itself.

Adherence is the larger of two shifts away from the unsteered text, each over the size that counts as full:

- of the text's similarity to the behaviour (0.30), where both sides are compared by the sentence encoder; with examples
  the similarity is to the behaviour and to the positive texts, less that to the negative ones;
- of the text's likelihood ratio, in nats a token, between the model that is told the behaviour and the model that is
  not (0.5).

The ratio alone takes broken text for adherent (0.6 to 0.76 of full), so it counts only as far as the text is fluent.
Fluency falls with the loss (objective.py), but what the model that is told the behaviour finds likelier is forgiven, up
to a nat: a dialect is no fault where it is asked for. Relevance is the similarity to the question over that of the
unsteered text.

The constants were set by hand on texts of the embedded model. On the gold set (gold.py) it ranks 13 of 16 pairs as
people do, and puts broken text last in every one. What it gets wrong: texts that are written as the small model never
would (dialect, French) still lose fluency, and it takes a text about bread and cheese for one with French words.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

import numpy as np
from jaxtyping import Float
from numpy.typing import NDArray

from services.autosteer.judges.registry import Asked, Bench, Brief, Encode, judge
from services.autosteer.objective import FREE_LOSS, Scores, clipped, fluency_of
from services.autosteer.spec import JudgeChoice
from services.autosteer.upstream import Inference
from services.autosteer.wording import told
from services.steering.edits import Steering

FULL_SHIFT = 0.30
FULL_RATIO = 0.5
FORGIVEN = 1.0
"""Nats a token of the loss that the ratio may make up for."""
LEAST_SIMILARITY = 0.05
"""A plain text that is less like its question than this says nothing about relevance."""
ENOUGH = 0.98
"""An adherence by similarity from which on the ratio is not asked for."""

Vectors = Float[NDArray[np.float32], "texts width"]


class OfflineJudge:
    """See the module."""

    name = "offline"

    def __init__(self, brief: Brief, encode: Encode, inference: Inference) -> None:
        self._brief, self._encode, self._inference = brief, encode, inference
        self._known: dict[str, NDArray[np.float32]] = {}

    async def __call__(self, asked: Sequence[Asked]) -> list[Scores]:
        """See the module."""
        if not asked:
            return []
        await self._learn(asked)
        shifts = [(self._closeness(each.text) - self._closeness(each.plain)) / FULL_SHIFT for each in asked]
        ratios = await self._ratios(asked, shifts)
        return [
            self._scores(each, shift, ratio) for each, shift, ratio in zip(asked, shifts, ratios, strict=True)
        ]

    def _scores(self, asked: Asked, shift: float, ratio: float) -> Scores:
        fluent = fluency_of(asked.loss - min(FORGIVEN, max(0.0, ratio)))
        return Scores(
            clipped(max(shift, ratio / FULL_RATIO * fluent)), clipped(self._relevance(asked)), fluent
        )

    async def close(self) -> None:
        """Nothing is open."""

    async def _learn(self, asked: Sequence[Asked]) -> None:
        """Encodes what was not seen yet, off the event loop."""
        wanted = [self._brief.behavior, *self._brief.positive, *self._brief.negative]
        for each in asked:
            wanted += [each.text, each.plain, each.prompt.question]
        new = [text for text in dict.fromkeys(wanted) if text not in self._known]
        if new:
            vectors = await asyncio.to_thread(self._encode, new)
            self._known.update(zip(new, vectors, strict=True))

    def _closeness(self, text: str) -> float:
        """How like the behaviour a text is."""
        vector = self._known[text]
        words = float(vector @ self._known[self._brief.behavior])
        if not self._brief.positive:
            return words
        examples = self._centre(self._brief.positive)
        away = float(vector @ self._centre(self._brief.negative)) if self._brief.negative else 0.0
        return max(words, (words + float(vector @ examples) - away) / 2)

    def _centre(self, texts: Sequence[str]) -> NDArray[np.float32]:
        total = np.sum([self._known[text] for text in texts], axis=0)
        centre: NDArray[np.float32] = total / max(float(np.linalg.norm(total)), 1e-6)
        return centre

    def _relevance(self, asked: Asked) -> float:
        question = self._known[asked.prompt.question]
        plain = max(LEAST_SIMILARITY, float(self._known[asked.plain] @ question))
        return float(self._known[asked.text] @ question) / plain

    async def _ratios(self, asked: Sequence[Asked], shifts: Sequence[float]) -> list[float]:
        """The likelihood ratios in nats a token; 0 where they would change nothing, and without an instruction."""
        places = [
            n
            for n, (each, shift) in enumerate(zip(asked, shifts, strict=True))
            if shift < ENOUGH or each.loss > FREE_LOSS
        ]
        if not places or not self._brief.instruction:
            return [0.0] * len(asked)
        instruction = self._brief.instruction
        texts = [(told(asked[n].prompt, instruction), asked[n].text) for n in places]
        ratios = [0.0] * len(asked)
        for n, prompted in zip(places, await self._inference.score(texts, Steering()), strict=True):
            ratios[n] = prompted.per_token - asked[n].likelihood
        return ratios


@judge("offline")
def make_offline(choice: JudgeChoice, bench: Bench) -> OfflineJudge:
    """Judges with what is on this machine."""
    return OfflineJudge(bench.brief, bench.encode, bench.inference)
