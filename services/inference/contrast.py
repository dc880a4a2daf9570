"""Which features tell two sets of prompts apart, by their pooled activations."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float
from scipy import stats
from torch import Tensor

DEFAULT_TOP_K = 20
"""Features a side unless the request says."""
MAX_TOP_K = 1000
"""Features a side that a request may ask for."""
MAX_EFFECT_SIZE = 100.0
"""Effect sizes are cut off here, either way."""
BLOCK_FEATURES = 4096
"""Features tested at once: bounds memory."""


@dataclass(frozen=True, slots=True)
class FeatureContrast:
    """How one feature tells the sets apart."""

    index: int
    mean_positive: float
    mean_negative: float
    """Mean pooled activations, raw."""
    auroc: float
    """The probability that a random positive prompt has the larger value, ties counted half."""
    effect_size: float
    """Hedges' g."""
    p_value: float
    """Two-sided Mann-Whitney."""
    q_value: float
    """Benjamini-Hochberg, over the tested features."""


@dataclass(frozen=True, slots=True)
class Contrast:
    """Features of each side, most telling first."""

    positive: tuple[FeatureContrast, ...]
    negative: tuple[FeatureContrast, ...]
    tested_features: int
    """Features that fire in either set."""


def contrast(
    positive: Float[Tensor, "n_positive d_sae"], negative: Float[Tensor, "n_negative d_sae"], top_k: int = 0
) -> Contrast:
    """Compares pooled raw activations of two sets of prompts, at least one prompt each; they need not pair.

    A feature belongs to the side for which its AUROC speaks; one of exactly 0.5 to neither. The order is by distance of
    the AUROC from 0.5, then |g|, then distance of the means, then index. At most `top_k` a side (0: 20).
    """
    a, b = positive.cpu().numpy(), negative.cpu().numpy()
    tested = np.flatnonzero((a > 0).any(0) | (b > 0).any(0))
    if not len(tested):
        return Contrast((), (), 0)
    blocks = [
        _statistics(a[:, part].astype(np.float64), b[:, part].astype(np.float64))
        for part in np.array_split(tested, -(-len(tested) // BLOCK_FEATURES))
    ]
    mean_a, mean_b, auroc, g, p = np.concatenate(blocks, axis=1)
    q = stats.false_discovery_control(p, method="bh")
    order = np.lexsort((tested, -np.abs(mean_a - mean_b), -np.abs(g), -np.abs(auroc - 0.5)))

    def side(belongs: Bool[np.ndarray, " tested"]) -> tuple[FeatureContrast, ...]:
        chosen = order[belongs[order]][: top_k or DEFAULT_TOP_K]
        columns = (column[chosen].tolist() for column in (tested, mean_a, mean_b, auroc, g, p, q))
        return tuple(FeatureContrast(*row) for row in zip(*columns, strict=True))

    return Contrast(side(auroc > 0.5), side(auroc < 0.5), len(tested))


def _statistics(
    a: Float[np.ndarray, "n_positive features"], b: Float[np.ndarray, "n_negative features"]
) -> Float[np.ndarray, "5 features"]:
    """Means of both sets, AUROC, Hedges' g and p-value of each feature."""
    u, p = _mann_whitney(a, b)
    return np.stack([a.mean(0), b.mean(0), u / (len(a) * len(b)), hedges_g(a, b), p])


def _mann_whitney(
    a: Float[np.ndarray, "n_positive features"], b: Float[np.ndarray, "n_negative features"]
) -> tuple[Float[np.ndarray, " features"], Float[np.ndarray, " features"]]:
    """U of the positive set and the two-sided p-value, as scipy gives them feature by feature: exact where a set has at
    most 8 prompts and no values tie, else the normal approximation, corrected for ties and continuity."""
    values = np.sort(np.concatenate([a, b]), axis=0)
    tied = (values[1:] == values[:-1]).any(0)
    u, p = np.empty(a.shape[1]), np.empty(a.shape[1])
    for some in (tied, ~tied):  # scipy takes one method for all features of a call
        if some.any():
            result = stats.mannwhitneyu(
                a[:, some], b[:, some], alternative="two-sided", axis=0, method="auto"
            )
            u[some], p[some] = result.statistic, result.pvalue
    return u, p


def hedges_g(
    a: Float[np.ndarray, "n_positive features"], b: Float[np.ndarray, "n_negative features"]
) -> Float[np.ndarray, " features"]:
    """The difference of means over the pooled standard deviation, times 1 - 3 / (4 df - 1) with df = n_a + n_b - 2.

    Where df is below 2 the correction, which would be 0 or less, is left out. Values are cut off at
    +-MAX_EFFECT_SIZE; a pooled deviation of 0 (each set constant, or one prompt each) gives 0 where the means are equal
    and the cut-off value with the difference's sign where they are not.
    """
    df = len(a) + len(b) - 2
    squares = ((a - a.mean(0)) ** 2).sum(0) + ((b - b.mean(0)) ** 2).sum(0)
    deviation = np.sqrt(squares / max(df, 1))
    difference = a.mean(0) - b.mean(0)
    correction = 1.0 - 3.0 / (4.0 * df - 1.0) if df >= 2 else 1.0
    with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
        g = np.where(difference == 0, 0.0, correction * difference / deviation)
    return np.clip(g, -MAX_EFFECT_SIZE, MAX_EFFECT_SIZE)
