"""How far a judge agrees with people: on pairs of texts of which one is the better steered answer (gold.toml)."""

from __future__ import annotations

import tomllib
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from services.autosteer.judges.registry import Asked, Bench, Brief, Encode
from services.autosteer.judges.roster import make_judge
from services.autosteer.judges.rules import fault
from services.autosteer.objective import BROKEN, Scores
from services.autosteer.spec import JudgeChoice, Prompt, Spec
from services.autosteer.upstream import Inference
from services.autosteer.wording import instruction_of
from services.steering.edits import Steering

GOLD = Path(__file__).with_name("gold.toml")


@dataclass(frozen=True, slots=True)
class GoldPair:
    """Two answers to one question, and which is better."""

    behavior: str
    question: str
    plain: str
    better: str
    worse: str
    kind: str
    """In which way the worse one fails: `absent`, `broken`, `astray`, `weaker`."""


@cache
def gold_pairs() -> tuple[GoldPair, ...]:
    """All pairs."""
    return tuple(GoldPair(**row) for row in tomllib.loads(GOLD.read_text("utf-8"))["pair"])


async def agreement(
    choice: JudgeChoice, inference: Inference, encode: Encode, key: str = "", *, has_chat_template: bool
) -> tuple[float, int]:
    """Share of pairs that the judge ranks as people do, ties counted half, and the number of pairs."""
    judged = await judged_pairs(choice, inference, encode, key, has_chat_template=has_chat_template)
    return share_of(judged), len(judged)


def share_of(judged: Sequence[tuple[GoldPair, Scores, Scores]]) -> float:
    """The share of judged pairs that are ranked as people rank them."""
    return sum(_right(better.objective, worse.objective) for _, better, worse in judged) / len(judged)


class Agreements:
    """How far judges agree with people, each asked once for a model: it does not change from job to job."""

    def __init__(self) -> None:
        self._known: dict[tuple[str, JudgeChoice], tuple[float, int]] = {}

    async def of(
        self,
        model: str,
        choice: JudgeChoice,
        inference: Inference,
        encode: Encode,
        key: str = "",
        *,
        has_chat_template: bool,
    ) -> tuple[float, int]:
        """See agreement."""
        if (model, choice) not in self._known:
            self._known[model, choice] = await agreement(
                choice, inference, encode, key, has_chat_template=has_chat_template
            )
        return self._known[model, choice]


async def judged_pairs(
    choice: JudgeChoice, inference: Inference, encode: Encode, key: str = "", *, has_chat_template: bool
) -> list[tuple[GoldPair, Scores, Scores]]:
    """Each pair with the scores of the better and the worse text, as a search would have scored them."""
    judged: list[tuple[GoldPair, Scores, Scores]] = []
    for behavior in dict.fromkeys(pair.behavior for pair in gold_pairs()):
        pairs = [pair for pair in gold_pairs() if pair.behavior == behavior]
        brief = Brief(behavior, instruction_of(Spec(behavior)))
        judge = make_judge(choice, Bench(brief, encode, inference, key))
        try:
            asked = await _asked(pairs, inference, has_chat_template)
            sound = [n for n, each in enumerate(asked) if not fault(each.text)]
            scores = [BROKEN] * len(asked)
            for n, score in zip(sound, await judge([asked[n] for n in sound]), strict=True):
                scores[n] = score
        finally:
            await judge.close()
        judged += [(pair, scores[2 * n], scores[2 * n + 1]) for n, pair in enumerate(pairs)]
    return judged


async def _asked(pairs: Sequence[GoldPair], inference: Inference, has_chat_template: bool) -> list[Asked]:
    """The better and the worse text of each pair, with their losses."""
    prompts = [_prompt(pair.question, has_chat_template) for pair in pairs]
    texts = [
        (prompt, text)
        for prompt, pair in zip(prompts, pairs, strict=True)
        for text in (pair.plain, pair.better, pair.worse)
    ]
    read = [each.per_token for each in await inference.score(texts, Steering())]
    asked = []
    for n, (prompt, pair) in enumerate(zip(prompts, pairs, strict=True)):
        plain, *both = read[3 * n : 3 * n + 3]
        for text, likelihood in zip((pair.better, pair.worse), both, strict=True):
            asked.append(Asked(prompt, text, pair.plain, likelihood, plain - likelihood))
    return asked


def _prompt(question: str, has_chat_template: bool) -> Prompt:
    return Prompt.ask(question) if has_chat_template else Prompt(text=f"Question: {question}\nAnswer:")


def _right(better: float, worse: float) -> float:
    return 0.5 if better == worse else float(better > worse)
