"""A judge on any endpoint that offers chat completions as OpenAI does, with AxBench's rubric: three ratings of 0 to 2.

Each rating is halved. Source: Wu et al. 2025, AxBench (arXiv 2501.17148), section on evaluating steering: concept,
instruction and fluency scores of 0, 1 or 2. The numbers agree with people as far as the model behind the endpoint does:
the report states its agreement with the gold set.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

from services.autosteer.judges.endpoint import Endpoint
from services.autosteer.judges.registry import Asked, Bench, judge
from services.autosteer.objective import Scores
from services.autosteer.spec import JudgeChoice
from services.autosteer.together import together
from services.errors import InvalidField

RUBRIC = """You rate an answer of a language model. Give three ratings, each 0, 1 or 2:
concept: 0 the behaviour is not there, 1 it is there to some degree, 2 it is plain to see
instruction: 0 the answer has nothing to do with the question, 1 it is related to it, 2 it answers it
fluency: 0 the text is broken or repeats itself, 1 it can be understood but has faults, 2 it reads well
Answer with one line and nothing else: concept=<n> instruction=<n> fluency=<n>"""
ANSWER_TOKENS = 60
_RATING = re.compile(r"(concept|instruction|fluency)\D{0,12}?([0-2])", re.IGNORECASE)


class OpenAiJudge:
    """See the module."""

    def __init__(self, behavior: str, choice: JudgeChoice, key: str) -> None:
        self._behavior, self._model = behavior, choice.model
        self.name = f"openai:{choice.model}"
        url = choice.endpoint.rstrip("/")
        url = url if url.endswith("/chat/completions") else f"{url}/chat/completions"
        self._endpoint = Endpoint(url, key, what="the judge's endpoint")

    async def __call__(self, asked: Sequence[Asked]) -> list[Scores]:
        """See the module."""
        return await together(self._one(each) for each in asked)

    async def close(self) -> None:
        """Closes the connections."""
        await self._endpoint.close()

    async def _one(self, asked: Asked) -> Scores:
        question = (
            f"Behaviour: {self._behavior}\n\nQuestion: {asked.prompt.question}\n\n"
            f"Answer to rate (it may stop in the middle of a sentence):\n{asked.text}"
        )
        answer = await self._endpoint.post(
            {
                "model": self._model,
                "messages": [
                    {"role": "system", "content": RUBRIC},
                    {"role": "user", "content": question},
                ],
                "temperature": 0,
                "max_tokens": ANSWER_TOKENS,
            }
        )
        return ratings_in(_content(answer))


def ratings_in(text: str) -> Scores:
    """The three ratings, halved. Raises InvalidField where one is missing."""
    found = {name.lower(): int(rating) / 2 for name, rating in _RATING.findall(text)}
    missing = [name for name in ("concept", "instruction", "fluency") if name not in found]
    if missing:
        raise InvalidField(
            "spec.judge.model", f"the judge's answer has no rating of {', '.join(missing)}; it cannot judge"
        )
    return Scores(found["concept"], found["instruction"], found["fluency"])


def _content(answer: Any) -> str:
    try:
        return str(answer["choices"][0]["message"]["content"] or "")
    except (KeyError, IndexError, TypeError):
        raise InvalidField(
            "spec.judge.endpoint", "the judge's endpoint answers in another format than OpenAI's"
        ) from None


@judge("openai")
def make_openai(choice: JudgeChoice, bench: Bench) -> OpenAiJudge:
    """Judges with a language model."""
    return OpenAiJudge(bench.brief.behavior, choice, bench.key)
