"""Which tokens are words or signs that texts really use: all others are noise wherever tokens are ranked.

A token that is a piece of words, or hardly occurs, has an unembedding like any other, and at a middle block it is as
likely to head a list as a word is.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Int

from services.inference.tokenizer import Tokenizer

LEAST_COUNT = 4
"""A word counts if the texts use its token so often as a whole word,"""
WHOLE_SHARE = 0.5
"""and at least this share of the token's uses is a whole word."""
SIGN_SHARE = 1e-4
"""A token without letters counts if it is at least this share of all tokens."""
_WORD = re.compile(r" ?[^\W\d_]{2,}(?:['’][^\W\d_]+)?| ?(?:I|a|A)")


@dataclass(frozen=True, slots=True)
class Vocabulary:
    """The tokens that lists of tokens are made of."""

    ids: Int[np.ndarray, " words"]
    names: tuple[str, ...]
    """Their texts, with leading spaces."""
    forms: Int[np.ndarray, " words"]
    """Equal for words that differ in case, or in the space before them, alone."""


@dataclass(frozen=True, slots=True)
class Spelling:
    """How tokens make words: arrays over all token ids."""

    names: tuple[str, ...]
    """Texts; bytes that are no whole character show as U+FFFD."""
    goes_on: Bool[np.ndarray, " size"]
    """Whether it begins with a letter, and so goes on with a word that the token before ends in."""
    leads_on: Bool[np.ndarray, " size"]
    """Whether it ends in a letter."""
    is_special: Bool[np.ndarray, " size"]

    @classmethod
    def of(cls, tokenizer: Tokenizer) -> Spelling:
        """That of a tokenizer."""
        names = [tokenizer.piece(token).decode("utf-8", errors="replace") for token in range(tokenizer.size)]
        special = np.array([tokenizer.is_special(token) for token in range(tokenizer.size)])
        goes_on = [_goes_on(name) for name in names]
        leads_on = [name[-1:].isalpha() for name in names]
        return cls(tuple(names), np.array(goes_on) & ~special, np.array(leads_on) & ~special, special)

    def word(self, tokens: Int[np.ndarray, " tokens"], place: int) -> tuple[str, int]:
        """The word that the token at a place is part of, without spaces, and the place of the word's first token."""
        start = end = place
        while start > 0 and self.goes_on[tokens[start]] and self.leads_on[tokens[start - 1]]:
            start -= 1
        while end + 1 < len(tokens) and self.leads_on[tokens[end]] and self.goes_on[tokens[end + 1]]:
            end += 1
        return "".join(self.names[token] for token in tokens[start : end + 1]).strip(" "), start


def _goes_on(name: str) -> bool:
    return name[:1].isalpha() or (name[:1] in "'’" and name[1:2].isalpha())


def vocabulary(rows: Iterable[Int[np.ndarray, " tokens"]], spelling: Spelling) -> Vocabulary:
    """The words and signs of some texts, given as rows of tokens."""
    names = spelling.names
    counts, whole = _uses(rows, spelling)
    lettered = np.array([any(sign.isalpha() for sign in name) for name in names])
    broken = np.array(["\ufffd" in name for name in names])
    words = (whole >= LEAST_COUNT) & (whole >= WHOLE_SHARE * counts)
    signs = ~lettered & ~broken & (counts >= max(LEAST_COUNT, SIGN_SHARE * counts.sum()))
    ids = np.flatnonzero((words | signs) & ~spelling.is_special)
    chosen = tuple(names[token] for token in ids)
    forms: dict[str, int] = {}
    numbers = [forms.setdefault(name.strip(" ").lower(), len(forms)) for name in chosen]
    return Vocabulary(ids, chosen, np.array(numbers, np.int64))


def _uses(
    rows: Iterable[Int[np.ndarray, " tokens"]], spelling: Spelling
) -> tuple[Int[np.ndarray, " size"], Int[np.ndarray, " size"]]:
    """How often each token occurs, and how often as a whole word: no letter before it, and none after it."""
    goes_on, leads_on, size = spelling.goes_on, spelling.leads_on, len(spelling.names)
    is_word = np.array([_WORD.fullmatch(name) is not None for name in spelling.names])
    counts, whole = np.zeros(size, np.int64), np.zeros(size, np.int64)
    for row in rows:
        counts += np.bincount(row, minlength=size)
        begins, ends = ~goes_on[row], np.ones(len(row), bool)
        begins[1:] |= ~leads_on[row[:-1]]
        begins[:1] = True
        ends[:-1] = ~goes_on[row[1:]]
        whole += np.bincount(row[is_word[row] & begins & ends], minlength=size)
    return counts, whole
