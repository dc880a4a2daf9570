"""Exact search, and how much of it another search finds."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from jaxtyping import Bool, Float, Int
from numpy.typing import NDArray

_TIE = 1e-6
"""Cosines that are closer are taken to be equal: sums in another order differ by as much."""

Scores = Float[NDArray[np.float32], " features"]
"""Cosines with a query; -inf where a filter leaves the feature out."""


def scores(
    vectors: Float[NDArray[np.float32], "features width"],
    query: Float[NDArray[np.float32], " width"],
    where: Bool[NDArray[np.bool_], " features"],
) -> Scores:
    """The cosines of a query of norm 1 with vectors of norm 1."""
    return np.where(where, vectors @ query, np.float32(-np.inf))


def best(values: Scores, k: int) -> Int[NDArray[np.int64], " k"]:
    """The k features of the highest scores, the highest first; fewer where there are not so many."""
    k = min(k, int(np.isfinite(values).sum()))
    if not k:
        return np.empty(0, np.int64)
    top = np.argpartition(-values, k - 1)[:k]
    return np.asarray(top[np.argsort(-values[top])], np.int64)


def recall(found: Sequence[int], values: Scores, k: int) -> float:
    """Share of the k best (or of all, where there are fewer) that were found among the first k.

    One that scores like the last of the best is as good as that. 1 where there is nothing to find.
    """
    exact = best(values, k)
    if not len(exact):
        return 1.0
    right = sum(bool(values[index] >= values[exact[-1]] - _TIE) for index in dict.fromkeys(found[:k]))
    return right / len(exact)
