"""What kind of thing a feature is about, by stated rules on the tokens that it is strongly active on.

Shares are of the activation over these tokens. The first rule that holds wins:

1. template: at least half is on the chat template's own tokens.
2. position: at least POSITION_SHARE is on the first FIRST_TOKENS tokens of a turn or a document, and no single word has
   half of it.
3. syntactic: at least SYNTACTIC_SHARE is on function words, and on tokens without letters or digits; or ENDING_SHARE is
   on one ending of different words.
4. lexical: at least LEXICAL_SHARE is on one word, whatever its inflection.
5. concept: anything else: different words that mean something.
"""

from __future__ import annotations

import re
import tomllib
from collections import defaultdict
from collections.abc import Hashable, Iterable, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from services.saelab.annotated import TEMPLATE
from services.saelab.feature_rows import FeatureClass

FUNCTION_WORDS = Path(__file__).with_name("function_words.toml")
TEMPLATE_SHARE = 0.5
FIRST_TOKENS = 3
POSITION_SHARE = 0.6
SYNTACTIC_SHARE = 0.6
ENDING_SHARE = 0.5
LEXICAL_SHARE = 0.5
_ENDINGS = ("'s", "’s", "ings", "ing", "edly", "ed", "ies", "es", "s", "ly", "y", "e")
"""Taken off a word, the first that fits, where at least three letters are left."""


@dataclass(frozen=True, slots=True)
class ActiveToken:
    """One token that a feature is active on."""

    text: str
    """As the tokenizer has it, spaces and all."""
    word: str
    """The whole word that it is in; the token's own text where it has no letters."""
    continues: bool
    """Whether the word begins with an earlier token."""
    role: int
    """Place in annotated.ROLES."""
    turn_position: int
    """Tokens before it in its turn or document; -1 on the template's tokens."""
    activation: float


def classify(tokens: Sequence[ActiveToken]) -> FeatureClass:
    """The class of a live feature, by the rules above. Raises ValueError without tokens."""
    if not tokens:
        raise ValueError("a feature without activations has no class but dead")
    total = sum(token.activation for token in tokens)

    def share(which: Iterable[bool]) -> float:
        return sum(t.activation for t, holds in zip(tokens, which, strict=True) if holds) / total

    if share(token.role == TEMPLATE for token in tokens) >= TEMPLATE_SHARE:
        return FeatureClass.TEMPLATE
    one_word = _largest_share(tokens, [stem(token.word) for token in tokens]) / total
    first = share(0 <= token.turn_position < FIRST_TOKENS for token in tokens)
    if first >= POSITION_SHARE and one_word < LEXICAL_SHARE:
        return FeatureClass.POSITION
    endings = [token for token in tokens if token.continues]
    one_ending = _largest_share(endings, [token.text for token in endings]) / total
    grammatical = share(is_grammatical(token.word) for token in tokens)
    if grammatical >= SYNTACTIC_SHARE or (one_ending >= ENDING_SHARE and one_word < LEXICAL_SHARE):
        return FeatureClass.SYNTACTIC
    return FeatureClass.LEXICAL if one_word >= LEXICAL_SHARE else FeatureClass.CONCEPT


def _largest_share(tokens: Sequence[ActiveToken], groups: Sequence[Hashable]) -> float:
    """The activation on the group that has most of it."""
    sums: dict[Hashable, float] = defaultdict(float)
    for token, group in zip(tokens, groups, strict=True):
        sums[group] += token.activation
    return max(sums.values(), default=0.0)


def is_grammatical(word: str) -> bool:
    """Whether a word carries grammar rather than meaning: a function word, or a sign that is no digit."""
    plain = word.strip().lower()
    return plain.replace("’", "'") in function_words() or not re.search(r"\w", plain)


@cache
def function_words() -> frozenset[str]:
    """Those of all languages that are listed."""
    lists: dict[str, str] = tomllib.loads(FUNCTION_WORDS.read_text("utf-8"))
    return frozenset(word for words in lists.values() for word in words.split())


def stem(word: str) -> str:
    """A word without its inflection, roughly; equal for the forms of one word, now and then for those of two."""
    plain = word.strip().lower()
    for ending in _ENDINGS:
        if plain.endswith(ending) and len(plain) - len(ending) >= 3:
            return plain.removesuffix(ending)
    return plain
