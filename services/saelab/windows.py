"""Documents as windows of tokens, the same for training and for measuring."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Any

import numpy as np

from services.saelab.documents import Document, Message

_TOGETHER = 256
"""Documents that are cut into tokens side by side, on all cores."""


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
        waiting = iter(documents)
        while some := list(islice(waiting, _TOGETHER)):
            for document, ids in zip(some, self._encoded(some), strict=True):
                skip = self._skipped(document, ids)
                for start in range(0, len(ids), self._length):
                    part = ids[start : start + self._length]
                    if len(part) >= self._shortest:
                        yield Window(tuple(part), max(0, skip - start), document.is_chat)

    def _encoded(self, documents: Sequence[Document]) -> list[list[int]]:
        """The tokens of each document."""
        rendered = iter(self._ids([_rendered(self._tokenizer, d) for d in documents if d.is_chat], False))
        plain = iter(self._ids([d.text for d in documents if not d.is_chat], True))
        return [next(rendered if document.is_chat else plain) for document in documents]

    def _ids(self, texts: list[str], special: bool) -> list[list[int]]:
        ids: list[list[int]] = self._tokenizer(texts, add_special_tokens=special).input_ids if texts else []
        return ids

    def _skipped(self, document: Document, ids: list[int]) -> int:
        """Tokens of the template's own system prompt at the beginning."""
        if not document.is_chat or document.messages[0].role == "system":
            return 0
        return len(self._prefix) if ids[: len(self._prefix)] == self._prefix else 0


def _fixed_prefix(tokenizer: Any) -> list[int]:
    """The tokens that the template puts before every conversation without a system prompt of its own."""
    if not getattr(tokenizer, "chat_template", None):
        return []
    chats = (Document("", "", messages=(Message("user", word),)) for word in ("Aloha", "Question"))
    rendered = [_rendered(tokenizer, chat) for chat in chats]
    first, second = tokenizer(rendered, add_special_tokens=False).input_ids
    same: list[int] = []
    for one, other in zip(first, second, strict=False):
        if one != other:
            break
        same.append(one)
    return same


def _rendered(tokenizer: Any, document: Document) -> str:
    messages = [{"role": message.role, "content": message.content} for message in document.messages]
    text: str = tokenizer.apply_chat_template(messages, tokenize=False)
    return text


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
