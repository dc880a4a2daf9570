"""Documents told as conversations: somebody asks for what the document says, the assistant says it.

Questions come from the many templates of `chat_templates.toml`; which one is chosen depends on the document alone.
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from random import Random

from services.saelab.documents import Document, Message

TEMPLATES = Path(__file__).with_name("chat_templates.toml")
_SYSTEM_SHARE = 0.4
"""Share of conversations with a system prompt of their own; the others get the model template's."""
_SECOND_SHARE = 0.25
"""Share of conversations with a second question and answer."""
_CONTINUE_SHARE = 0.25
"""Share of titled documents that are nevertheless told as "continue this text"."""
ANSWER_CHARACTERS = 900
"""The most of a document that a conversation tells."""


@dataclass(frozen=True, slots=True)
class Told:
    """A document that may be told: its text, subject (may be empty) and language."""

    id: str
    source: str
    text: str
    title: str
    language: str


@cache
def templates() -> dict[str, list[str]]:
    """All templates by kind."""
    return tomllib.loads(TEMPLATES.read_text("utf-8"))


def conversations(told: Sequence[Told]) -> Iterator[Document]:
    """Conversations made from the documents, in order; each document is used once."""
    waiting = iter(told)
    for first in waiting:
        draw = Random(first.id)
        parts = [first]
        if draw.random() < _SECOND_SHARE and (second := next(waiting, None)):
            parts.append(second)
        messages = []
        if draw.random() < _SYSTEM_SHARE:
            messages.append(Message("system", draw.choice(templates()["system"])))
        for part in parts:
            messages.extend(_exchange(part, draw))
        yield Document(first.id, first.source, messages=tuple(messages))


def _exchange(told: Told, draw: Random) -> tuple[Message, Message]:
    kinds = templates()
    if told.title and told.language in kinds and draw.random() >= _CONTINUE_SHARE:
        question = draw.choice(kinds[told.language]).replace("{title}", told.title)
        return Message("user", question), Message("assistant", _shortened(told.text))
    text = _shortened(told.text)
    cut = text.find(" ", draw.randint(len(text) // 5, len(text) // 2)) + 1 or len(text) // 2
    question = draw.choice(kinds["continue"]).replace("{head}", text[:cut].strip())
    return Message("user", question), Message("assistant", text[cut:].strip())


def _shortened(text: str) -> str:
    """The text up to the last sentence that ends within the limit."""
    if len(text) <= ANSWER_CHARACTERS:
        return text
    ends = [match.end() for match in re.finditer(r"[.!?](?=\s)", text[:ANSWER_CHARACTERS])]
    return text[: ends[-1] if ends else ANSWER_CHARACTERS].strip()
