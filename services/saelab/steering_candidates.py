"""Which features are worth trying for a topic: active on its sentences, promoting its words, or seen to bring them."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from services.inference.sae.base import Sae
from services.saelab.feature_table import FEATURES, read
from services.saelab.residual import HookedModel, without_sinks
from services.saelab.steering_rules import Topic, is_fluent


@dataclass(frozen=True, slots=True)
class CandidateSettings:
    """How many features of each kind are tried for a topic."""

    by_activation: int = 5
    """Active on its sentences,"""
    by_output: int = 3
    """promoting its words, where features.parquet says so,"""
    by_text: int = 3
    """and with most of its words in the texts that `hearth sae features` steered with every feature, where they are."""
    texts: Path | None = None
    """The journal of these texts."""


def candidates(
    sae: Sae,
    folder: Path,
    model: HookedModel,
    tokenizer: Any,
    topics: Sequence[Topic],
    settings: CandidateSettings,
) -> dict[str, list[int]]:
    """For each topic its candidates, each once. `folder` is the SAE's."""
    kinds = [
        (_contrast(sae, model, tokenizer, topics), settings.by_activation),
        (_promotion(sae, folder, topics), settings.by_output),
        (_steered_words(sae, settings.texts, topics), settings.by_text),
    ]
    chosen: dict[str, list[int]] = {}
    for row, topic in enumerate(topics):
        best = []
        for scores, count in kinds:
            most = min(count, int((scores[row] > 0).sum()))
            best += scores[row].topk(most).indices.tolist()
        chosen[topic.name] = list(dict.fromkeys(best))
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


def _steered_words(sae: Sae, path: Path | None, topics: Sequence[Topic]) -> Float[Tensor, "topics features"]:
    """The topic's words in a hundred in the fluent texts of a feature, the mean over its doses, above all features'."""
    scores = torch.zeros(len(topics), sae.weights.d_sae)
    if path is None or not path.exists():
        return scores
    for feature, texts in _fluent_texts(path, sae.weights_digest):
        for row, topic in enumerate(topics):
            scores[row, feature] = sum(map(topic.words, texts)) / len(texts)
    tried = (scores > 0).any(0)
    return torch.where(tried, scores - scores[:, tried].mean(1, keepdim=True), 0.0) if tried.any() else scores


def _fluent_texts(path: Path, weights: str) -> Iterator[tuple[int, list[str]]]:
    """Features with the texts of their fluent doses, from the journal of steerability.py; none of another SAE's."""
    head, *lines = path.read_bytes().splitlines()
    if json.loads(head).get("weights") != weights:
        return
    for line in lines:
        try:
            row = json.loads(line)
        except ValueError:  # The last line, where a kill cut it off.
            return
        fluent = [is_fluent(dose["loss"], dose["distinct"]) for dose in row["doses"]]
        texts = [text for texts, good in zip(row["texts"], fluent, strict=True) if good for text in texts]
        if texts:
            yield row["feature"], texts
