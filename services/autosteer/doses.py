"""Doses as fractions of the median residual norm, and the edits that deliver them."""

from __future__ import annotations

import math
from collections.abc import Mapping

from services.steering.conditions import FeatureKey
from services.steering.edits import Edit, Operation

MAX_SHARE = 0.4
"""The nudges of one result together move the residual stream by at most this fraction of its norm: above it the
embedded model's texts fall apart, whatever the features. Directions count as orthogonal."""
TRIED_MOST = 0.55
"""The largest fraction that a ceiling is looked for up to."""


def edits_of(shares: Mapping[FeatureKey, float], strength_constant: float) -> tuple[Edit, ...]:
    """Nudges that move the stream by these fractions of the norm, scaled down together where they exceed MAX_SHARE."""
    total = math.sqrt(sum(share * share for share in shares.values()))
    factor = min(1.0, MAX_SHARE / total) if total > 0 else 0.0
    return tuple(
        Edit(feature, Operation.NUDGE, round(share * factor / strength_constant, 3))
        for feature, share in shares.items()
        if share
    )


def nudge(feature: FeatureKey, share: float, strength_constant: float) -> tuple[Edit, ...]:
    """One nudge, not scaled down: to try what a dose does."""
    return (Edit(feature, Operation.NUDGE, round(share / strength_constant, 3)),)


def norm_of(edits: tuple[Edit, ...], strength_constant: float) -> float:
    """The fraction of the norm by which nudges move the stream."""
    return strength_constant * math.sqrt(sum(edit.value * edit.value for edit in edits))
