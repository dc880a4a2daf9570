"""What a dictionary is like as a whole: dead, dense and redundant features."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from services.inference.sae.base import Sae
from services.saelab.neighbors import Codes, coactivation_neighbors, decoder_neighbors
from services.saelab.reference import FeatureStatistics, encoded
from services.saelab.shards import ShardFolder

DENSE = 0.1
"""A feature is dense if it is active on a larger share of tokens."""
REDUNDANT = 0.7
"""Two features are redundant to each other if their cosine is larger."""
DECADES = tuple(step / 4 for step in range(-24, 1))
"""Edges of the bins of densities: their logarithms to base 10, four to a decade."""
QUANTILES = (0.05, 0.25, 0.5, 0.75, 0.95)


@dataclass(frozen=True, slots=True)
class DictionaryMetrics:
    """What the dictionary is like, over the reference corpus."""

    features: int
    reference_tokens: int
    dead: float
    """Share of features that are never active."""
    dense: float
    """Share of features that are active on over 10 % of tokens."""
    median_density: float
    decoder_cosine_median: float
    """Median over features of the cosine with the nearest other decoder direction."""
    decoder_cosine_above_07: float
    """Share of features with another within a cosine of 0.7."""
    coactivation_tokens: int
    """Tokens that co-activation is measured on."""
    coactivation_median: float
    """Median over the features that are active there of the largest cosine between the activations over tokens of the
    feature and another."""
    coactivation_above_07: float
    """Share of these features with another within a cosine of 0.7."""
    median_norm: float
    """Median norm of the residual stream."""


def dictionary_metrics(
    sae: Sae, statistics: FeatureStatistics, nearest_pattern: Float[Tensor, " active"], tokens: int
) -> DictionaryMetrics:
    """`nearest_pattern` is nearest_patterns() over so many tokens."""
    every = torch.ones(sae.weights.d_sae, dtype=torch.bool)
    nearest = nearest_directions(sae.weights.W_dec, every)
    return DictionaryMetrics(
        features=sae.weights.d_sae,
        reference_tokens=statistics.tokens,
        dead=float((statistics.density == 0).float().mean()),
        dense=float((statistics.density > DENSE).float().mean()),
        median_density=float(statistics.density.median()),
        decoder_cosine_median=float(nearest.median()),
        decoder_cosine_above_07=float((nearest > REDUNDANT).float().mean()),
        coactivation_tokens=tokens,
        coactivation_median=float(nearest_pattern.median()),
        coactivation_above_07=float((nearest_pattern > REDUNDANT).float().mean()),
        median_norm=statistics.median_norm,
    )


def nearest_directions(
    W_dec: Float[Tensor, "features d_model"], live: Bool[Tensor, " features"]
) -> Float[Tensor, " features"]:
    """The largest cosine of each decoder direction with another one."""
    return decoder_neighbors(W_dec, live, 1)[1][:, 0]


def nearest_patterns(sae: Sae, folder: ShardFolder, tokens: int) -> tuple[Float[Tensor, " active"], int]:
    """The largest cosine of each feature's activations over tokens with another feature's, and the tokens.

    Of the features that are active on the first `tokens` tokens of the shards (whole parts of them).
    """
    codes, count = Codes(sae.weights.d_sae), 0
    active = torch.zeros(sae.weights.d_sae, dtype=torch.bool)
    for shard in folder:
        for h, f in encoded(sae, shard):
            if count < tokens:
                token, feature = f.nonzero(as_tuple=True)
                codes.add(token, feature, f[token, feature], len(h))
                active[feature] = True
                count += len(h)
        if count >= tokens:
            break
    return coactivation_neighbors(codes, 1)[1][:, 0][active], count


def density_histogram(statistics: FeatureStatistics) -> dict[str, list[float]]:
    """How many features have which density; those below the first edge are counted in the first bin, dead ones not."""
    logs = statistics.density[statistics.density > 0].log10().clamp_min(DECADES[0])
    counts = torch.histogram(logs, torch.tensor(DECADES)).hist
    return {"log10_edges": list(DECADES), "features": counts.tolist()}


def densest_features(
    sae: Sae, statistics: FeatureStatistics, folder: ShardFolder, count: int = 12
) -> list[dict[str, Any]]:
    """The densest features, with quantiles of their activations (those that are not 0) on the first shard, in units of
    their scales."""
    indices = statistics.density.topk(min(count, sae.weights.d_sae)).indices
    shard = folder.read(folder.indices()[0])
    f = torch.cat([f[:, indices] for _, f in encoded(sae, shard)]) / statistics.scales[indices]
    found = []
    for column, index in enumerate(indices.tolist()):
        active = f[:, column][f[:, column] > 0]
        values = active.quantile(torch.tensor(QUANTILES)).tolist() if len(active) else []
        found.append({"index": index, "density": float(statistics.density[index]), "quantiles": values})
    return found
