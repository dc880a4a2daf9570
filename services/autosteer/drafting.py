"""Contrast pairs and prompts: drafted by the model, from templates where it is too small; split, so nothing leaks."""

from __future__ import annotations

import asyncio
import hashlib
import tomllib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from services.autosteer.judges.registry import Encode
from services.autosteer.judges.rules import fault, words_of
from services.autosteer.spec import Message, Prompt, Spec
from services.autosteer.together import together
from services.autosteer.upstream import Ask, Inference
from services.autosteer.wording import number_of, said_in, told, topic_of
from services.steering.edits import Steering

DRAFTS = Path(__file__).with_name("drafts.toml")
HELD_OUT_PARTS, PARTS = 2, 3
"""Of all prompts, two in three are held out: what is concluded needs more of them than what is tuned."""
_BASE = "Question: {question}\nAnswer:"
"""How a model without a chat template is asked."""


@dataclass(frozen=True, slots=True)
class Pair:
    """A text that shows the behaviour, and one that answers the same and does not."""

    positive: Prompt
    negative: Prompt


@dataclass(frozen=True, slots=True)
class PromptSets:
    """Prompts of one job; no prompt is in both."""

    train: tuple[Prompt, ...]
    held_out: tuple[Prompt, ...]


def is_held_out(prompt: Prompt) -> bool:
    """Whether a prompt is for validation: told by its question alone, so it is the same in every job."""
    key = " ".join(words_of(prompt.question)) or prompt.question
    return hashlib.sha256(key.encode("utf-8", "surrogatepass")).digest()[0] % PARTS < HELD_OUT_PARTS


def questions(has_chat_template: bool) -> list[Prompt]:
    """The prompts that stand in where a job brings too few."""
    return [question(text, has_chat_template) for text in _drafts()["questions"]]


def question(text: str, has_chat_template: bool) -> Prompt:
    """A question as the model is asked it."""
    return Prompt.ask(text) if has_chat_template else Prompt(text=_BASE.format(question=text))


def prompt_sets(
    own: Sequence[Prompt], train: int, held_out: int, seed: int, *, has_chat_template: bool
) -> PromptSets:
    """A job's own prompts first, each on its side of the split, filled up with the built-in ones."""
    pool = _in_order(questions(has_chat_template), seed)
    listed = [*dict.fromkeys(_in_order(own, seed)), *pool]
    seen: set[str] = set()
    sides: dict[bool, list[Prompt]] = {False: [], True: []}
    for prompt in listed:
        if prompt.question not in seen:
            seen.add(prompt.question)
            sides[is_held_out(prompt)].append(prompt)
    return PromptSets(tuple(sides[False][:train]), tuple(sides[True][:held_out]))


def template_pairs(behavior: str, count: int, *, has_chat_template: bool) -> list[Pair]:
    """Pairs of sentences about the behaviour's topic and about something else, the frames the same, as answers to
    questions that nothing is validated on."""
    topic, pairs = topic_of(behavior), []
    frames, others = _drafts()["frames"], _drafts()["others"]
    asked = [prompt for prompt in questions(has_chat_template) if not is_held_out(prompt)]
    for number in range(min(count, len(frames) * len(others))):
        frame, other = (
            frames[number % len(frames)],
            others[(number * 5 + number // len(frames)) % len(others)],
        )
        prompt = asked[number % len(asked)]
        pairs.append(Pair(_answered(prompt, frame.format(x=topic)), _answered(prompt, frame.format(x=other))))
    return pairs


async def draft_pairs(
    behavior: str,
    instruction: str,
    count: int,
    inference: Inference,
    encode: Encode,
    *,
    seed: int,
    has_chat_template: bool,
    tokens: int = 32,
    temperature: float = 0.7,
) -> list[Pair]:
    """Answers of the model with and without the instruction, to prompts that are tuned on.

    A pair stays if both sides read well, differ, and the positive one is more like the behaviour. What is missing is
    filled up from templates: a small model follows few instructions.
    """
    train = [p for p in _in_order(questions(has_chat_template), seed) if not is_held_out(p)]
    asked = [(train[n % len(train)], number_of("draft", seed, n)) for n in range(count)]

    async def both(prompt: Prompt, number: int) -> tuple[str, str]:
        def ask(read: Prompt) -> Ask:
            return Ask(read, Steering(), number, tokens, temperature)

        positive, negative = await together(
            inference.generate(ask(read)) for read in (told(prompt, instruction), prompt)
        )
        return positive.strip(), negative.strip()

    texts = await together(both(prompt, number) for prompt, number in asked)
    good = await asyncio.to_thread(_good_ones, behavior, texts, encode)
    drafted = [Pair(_answered(asked[n][0], texts[n][0]), _answered(asked[n][0], texts[n][1])) for n in good]
    filling = template_pairs(behavior, count - len(drafted), has_chat_template=has_chat_template)
    return [*drafted, *filling]


async def pairs_of(
    spec: Spec, inference: Inference, *, has_chat_template: bool, tokens: int = 32
) -> list[Pair]:
    """The spec's own examples. Where it has no negative ones, the model writes them to the same prompts, untold."""
    if spec.negative:
        most = max(len(spec.positive), len(spec.negative))
        return [
            Pair(spec.positive[n % len(spec.positive)], spec.negative[n % len(spec.negative)])
            for n in range(most)
        ]
    pool = _in_order((p for p in questions(has_chat_template) if not is_held_out(p)), spec.seed)
    asked = [_question_of(p) or pool[n % len(pool)] for n, p in enumerate(spec.positive)]
    texts = await together(
        inference.generate(Ask(p, Steering(), number_of("negative", spec.seed, n), tokens, spec.temperature))
        for n, p in enumerate(asked)
    )
    negatives = [_answered(p, text.strip()) for p, text in zip(asked, texts, strict=True)]
    return [
        Pair(positive, negative if _question_of(positive) else Prompt(text=said_in(negative)))
        for positive, negative in zip(spec.positive, negatives, strict=True)
    ]


def _question_of(positive: Prompt) -> Prompt | None:
    """A chat without the answer that ends it; None where there is no such."""
    if len(positive.messages) > 1 and positive.messages[-1].role == "assistant":
        return Prompt(positive.messages[:-1])
    return None


def _good_ones(behavior: str, texts: Sequence[tuple[str, str]], encode: Encode) -> list[int]:
    seen: set[str] = set()
    readable = []
    for number, (positive, negative) in enumerate(texts):
        key = " ".join(words_of(positive))
        if not (fault(positive) or fault(negative)) and key not in seen and positive != negative:
            seen.add(key)
            readable.append(number)
    if not readable:
        return []
    vectors = encode([behavior, *(side for n in readable for side in texts[n])])
    likeness = vectors[1:] @ vectors[0]
    return [n for place, n in enumerate(readable) if likeness[2 * place] > likeness[2 * place + 1]]


def _answered(prompt: Prompt, answer: str) -> Prompt:
    if prompt.messages:
        return Prompt((*prompt.messages, Message("assistant", answer)))
    return Prompt(text=answer)


def _in_order(prompts: Iterable[Prompt], seed: int) -> list[Prompt]:
    """In an order that depends on the seed alone."""
    return sorted(prompts, key=lambda prompt: number_of("order", seed, prompt.question))


@cache
def _drafts() -> dict[str, Any]:
    return tomllib.loads(DRAFTS.read_text("utf-8"))


def contents(prompts: Iterable[Prompt]) -> tuple[str, ...]:
    """What the texts say."""
    return tuple(said_in(prompt) for prompt in prompts)
