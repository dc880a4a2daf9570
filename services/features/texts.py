"""The texts of a feature by which it is found: all that search knows of it is made here.

Whoever changes one of these functions raises VERSION: catalogues that were made by another are then made anew.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator

from services.features.feature import UNLABELLED, Example, Feature

VERSION = 1
"""Of what these functions answer."""
EXCERPTS = 6
"""Examples that stand for a feature's contexts, of different documents as far as there are some."""
BEFORE, AFTER = 12, 8
"""Tokens of an excerpt before and after the peak."""
_MARKS = re.compile(r"<\|[^|<>]{1,40}\|>")
"""The chat template's own tokens, which say nothing about a meaning."""


def label_text(feature: Feature) -> str:
    """What its label says, whether a test refuted it or not; empty without a label."""
    return feature.label.removeprefix(UNLABELLED).strip()


def context_text(feature: Feature) -> str:
    """Where it is active: excerpts around the peaks of its examples, the strongest first; empty without examples."""
    return " … ".join(filter(None, map(_excerpt, _chosen(feature.examples))))


def words_text(feature: Feature, context: str | None = None) -> str:
    """The words by which it is found: those of its label, its contexts and the tokens that it promotes.

    `context` is its context_text, where that is known already.
    """
    promoted = " ".join(weight.token.strip() for weight in feature.promoted)
    contexts = context_text(feature) if context is None else context
    return "\n".join(filter(None, (label_text(feature), feature.description, contexts, promoted)))


def text_digest(text: str) -> bytes:
    """SHA-256 of a text in UTF-8, by which its vector is found again."""
    return hashlib.sha256(text.encode()).digest()


def _chosen(examples: tuple[Example, ...]) -> list[Example]:
    """The first ones, one of each document, then others."""
    first: dict[str, Example] = {}
    for example in examples:
        first.setdefault(example.document or str(len(first)), example)
    chosen = list(first.values())
    others = (example for example in examples if example not in chosen)
    return [*chosen, *others][:EXCERPTS]


def _excerpt(example: Example) -> str:
    start = max(0, example.peak - BEFORE)
    text = "".join(_readable(example.tokens[start : example.peak + AFTER + 1]))
    if start and not text[:1].isspace():
        text = text.partition(" ")[2] or text  # it began within a word
    return " ".join(text.split())


def _readable(tokens: tuple[str, ...]) -> Iterator[str]:
    for token in tokens:
        yield _MARKS.sub(" ", token) if "<|" in token else token
