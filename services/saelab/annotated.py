"""Documents as one row of tokens that says of each token whose turn it is in, and how far into it."""

from __future__ import annotations

import codecs
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Int

from services.inference import tokenizer as served
from services.saelab.documents import Document
from services.saelab.errors import CorpusError
from services.saelab.windows import Window, Windower

PLAIN, TEMPLATE = 0, 1
ROLES = ("", "template", "system", "user", "assistant", "tool")
"""Names of the roles; a token's role is a place in it. PLAIN is text that is no conversation."""


@dataclass(frozen=True, slots=True)
class AnnotatedText:
    """The windows of some documents, one after the other. A token's place is its number in this row."""

    tokens: Int[np.ndarray, " tokens"]
    roles: Int[np.ndarray, " tokens"]
    """Whose turn it is in; TEMPLATE where the template wrote it."""
    turn_positions: Int[np.ndarray, " tokens"]
    """Tokens before it in the content of its turn, or in the document that is no conversation; -1 on the template's."""
    documents: Int[np.ndarray, " tokens"]
    """Which of `ids` it belongs to."""
    windows: tuple[Window, ...]
    starts: Int[np.ndarray, " windows"]
    """Place of each window's first token."""
    ids: tuple[str, ...]
    """Ids of the documents."""

    def bounds(self, place: int) -> tuple[int, int]:
        """Places of the first token of the window that a place is in, and of the one after its last."""
        window = int(np.searchsorted(self.starts, place, side="right")) - 1
        start = int(self.starts[window])
        return start, start + len(self.windows[window].tokens)

    def batches(self, size: int, numbers: Iterable[int] | None = None) -> list[list[int]]:
        """Numbers of windows, these or all, in batches of like length, longest first, so that little is padded."""
        some = range(len(self.windows)) if numbers is None else numbers
        order = sorted(some, key=lambda number: -len(self.windows[number].tokens))
        return [order[start : start + size] for start in range(0, len(order), size)]


def annotate(
    documents: Iterable[Document], tokenizer: served.Tokenizer, window: int, tokens: int
) -> AnnotatedText:
    """The windows of the first documents, up to the one that reaches so many tokens.

    Raises CorpusError where there is none long enough.
    """
    windower = Windower(tokenizer.plain, window)
    windows: list[Window] = []
    ids: list[str] = []
    roles, positions, owners = [], [], []
    starts, total = [], 0
    for document in documents:
        if total >= tokens:
            break
        role, position = _annotation(document, tokenizer)
        for number, part in enumerate(windower.windows([document])):
            place = slice(number * window, number * window + len(part.tokens))
            roles.append(role[place])
            positions.append(position[place])
            owners.append(np.full(len(part.tokens), len(ids), np.int32))
            windows.append(part)
            starts.append(total)
            total += len(part.tokens)
        ids.append(document.id)
    if not windows:
        raise CorpusError("the text has no documents long enough")
    return AnnotatedText(
        np.concatenate([np.array(part.tokens, np.int32) for part in windows]),
        np.concatenate(roles),
        np.concatenate(positions),
        np.concatenate(owners),
        tuple(windows),
        np.array(starts),
        tuple(ids),
    )


def _annotation(
    document: Document, tokenizer: served.Tokenizer
) -> tuple[Int[np.ndarray, " tokens"], Int[np.ndarray, " tokens"]]:
    """Role and turn position of each token of a document, tokenised as Windower does."""
    if not document.is_chat:
        count = len(tokenizer.plain(document.text).input_ids)
        return np.full(count, PLAIN, np.int8), np.arange(count, dtype=np.int32)
    messages = [served.Message(message.role, message.content) for message in document.messages]
    chat = tokenizer.encode_chat(messages, open_turn=False)
    roles = np.full(len(chat.ids), TEMPLATE, np.int8)
    positions = np.full(len(chat.ids), -1, np.int32)
    for span in chat.spans:
        content = slice(span.content_start, span.content_end)
        roles[content] = _role(messages[span.message].role)
        positions[content] = np.arange(span.content_end - span.content_start)
    return roles, positions


def _role(name: str) -> int:
    return ROLES.index(name) if name in ROLES else TEMPLATE


def pieces(tokenizer: served.Tokenizer, tokens: Sequence[int]) -> list[str]:
    """The tokens as text that put together is the whole text: a character of several tokens stands at its last."""
    decoder = codecs.getincrementaldecoder("utf-8")(errors="replace")
    return [
        decoder.decode(tokenizer.piece(token), final=number == len(tokens) - 1)
        for number, token in enumerate(tokens)
    ]
