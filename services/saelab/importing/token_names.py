"""Tokens of an export, which are spelled in several ways, as tokens of the model's own vocabulary."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from services.inference.tokenizer import Tokenizer
from services.saelab.annotated import pieces
from services.saelab.vocabulary import Spelling

_SIGNS = (("\u0120", " "), ("\u2581", " "), ("\u010a", "\n"), ("\u0109", "\t"))
"""Byte-level and SentencePiece signs for space, line end and tab, which exports replace, or do not."""


class TokenNames:
    """Finds a token by its text, by its name in the tokenizer, or by a mixture of both."""

    def __init__(self, tokenizer: Tokenizer) -> None:
        self._tokenizer = tokenizer
        self._spelling = Spelling.of(tokenizer)
        texts: dict[str, int] = {}
        names: dict[str, int] = {}
        listed = tokenizer.plain.convert_ids_to_tokens(list(range(tokenizer.size)))
        for token, (text, name) in enumerate(zip(self._spelling.names, listed, strict=True)):
            if text and "\ufffd" not in text:
                texts.setdefault(text, token)
            if name is not None:
                names.setdefault(name, token)
                names.setdefault(_plain(name), token)
        # A text comes before a name: the byte-level name of one token may be the text of another.
        self._ids = names | texts

    def id_of(self, token: str) -> int | None:
        """The token's id; None where the vocabulary has no such token."""
        return self._ids.get(token)

    def ids_of(self, tokens: Sequence[str]) -> list[int] | None:
        """The ids of all; None where the vocabulary lacks one."""
        ids = [self._ids[token] for token in tokens if token in self._ids]
        return ids if len(ids) == len(tokens) else None

    def text(self, token: int) -> str:
        """A token's text."""
        return self._spelling.names[token]

    def readable(self, tokens: Sequence[str]) -> tuple[str, ...]:
        """Texts that put together are the whole; as they stand, but for signs of spaces, where one is unknown."""
        ids = self.ids_of(tokens)
        return tuple(map(_plain, tokens) if ids is None else pieces(self._tokenizer, ids))

    def word(self, tokens: Sequence[int], place: int) -> tuple[str, bool]:
        """The word that a token is part of, and whether it began with an earlier token."""
        word, begins = self._spelling.word(np.array(tokens), place)
        return word, begins < place


def _plain(name: str) -> str:
    for sign, plain in _SIGNS:
        name = name.replace(sign, plain)
    return name
