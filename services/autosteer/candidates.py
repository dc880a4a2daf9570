"""Features that may bring a behaviour about, and how what is known of them before any test ranks them."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace

from services.autosteer.spec import Candidate
from services.autosteer.upstream import Contrasted, Entry
from services.steering.conditions import FeatureKey

UNLABELLED = "unlabelled: "
MAX_DENSITY = 0.1
"""A feature that is active on a larger share of tokens is about nothing in particular."""
MAX_CONTRAST_DENSITY = 0.01
"""The same for features that contrast alone has found: over few texts, dense features differ by chance."""
NEVER = frozenset({"dead", "template", "position"})
"""Kinds of features that no edit should touch."""
STEERS_WELL = 0.05
"""A steerability that one in twenty features of the embedded SAE has."""
TOKENS = 10
"""Promoted tokens that count."""


def candidate_of(entry: Entry, sae: str, source: str, contrasted: Contrasted | None = None) -> Candidate:
    """A feature that was found."""
    return Candidate(
        FeatureKey(sae, entry.index),
        entry.label,
        (source,),
        0.0,
        density=entry.density,
        similarity=entry.similarity,
        effect_size=None if contrasted is None else contrasted.effect_size,
        auroc=None if contrasted is None else contrasted.auroc,
        output_score=entry.output_score,
        steerability=entry.steerability,
        promoted=entry.promoted[:TOKENS],
    )


def is_fit(entry: Entry, *, by_contrast_alone: bool = False) -> bool:
    """Whether a feature may be a candidate: neither dense, nor dead, nor about places and templates."""
    most = MAX_CONTRAST_DENSITY if by_contrast_alone else MAX_DENSITY
    return entry.kind not in NEVER and 0 < entry.density <= most


def merged(candidates: Iterable[Candidate]) -> list[Candidate]:
    """Each feature once, with all that its finds tell, in order of first appearance."""
    found: dict[FeatureKey, Candidate] = {}
    for each in candidates:
        known = found.get(each.feature)
        if known is None:
            found[each.feature] = each
            continue
        found[each.feature] = replace(
            known,
            sources=tuple(dict.fromkeys((*known.sources, *each.sources))),
            similarity=known.similarity if known.similarity is not None else each.similarity,
            effect_size=known.effect_size if known.effect_size is not None else each.effect_size,
            auroc=known.auroc if known.auroc is not None else each.auroc,
        )
    return list(found.values())


def leading(candidates: Sequence[Candidate], count: int) -> list[Candidate]:
    """The first `count`; the top hit is among them, in the last place where it comes later."""
    first = list(candidates[:count])
    later = [each for each in candidates[count:] if each.top_hit]
    return [*first[: count - len(later)], *later] if later and count else first


def steers(steerability: float | None) -> float:
    """What a measured steerability is worth, in 0..1: 0 where no nudge steers, half where that is not known."""
    if steerability is None:
        return 0.5
    return 0.0 if steerability <= 0 else 0.5 + 0.5 * min(1.0, steerability / STEERS_WELL)


def plain_label(label: str) -> str:
    """A label without the mark that a test refuted it."""
    return label.removeprefix(UNLABELLED)


def ranked(
    candidates: Sequence[Candidate],
    label_likeness: Mapping[FeatureKey, float],
    token_likeness: Mapping[FeatureKey, float],
) -> list[Candidate]:
    """By what they mean, what they promote, how strongly, whether they are known to steer, and how they tell the
    examples apart; best first.

    On the embedded SAE the sum of both likenesses puts features that visibly steer first where either alone does not: a
    label tells what a feature reads, promoted tokens what it writes.
    """

    def score(each: Candidate) -> float:
        meaning = label_likeness.get(each.feature, 0.0) + token_likeness.get(each.feature, 0.0)
        strength = 0.15 * math.log1p(max(0.0, each.output_score or 0.0))
        contrast = 0.2 * min(1.0, max(0.0, each.effect_size or 0.0) / 2)
        return meaning + strength + contrast + 0.3 * steers(each.steerability)

    scored = [
        replace(
            each,
            score=score(each),
            meaning=score(each),
            similarity=label_likeness.get(each.feature, each.similarity),
        )
        for each in candidates
    ]
    return sorted(scored, key=lambda each: (-each.score, each.feature.index))
