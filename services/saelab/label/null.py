"""When a label counts as right: it must tell its own feature better than the labels of other features do."""

from __future__ import annotations

import numpy as np
from jaxtyping import Bool, Float
from numpy.typing import NDArray
from scipy.stats import false_discovery_control

FALSE_DISCOVERIES = 0.05
"""Expected share, at most, of labels that are published though they say no more than another feature's would."""
NULL_QUANTILE = 0.95
"""The score of the null that is published beside a label's own."""


def auroc(
    positive: Float[NDArray[np.float32], "labels positives"],
    negative: Float[NDArray[np.float32], "labels negatives"],
) -> Float[NDArray[np.float64], " labels"]:
    """Chance that a positive context fits better than a negative one, ties counting half. 0.5 is chance.

    For answers yes and no it is the balanced accuracy.
    """
    ordered = np.sort(negative, axis=1)  # Sorting values is far quicker than ranking both.
    below = [
        np.searchsorted(row, values, "left").sum() + np.searchsorted(row, values, "right").sum()
        for row, values in zip(ordered, positive, strict=True)
    ]
    return np.asarray(np.array(below, np.float64) / (2 * positive.shape[1] * negative.shape[1]))


def p_value(own: float, null: Float[NDArray[np.float64], " null"]) -> float:
    """Share of the labels that score at least as well, the own one counted with them: never 0, and if the own label is
    a draw from the null, at most x with probability at most x."""
    return float((1 + (null >= own).sum()) / (1 + len(null)))


def beats_null(
    scores: Float[NDArray[np.float64], " features"], p_values: Float[NDArray[np.float64], " features"]
) -> Bool[NDArray[np.bool_], " features"]:
    """Which labels beat the labels of other features.

    The rule: the p-value passes Benjamini and Hochberg's procedure at FALSE_DISCOVERIES over all labels that were
    tested, and the score is above 0.5.

    Why so. The null is made of real labels of other features of the same SAE, on the very contexts of this one, so
    whatever favours labels of any kind (long ones, common words, the judge's own bias, easy contexts) favours the
    null as much, and being on the 95th percentile of it says that chance alone would do this well one time in twenty.
    Thousands of features are tested, so with that alone one label in twenty that says nothing would be published;
    the procedure keeps the share of such among the *published* ones below one in twenty. Labels of features that mean
    nearly the same are in the null too: that errs on the side of calling a right label wrong.
    """
    passes = np.zeros(len(scores), np.bool_)
    if len(scores):
        passes = false_discovery_control(p_values) <= FALSE_DISCOVERIES
    return np.asarray(passes & (scores > 0.5))
