"""Labels composed from evidence: short phrases in the conventions of atoms.py, several a feature to choose from."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from services.saelab.feature_classes import is_grammatical, stem
from services.saelab.label.atoms import Kind
from services.saelab.label.evidence import Evidence, Found
from services.saelab.label_table import LONGEST

_WORD_PLACES = "words of several tokens"
SETTINGS = ("French text", "Spanish text", "German text", "code", "user's turn", "assistant's turn")
"""Detectors that say where a thing is rather than what: they qualify."""
_QUALIFIES = 0.75
"""A setting that holds for this share of the activation is told."""
_COVERED = 0.85
"""No more atoms are listed once this share of the activation is on those that are."""


@dataclass(frozen=True, slots=True)
class Phrase:
    """A label that might be given."""

    text: str
    handicap: float
    """How much better than a plainer one it must tell the feature (in AUROC) to be preferred."""


def compose(evidence: Evidence, title: str = "") -> list[Phrase]:
    """Different labels for a feature, each a way to say what it fires on; none where there is no evidence."""
    where = _setting(evidence)
    made = [Phrase(_joined(text, where), cost) for text, cost in (*_literal(evidence), *_detected(evidence))]
    made += [Phrase(text, cost) for text, cost in _about(evidence, title)]
    texts: dict[str, Phrase] = {}
    for phrase in sorted(made, key=lambda p: p.handicap):
        if phrase.text and len(phrase.text) <= LONGEST:
            texts.setdefault(phrase.text, phrase)
    return list(texts.values())


def _literal(evidence: Evidence) -> Iterator[tuple[str, float]]:
    """The words, parts of words, and what stands before or after."""
    yield _words(greedy(evidence.words, evidence, 4)), 0.0
    yield _words(listed(evidence.words, 4)), 0.01
    for name, found in _by_place(greedy(evidence.pieces, evidence, 3)):
        yield f"words {name} {_quoted(found)}", 0.02
    for beside in (evidence.after, evidence.before):
        found = [f for f in greedy(beside, evidence, 3) if '"' not in f.atom.text]
        if _covered(found, evidence) >= 0.45:
            yield ", ".join(f'{f.atom.kind} "{f.atom.text}"' for f in found), 0.02


def _words(found: Sequence[Found]) -> str:
    alone = len(found) == 1 and found[0].atom.text.isalpha()
    return f"the word {_quoted(found)}" if alone else _quoted(found)


def _by_place(pieces: Sequence[Found]) -> Iterator[tuple[str, list[Found]]]:
    for name, start, end in (
        ("beginning with", False, True),
        ("ending in", True, False),
        ("with", True, True),
    ):
        inside = [
            f for f in pieces if (f.atom.text.startswith("-"), f.atom.text.endswith("-")) == (start, end)
        ]
        if inside:
            yield name, inside


def _detected(evidence: Evidence) -> Iterator[tuple[str, float]]:
    """What detectors say, with examples."""
    things = [f for f in evidence.detectors if f.atom.text not in SETTINGS and not _is_place(f)]
    settings = [f for f in evidence.detectors if f.atom.text in SETTINGS and f.share >= 0.4]
    for found in [*(f for f in things[:3] if f.share >= 0.3), *settings[:1]]:
        yield found.atom.text, 0.0 if found.share >= 0.7 else 0.03
        inside = [w for w in evidence.words if _share(w.tokens & found.tokens, evidence) > 0.5 * w.share]
        examples = [w for w in inside if w.share >= 0.05 and w.atom.text.strip("\"' ").isalnum()]
        if examples:
            yield f"{found.atom.text} such as {_quoted(examples[:3])}", 0.0 if found.share >= 0.5 else 0.02


def _about(evidence: Evidence, title: str) -> Iterator[tuple[str, float]]:
    """What the words and their surroundings are about."""
    words = [f.atom.text.lower() for f in listed(evidence.words, 8)]
    plain = [word for word in words if len(word) > 2 and not is_grammatical(word)][:5]
    keywords = [word for word in evidence.keywords if stem(word) not in {stem(w) for w in plain}]
    yield ", ".join(plain), 0.0
    if len(plain) < 4:
        yield ", ".join([*plain, *keywords[: 5 - len(plain)]]), 0.02
    yield ", ".join(keywords[:4]), 0.05
    if plain and keywords:
        yield _quoted(listed(evidence.words, 3)) + f" ({', '.join(keywords[:3])})", 0.02
    if title:
        yield title, 0.03
        if plain or keywords:
            yield f"{title}: {', '.join((plain or keywords)[:4])}", 0.02


def listed(found: Sequence[Found], count: int) -> list[Found]:
    """Those with the largest contributions, one of each stem."""
    stems: dict[str, Found] = {}
    for one in found:
        stems.setdefault(stem(one.atom.text), one)
    return list(stems.values())[:count]


def greedy(found: Sequence[Found], evidence: Evidence, count: int) -> list[Found]:
    """Those that together cover the activation, until what one adds is little."""
    chosen: list[Found] = []
    covered = np.zeros(evidence.firings, np.bool_)
    for one in found:
        if len(chosen) == count or _share(covered, evidence) >= _COVERED:
            break
        added = _share(one.tokens & ~covered, evidence)
        if added >= 0.04 and (not chosen or added >= 0.15 * chosen[0].share):
            chosen.append(one)
            covered |= one.tokens
    return chosen


def _share(tokens: NDArray[np.bool_], evidence: Evidence) -> float:
    return float(evidence.weights[tokens].sum())


def _covered(found: Sequence[Found], evidence: Evidence) -> float:
    return _share(np.any([one.tokens for one in found], axis=0), evidence) if found else 0.0


def _quoted(found: Sequence[Found]) -> str:
    return ", ".join(f'"{f.atom.text}"' for f in found if '"' not in f.atom.text)


def _setting(evidence: Evidence) -> str:
    return next(
        (f.atom.text for f in evidence.detectors if f.atom.text in SETTINGS and f.share >= _QUALIFIES), ""
    )


def _joined(label: str, setting: str) -> str:
    if not label or not setting or setting in label:
        return label
    return f"{label} in {'the ' if 'turn' in setting else ''}{setting}"


def _is_place(found: Found) -> bool:
    return found.atom.kind is Kind.DETECTOR and found.atom.text.endswith(_WORD_PLACES)
