"""What language models are asked: for a label, for the contexts that it fits, for the marked tokens that it means.

The tasks are those of EleutherAI's delphi (explanation, detection, fuzzing); the words are our own.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

from services.saelab.label.asking import Question, parse_json
from services.saelab.label_table import LONGEST, shortened

OPEN, CLOSE = "«", "»"
"""Around marked tokens."""
TOGETHER = 5
"""Excerpts in one question of detection or fuzzing."""

_EXPLAIN = f"""\
You name single features of a language model. Below are excerpts of text. In each, the tokens on which one and the \
same feature was active stand between {OPEN} and {CLOSE}; the excerpts in which it was strongest come first. It may \
stand for a meaning, one word or its forms, a part of a word, a sign, a place in the text or in a turn, a format, a \
language. Look for what all marked tokens have in common that other tokens of the same excerpts lack, and name it as \
narrowly as the excerpts allow. Quote words that are meant as such. Do not speak of "the feature", "tokens" or \
"excerpts".
Answer with JSON alone: {{"label": "<at most ten words>", "confidence": <0 to 1>}}"""

_DETECT = """\
A description of something that occurs in texts is followed by numbered excerpts. For each excerpt, decide whether \
what is described occurs anywhere in it. Judge by the description alone. Answer with a line of numbers alone: for each \
excerpt in order 1 if it does, 0 if it does not, with spaces between."""

_FUZZ = f"""\
A description of some tokens of a text is followed by numbered excerpts, in which tokens are marked with {OPEN} and \
{CLOSE}. For each excerpt, decide whether the marked tokens are the ones that the description means. In some excerpts \
other tokens were marked by mistake. Answer with a line of numbers alone: for each excerpt in order 1 if they are, 0 \
if they are not, with spaces between."""


def explanation(excerpts: Sequence[str], promoted: Sequence[str]) -> Question:
    """Asks for a label."""
    parts = [f"{number}. {excerpt}" for number, excerpt in enumerate(excerpts, 1)]
    if promoted:
        parts.append(f"Where it is active, the model is likelier to go on with: {', '.join(promoted)}")
    return Question(_EXPLAIN, "\n".join(parts), 80)


def detection(label: str, excerpts: Sequence[str]) -> Question:
    """Asks which excerpts a label fits."""
    return _of_excerpts(_DETECT, label, excerpts)


def fuzzing(label: str, excerpts: Sequence[str]) -> Question:
    """Asks in which excerpts the marked tokens are what a label means."""
    return _of_excerpts(_FUZZ, label, excerpts)


def _of_excerpts(instruction: str, label: str, excerpts: Sequence[str]) -> Question:
    parts = [f"{number}. {excerpt}" for number, excerpt in enumerate(excerpts, 1)]
    return Question(instruction, "\n".join([f"Description: {label}", *parts]), 8 * len(excerpts))


def label_in(answer: str) -> tuple[str, float | None]:
    """The label that an answer gives, empty where it gives none, and the confidence.

    Small models forget the format: then the first line is taken, without what announces it.
    """
    found = parse_json(answer)
    label, confidence = found.get("label"), found.get("confidence")
    if not isinstance(label, str):
        quoted = re.search(r'"label"\s*:\s*"([^"\n]+)', answer)
        first = next((line.strip() for line in answer.splitlines() if line.strip(" {}`")), "")
        label = quoted[1] if quoted else re.sub(r"^[\W_]*(label|answer)\W+", "", first, flags=re.IGNORECASE)
        label = label.strip("\"'{} ")
    certain = float(confidence) if isinstance(confidence, int | float) and 0 <= confidence <= 1 else None
    return shortened(label.strip(" ."), LONGEST), certain


def verdicts_in(answer: str, count: int) -> list[float]:
    """1 for yes, 0 for no; 0.5 where the answer does not say."""
    found = [float(sign) for sign in re.findall(r"(?<![\d.])[01](?![\d.])", answer)]
    return (found + [0.5] * count)[:count] if len(found) <= count else [0.5] * count


def one_line(text: str) -> str:
    """An excerpt as prompts show it: line breaks are signs, too."""
    return text.replace("\n", "⏎").strip(" ")


def marked(pieces: Sequence[str], marks: Sequence[bool]) -> str:
    """The text of tokens with runs of marked ones between OPEN and CLOSE."""
    parts: list[str] = []
    inside = False
    for piece, mark in zip(pieces, marks, strict=True):
        if mark != inside:
            lead = piece[: len(piece) - len(piece.lstrip(" "))] if mark else ""
            parts += [lead, OPEN, piece[len(lead) :]] if mark else [CLOSE, piece]
            inside = mark
        else:
            parts.append(piece)
    return "".join(parts) + (CLOSE if inside else "")
