"""Documents as windows of tokens, the same for training and for measuring."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from services.saelab.documents import Document


@dataclass(frozen=True, slots=True)
class Window:
    """A run of tokens of one document that the model reads on its own."""

    tokens: tuple[int, ...]
    skip: int
    """So many first tokens are read but not used: a fixed system prompt that all conversations share."""
    is_chat: bool


class Windower:
    """Cuts documents into windows of at most `length` tokens.

    Windows start where the document, or the window before, ended; one that would be shorter than `shortest` is left
    out. Conversations are rendered with the tokenizer's own template.
    """

    def __init__(self, tokenizer: Any, length: int, shortest: int = 16) -> None:
        self._tokenizer = tokenizer
        self._length = length
        self._shortest = shortest
        self._prefix = _fixed_prefix(tokenizer)

    def windows(self, documents: Iterable[Document]) -> Iterator[Window]:
        """The windows of all documents, in order."""
        for document in documents:
            ids, skip = self._encode(document)
            for start in range(0, len(ids), self._length):
                part = ids[start : start + self._length]
                if len(part) >= self._shortest:
                    yield Window(tuple(part), max(0, skip - start), document.is_chat)

    def _encode(self, document: Document) -> tuple[list[int], int]:
        if not document.is_chat:
            return list(self._tokenizer(document.text).input_ids), 0
        messages = [{"role": message.role, "content": message.content} for message in document.messages]
        ids = _rendered(self._tokenizer, messages)
        prefix = self._prefix if document.messages[0].role != "system" else []
        return ids, len(prefix) if ids[: len(prefix)] == prefix else 0


def _fixed_prefix(tokenizer: Any) -> list[int]:
    """The tokens that the template puts before every conversation without a system prompt of its own."""
    if not getattr(tokenizer, "chat_template", None):
        return []
    first, second = (
        _rendered(tokenizer, [{"role": "user", "content": word}]) for word in ("Aloha", "Question")
    )
    same = 0
    while same < min(len(first), len(second)) and first[same] == second[same]:
        same += 1
    return first[:same]


def _rendered(tokenizer: Any, messages: list[dict[str, str]]) -> list[int]:
    text = tokenizer.apply_chat_template(messages, tokenize=False)
    return list(tokenizer(text, add_special_tokens=False).input_ids)


def shuffled(windows: Sequence[Window], seed: int) -> list[Window]:
    """The windows in an order that depends on the seed alone."""
    return [windows[index] for index in shuffled_order(len(windows), seed)]


def shuffled_order(count: int, seed: int) -> list[int]:
    """The numbers below `count` in that order."""
    order: list[int] = np.random.default_rng(seed).permutation(count).tolist()
    return order


def padded_batches(windows: Sequence[Window], batch: int) -> Iterator[list[Window]]:
    """Batches of windows of like length, longest first, so that little is padded."""
    ordered = sorted(windows, key=lambda window: -len(window.tokens))
    for start in range(0, len(ordered), batch):
        yield ordered[start : start + batch]
