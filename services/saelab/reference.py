"""Statistics of each feature over the reference corpus: the collected activations it was trained on."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from services.inference.sae.base import Sae
from services.saelab.shards import Shard, ShardFolder

SCALE_QUANTILE = 0.999
"""The activation scale of a feature is this quantile of its non-zero activations."""
_TOGETHER = 4096
"""Tokens whose activations are in memory together."""


@dataclass(frozen=True, slots=True)
class FeatureStatistics:
    """What the reference corpus says of each feature, and of the stream."""

    density: Float[Tensor, " features"]
    """Share of tokens on which it is active."""
    scales: Float[Tensor, " features"]
    """SCALE_QUANTILE of its non-zero activations, in raw units; 1 for a feature that is never active."""
    maxima: Float[Tensor, " features"]
    """Largest activation; 0 for a feature that is never active."""
    mean: Float[Tensor, " d_model"]
    """Mean of the residual stream."""
    median_norm: float
    """Median norm of the residual stream."""
    tokens: int
    """Tokens read."""


def encoded(
    sae: Sae, shard: Shard
) -> Iterator[tuple[Float[Tensor, "tokens d_model"], Float[Tensor, "tokens d_sae"]]]:
    """The tokens of a shard and their activations, in order, _TOGETHER tokens at a time; float32."""
    for start in range(0, len(shard.activations), _TOGETHER):
        h = shard.activations[start : start + _TOGETHER].float()
        yield h, sae.weights.encode(h)


def feature_statistics(sae: Sae, folder: ShardFolder, tokens: int) -> FeatureStatistics:
    """Encodes the first `tokens` tokens of the shards. Memory: 8 bytes for each non-zero activation."""
    d_sae = sae.weights.d_sae
    features, values, norms = [], [], []
    total, count = torch.zeros(sae.weights.d_model, dtype=torch.float64), 0
    for shard in folder:
        for h, f in encoded(sae, shard):
            active = f.nonzero(as_tuple=True)
            features.append(active[1].to(torch.int32).numpy())
            values.append(f[active].numpy())
            total += h.sum(0, dtype=torch.float64)
            count += len(h)
        norms.append(shard.norms)
        if count >= tokens:
            break
    feature, value = np.concatenate(features), np.concatenate(values)
    counts = np.bincount(feature, minlength=d_sae)
    order = np.lexsort((value, feature))  # By feature, then by activation.
    value = value[order]
    ends = counts.cumsum()
    starts = ends - counts
    alive = counts > 0
    maxima, scales = np.zeros(d_sae, np.float32), np.ones(d_sae, np.float32)
    maxima[alive] = value[ends[alive] - 1]
    for index in np.flatnonzero(alive):
        scales[index] = np.quantile(value[starts[index] : ends[index]], SCALE_QUANTILE)
    return FeatureStatistics(
        density=torch.from_numpy(counts / count).float(),
        scales=torch.from_numpy(scales),
        maxima=torch.from_numpy(maxima),
        mean=(total / count).float(),
        median_norm=float(torch.cat(norms).median()),
        tokens=count,
    )
