"""Which features are worth trying for a topic: those active on its sentences, and those that promote its words."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from services.inference.sae.base import Sae
from services.saelab.feature_table import FEATURES, read
from services.saelab.residual import HookedModel, without_sinks
from services.saelab.steering_rules import Topic


def candidates(
    sae: Sae,
    folder: Path,
    model: HookedModel,
    tokenizer: Any,
    topics: Sequence[Topic],
    by_activation: int,
    by_output: int,
) -> dict[str, list[int]]:
    """For each topic so many features of either kind, the most promising first, each once.

    What features promote is read from features.parquet beside the SAE; without it, there are those by activation alone.
    """
    contrast = _contrast(sae, model, tokenizer, topics)
    output = _promotion(sae, folder, topics)
    chosen = {}
    for row, topic in enumerate(topics):
        best = contrast[row].topk(by_activation).indices.tolist()
        scores = output[row]
        promoting = scores.topk(min(by_output, int((scores > 0).sum()))).indices.tolist()
        chosen[topic.name] = list(dict.fromkeys([*best, *promoting]))
    return chosen


def _contrast(
    sae: Sae, model: HookedModel, tokenizer: Any, topics: Sequence[Topic]
) -> Float[Tensor, "topics features"]:
    """Mean activation over a topic's sentences, in activation units, less mean and deviation of the other topics'."""
    means = torch.stack([_mean_activation(sae, model, tokenizer, topic.sentences) for topic in topics])
    rows = []
    for row in range(len(topics)):
        others = torch.cat([means[:row], means[row + 1 :]])
        rows.append(means[row] - others.mean(0) - others.std(0, correction=0))
    return torch.stack(rows)


def _mean_activation(
    sae: Sae, model: HookedModel, tokenizer: Any, texts: Iterable[str]
) -> Float[Tensor, " features"]:
    assert sae.scales is not None
    rows = []
    for text in texts:
        hidden = model.residuals(torch.tensor([tokenizer(text).input_ids], device=model.device))[0].float()
        used = torch.ones(len(hidden), dtype=torch.bool, device=hidden.device)
        used[0] = False
        rows.append(hidden[without_sinks(hidden.norm(dim=-1), used, sae.median_norm)].cpu())
    return sae.weights.encode(torch.cat(rows)).mean(0) / sae.scales


def _promotion(sae: Sae, folder: Path, topics: Sequence[Topic]) -> Float[Tensor, "topics features"]:
    """The weight of a topic's words among the tokens that a feature promotes; zeros without a table for this SAE."""
    scores = torch.zeros(len(topics), sae.weights.d_sae)
    if not (folder / FEATURES).exists() or (table := read(folder)).info.weights_digest != sae.weights_digest:
        return scores
    for feature in table.rows(columns=["promoted"]):
        for promoted in feature.promoted:
            word = promoted.token.strip().lower()
            for row, topic in enumerate(topics):
                if topic.has(word):
                    scores[row, feature.index] += promoted.weight
    return scores
