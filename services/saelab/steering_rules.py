"""What counts as steered: topics with the words that tell of them, and the rules by which texts are judged.

Texts are greedy. At one dose, over some prompts:

- gain: words of the topic in a hundred words, above the texts that the model writes unsteered;
- loss: nats a token by which the unsteered model finds the texts less likely than its own;
- distinct: share of the texts' runs of three words that are different.

A dose is fluent if loss and distinct keep their limits, and steers if it is fluent and the gain is visible.
"""

from __future__ import annotations

import re
import tomllib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from services.saelab.errors import SaeLabError

FLUENT_LOSS = 1.0
"""A steered text is fluent if the unsteered model finds it at most so many nats a token less likely than its own,"""
FLUENT_DISTINCT = 0.75
"""and at least this share of its runs of three words are different."""
VISIBLE_WORDS = 5.0
"""A feature steers visibly if topic words rise by at least so many in a hundred words."""
_WHOLE = 3
"""Stems of up to so many letters must be the whole word."""


@dataclass(frozen=True, slots=True)
class Topic:
    """One everyday concept."""

    name: str
    sentences: tuple[str, ...]
    """About it: features that are active on them are candidates."""
    stems: tuple[str, ...] = ()
    """What words of the topic begin with."""
    pattern: str = ""
    """A regular expression whose matches count as words of the topic: signs, digits, lines of code."""

    def words(self, text: str) -> float:
        """Words of the topic in a hundred words."""
        return topic_words(text, self.stems, self.pattern)

    def has(self, word: str) -> bool:
        """Whether a single word, in lower case, is one of the topic's stems' words."""
        return word in self.stems or any(len(stem) > _WHOLE and word.startswith(stem) for stem in self.stems)


@dataclass(frozen=True, slots=True)
class Topics:
    """What is looked for, and with which questions."""

    topics: tuple[Topic, ...]
    choosing: tuple[str, ...]
    """Questions by whose answers features and doses are chosen."""
    proving: tuple[str, ...]
    """Other questions: what is reported is measured on their answers."""


def read_topics(path: Path) -> Topics:
    """Topics from a TOML file. Raises SaeLabError with the topic at fault."""
    try:
        described = tomllib.loads(path.read_text("utf-8"))
        choosing, proving = tuple(described["choosing"]), tuple(described["proving"])
        rows: dict[str, Any] = described["topics"]
    except (OSError, ValueError, KeyError) as error:
        raise SaeLabError(f"{path} is no list of topics: {error}") from error
    if not choosing or not proving or set(choosing) & set(proving):
        raise SaeLabError(f"{path} needs questions to choose by, and others to prove by")
    return Topics(tuple(_topic(path, name, row) for name, row in rows.items()), choosing, proving)


def _topic(path: Path, name: str, row: dict[str, Any]) -> Topic:
    try:
        topic = Topic(
            name, tuple(row["sentences"]), tuple(row.get("stems", "").split()), row.get("pattern", "")
        )
        re.compile(topic.pattern)
    except (KeyError, AttributeError, re.error) as error:
        raise SaeLabError(f"{path}: topic {name!r} is at fault: {error}") from error
    if not topic.sentences or not (topic.stems or topic.pattern):
        raise SaeLabError(f"{path}: topic {name!r} needs sentences, and stems or a pattern")
    return topic


def topic_words(text: str, stems: tuple[str, ...] | list[str], pattern: str = "") -> float:
    """Words that begin with one of the stems, and matches of the pattern, in a hundred words."""
    words = re.findall(r"\w+", text.lower())
    long = tuple(stem for stem in stems if len(stem) > _WHOLE)
    hits: int = sum(word.startswith(long) or word in stems for word in words)
    if pattern:
        hits += len(re.findall(pattern, text, re.IGNORECASE | re.MULTILINE))
    return 100.0 * hits / max(1, len(words))


def distinct_runs(text: str, length: int = 3) -> float:
    """Share of different runs of `length` words; 0 for a text too short to have one."""
    words = re.findall(r"\w+", text.lower())
    runs = [tuple(words[start : start + length]) for start in range(len(words) - length + 1)]
    return len(set(runs)) / len(runs) if runs else 0.0


def is_fluent(loss: float, distinct: float) -> bool:
    """Whether texts stay fluent, by the stated rule."""
    return loss <= FLUENT_LOSS and distinct >= FLUENT_DISTINCT
