"""Means with their uncertainty: the bootstrap over prompts, paired where two arms answer the same ones."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from services.autosteer.spec import Interval

RESAMPLES = 2000
LEVEL = 0.95


def interval(values: Sequence[float], seed: int) -> Interval:
    """The mean and its percentile bootstrap interval at 95 %; a single value has no width."""
    if not values:
        return Interval(0.0, 0.0, 0.0)
    drawn = np.asarray(values, np.float64)
    rng = np.random.default_rng(seed)
    means = drawn[rng.integers(0, len(drawn), (RESAMPLES, len(drawn)))].mean(1)
    low, high = np.quantile(means, [(1 - LEVEL) / 2, (1 + LEVEL) / 2])
    return Interval(float(drawn.mean()), float(low), float(high))


def paired_difference(ours: Sequence[float], theirs: Sequence[float], seed: int) -> Interval:
    """By how much our mean lies above theirs: the differences prompt by prompt are resampled, on the first prompts,
    which both answered."""
    return interval([a - b for a, b in zip(ours, theirs, strict=False)], seed)
