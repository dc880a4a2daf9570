"""What the researchers write about: made of a few words, each time another text, with a mark that says whose it is."""

from __future__ import annotations

import random

_THINGS = (
    "the sea|cooking|old maps|trains|winter|music|gardens|money|doctors|football|birds|bread|stars|the law|rivers|"
    "schools|castles|dreams|horses|computers"
).split("|")
_QUESTIONS = (
    "What do you think about {}?",
    "Tell me a short story of {}.",
    "Why do people like {}?",
    "Write two lines about {}.",
    "What should I know of {}?",
)
_SENTENCES = (
    "My brother talks about {} all day long.",
    "She read a long book about {} by the fire.",
    "Nobody in this town knows much about {}.",
    "There is a museum of {} behind the station.",
)


def mark(number: int, step: int) -> str:
    """Says whose text it is."""
    return f"Researcher {number:04d}, note {step}"


def thing(draw: random.Random) -> str:
    """A topic."""
    return draw.choice(_THINGS)


def question(draw: random.Random, number: int, step: int) -> str:
    """A question that nobody else asks."""
    return f"{mark(number, step)}: {draw.choice(_QUESTIONS).format(thing(draw))}"


def sentences(draw: random.Random, number: int, step: int, about: str, count: int) -> list[str]:
    """Sentences about one topic."""
    return [f"{mark(number, step)}.{n}: {draw.choice(_SENTENCES).format(about)}" for n in range(count)]


def query(draw: random.Random, number: int) -> str:
    """What is searched for; mostly a text that nobody has searched for, so that it must be encoded."""
    return f"{thing(draw)} and {thing(draw)} {number if draw.random() < 0.7 else ''}".strip()
