"""The clients, and calls that many claims make."""

from __future__ import annotations

import json
import sys
from functools import cache
from typing import Any

import goodfire
from goodfire.controller.controller import Controller

GIVEN: dict[str, str] = json.loads(sys.argv[1])
URL, KEY, MODEL = GIVEN["base_url"], GIVEN["key"], GIVEN["model"]
HELLO = [{"role": "user", "content": "Hello how are you?"}]
ANSWERED = [*HELLO, {"role": "assistant", "content": "I am well. The sea is calm and the ship sails."}]
JOKING = [*HELLO, {"role": "assistant", "content": "Two fish meet in a bar. The dog laughs at the joke."}]
WORDS = "ships at sea"

client = goodfire.Client(KEY, base_url=URL)
asynchronous = goodfire.AsyncClient(KEY, base_url=URL)


def say(model: Any = MODEL, **options: Any) -> str:
    """An answer, all at once."""
    options = {"max_completion_tokens": 8, "temperature": 0} | options
    answer = client.chat.completions.create(HELLO, model, **options)
    return answer.choices[0].message["content"]


def stream(model: Any = MODEL, **options: Any) -> list[Any]:
    """An answer's chunks."""
    options = {"max_completion_tokens": 8, "temperature": 0} | options
    return list(client.chat.completions.create(HELLO, model, stream=True, **options))


def text_of(chunks: list[Any]) -> str:
    """What chunks say."""
    return "".join(chunk.choices[0].delta.content for chunk in chunks)


@cache
def plain() -> str:
    """The answer without steering."""
    return say()


@cache
def nudged() -> str:
    """The answer of `steered()`."""
    return say(steered())


@cache
def inspected() -> Any:
    """What fires in ANSWERED."""
    return client.features.inspect(ANSWERED, MODEL)


@cache
def found(count: int = 3) -> goodfire.FeatureGroup:
    """Some features."""
    return client.features.search(WORDS, MODEL, top_k=count)


def always(feature: goodfire.Feature) -> Any:
    """A condition that holds at every token."""
    return feature >= 0


def never(feature: goodfire.Feature) -> Any:
    """A condition that holds at none."""
    return feature > 90


def steered(value: float = 0.9) -> goodfire.Variant:
    """A variant with one nudge."""
    variant = goodfire.Variant(MODEL)
    variant.set(found(1)[0], value)
    return variant


class Steered:
    """What the SDK takes for a variant, with a controller that is put together by hand."""

    base_model = MODEL

    def __init__(self) -> None:
        self.controller = Controller()
