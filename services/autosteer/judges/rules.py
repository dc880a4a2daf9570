"""Cheap rules by which a text counts as broken before any judge sees it."""

from __future__ import annotations

import re
from collections import Counter

LEAST_WORDS = 3
"""A text of fewer words is none."""
DISTINCT_RUNS = 0.75
"""Share of runs of three words that must be different; calibrated on the steered texts of the SAE lab."""
REPEATED_RUN = 3
"""So often may no run of four words stand in a text."""
DOUBLED_LOSS = 0.7
"""Nats a token: a text whose perplexity under the unsteered model is more than twice the unsteered text's is broken."""
HOPELESS_LOSS = 3.5
"""Nats a token above which nothing that a judge could say would help."""

_SCRIPTS_WITHOUT_SPACES = re.compile(r"[\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u3040-\u30ff\u3400-\u9fff]")


def words_of(text: str) -> list[str]:
    """Words in lower case; in scripts without spaces each character is one."""
    spaced = _SCRIPTS_WITHOUT_SPACES.sub(lambda match: f" {match[0]} ", text.lower())
    return re.findall(r"\w+", spaced)


def distinct_runs(words: list[str], length: int = 3) -> float:
    """Share of different runs of `length` words; 1 where there is none."""
    runs = _runs(words, length)
    return len(set(runs)) / len(runs) if runs else 1.0


def fault(text: str) -> str:
    """Why a text is broken; empty if it is not."""
    words = words_of(text)
    if len(words) < LEAST_WORDS:
        return "too short"
    if distinct_runs(words) < DISTINCT_RUNS:
        return "repeats itself"
    counts = Counter(_runs(words, 4))
    if counts and max(counts.values()) >= REPEATED_RUN:
        return "loops"
    letters = Counter(words)
    if len(words) >= 12 and letters.most_common(1)[0][1] > len(words) / 3:
        return "one word over and over"
    return ""


def _runs(words: list[str], length: int) -> list[tuple[str, ...]]:
    return [tuple(words[start : start + length]) for start in range(len(words) - length + 1)]
