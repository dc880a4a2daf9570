"""The user's own scorer, over HTTP: the reward that a search maximises in place of a judge.

The endpoint gets POST with JSON

    {"behavior": "...", "texts": [{"prompt": "...", "text": "...", "unsteered": "..."}, ...]}

of at most 32 texts, and answers with one row for each, in order:

    {"scores": [{"adherence": 0.8, "relevance": 1.0, "fluency": 0.9}, ...]}

Each number lies in 0..1: 0 means nothing of it, 1 all that is wanted. `adherence` is required; what is left out of the
others is judged here: fluency by the loss, relevance as 1. What the numbers agree with is the user's to know; where the
scorer can answer about any behaviour, the report states its agreement with the gold set.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from services.autosteer.judges.endpoint import Endpoint
from services.autosteer.judges.registry import Asked, Bench, judge
from services.autosteer.objective import Scores, fluency_of
from services.autosteer.spec import JudgeChoice
from services.autosteer.together import together
from services.errors import InvalidField

BATCH = 32


class Scorer:
    """See the module."""

    name = "http"

    def __init__(self, behavior: str, choice: JudgeChoice, key: str) -> None:
        self._behavior = behavior
        self._endpoint = Endpoint(choice.endpoint, key, what="the scorer")

    async def __call__(self, asked: Sequence[Asked]) -> list[Scores]:
        """See the module."""
        batches = [asked[start : start + BATCH] for start in range(0, len(asked), BATCH)]
        return [scores for batch in await together(map(self._batch, batches)) for scores in batch]

    async def close(self) -> None:
        """Closes the connections."""
        await self._endpoint.close()

    async def _batch(self, asked: Sequence[Asked]) -> list[Scores]:
        answer = await self._endpoint.post(
            {
                "behavior": self._behavior,
                "texts": [
                    {"prompt": each.prompt.question, "text": each.text, "unsteered": each.plain}
                    for each in asked
                ],
            }
        )
        return scores_in(answer, asked)


def scores_in(answer: Any, asked: Sequence[Asked]) -> list[Scores]:
    """The rows of an answer. Raises InvalidField with what is wrong with it."""
    rows = answer.get("scores") if isinstance(answer, dict) else None
    if not isinstance(rows, list) or len(rows) != len(asked):
        raise _refusal(f"has no list `scores` of {len(asked)} rows")
    return [
        Scores(
            _number(row, "adherence", None, n),
            _number(row, "relevance", 1.0, n),
            _number(row, "fluency", fluency_of(each.loss), n),
        )
        for n, (row, each) in enumerate(zip(rows, asked, strict=True))
    ]


def _number(row: Any, name: str, unset: float | None, place: int) -> float:
    value = row.get(name, unset) if isinstance(row, dict) else None
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        raise _refusal(f"has no number scores[{place}].{name}")
    if not 0 <= value <= 1:
        raise _refusal(f"has scores[{place}].{name} = {value:g}; allowed: 0 to 1")
    return float(value)


def _refusal(problem: str) -> InvalidField:
    return InvalidField("spec.judge.endpoint", f"the scorer's answer {problem}")


@judge("http")
def make_scorer(choice: JudgeChoice, bench: Bench) -> Scorer:
    """Judges with the user's own numbers."""
    return Scorer(bench.brief.behavior, choice, bench.key)
