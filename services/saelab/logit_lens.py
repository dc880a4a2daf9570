"""Which tokens a decoder direction promotes and suppresses, through the unembedding (the logit lens).

weight[i, t] = W_U[t] · (g * d_i) - the mean of the same over all tokens,

with d_i the unit decoder direction and g the final norm's weight: the change of token t's logit, up to the final norm's
scale, if the direction reached the end of the model as it is. Blocks in between change it (output_score.py measures how
much of it comes true), and some tokens have large weights for any direction; so tokens are ranked by how far their
weight is from that token's mean over all features, in standard deviations, and only the tokens of a Vocabulary are.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from services.saelab.feature_rows import TokenWeight
from services.saelab.vocabulary import Vocabulary

_ROWS = 256
"""Directions whose weights for all tokens are in memory together."""
_SEARCHED = 4
"""So many times as many tokens are ranked as are wanted: some are other forms of one that is listed."""


def folded(model: Any, directions: Float[Tensor, "features d_model"]) -> Float[Tensor, "features d_model"]:
    """Unit directions times the final norm's weight; centred first where the norm centres (LayerNorm)."""
    unit = torch.nn.functional.normalize(directions.float(), dim=1)
    norm = _final_norm(model)
    if norm is None:
        return unit
    with torch.inference_mode():
        width = unit.shape[1]
        kind = next(norm.parameters(), unit)
        origin = norm(torch.zeros(1, width, dtype=kind.dtype, device=kind.device)).float().cpu()
        level = norm(torch.ones(1, width, dtype=kind.dtype, device=kind.device)).float().cpu() - origin
        if float(level.abs().max()) < 1e-3:
            unit = unit - unit.mean(1, keepdim=True)
        size = unit.square().mean(1, keepdim=True).sqrt()
        # Raised to a norm of sqrt(width), so that the norm's epsilon does not count.
        raised = (unit / size).to(kind.device, kind.dtype)
        result: Tensor = (norm(raised).float().cpu() - origin) * size
    return result


def _final_norm(model: Any) -> nn.Module | None:
    decoder: nn.Module = model.get_decoder()
    norms = [part for part in decoder.children() if "norm" in type(part).__name__.lower()]
    return norms[-1] if norms else None


def lens(
    model: Any, directions: Float[Tensor, "features d_model"], vocabulary: Vocabulary
) -> Float[Tensor, "features words"]:
    """The weight of each token of the vocabulary for each direction."""
    unembedding: Tensor = model.get_output_embeddings().weight.detach().float().cpu()
    mean = unembedding.mean(0)
    chosen = unembedding[torch.from_numpy(vocabulary.ids)] - mean
    return folded(model, directions) @ chosen.T


def ranked(
    weights: Float[Tensor, "features words"], vocabulary: Vocabulary, count: int, *, promoted: bool
) -> Int[Tensor, "features count"]:
    """Numbers of the words that a direction promotes most, or suppresses most."""
    mean, deviation = weights.mean(0), weights.std(0).clamp_min(1e-12)
    return torch.cat(
        [
            one_of_each_form(
                (weights[start : start + _ROWS] - mean) / deviation, vocabulary, count, largest=promoted
            )
            for start in range(0, len(weights), _ROWS)
        ]
    )


def one_of_each_form(
    values: Float[Tensor, "features words"], vocabulary: Vocabulary, count: int, *, largest: bool
) -> Int[Tensor, "features count"]:
    """Numbers of the words with the largest (or the smallest) values, of several forms of a word the first; -1 where
    there are no more."""
    order = values.topk(min(count * _SEARCHED, values.shape[1]), largest=largest).indices.numpy()
    result = torch.full((len(order), count), -1)
    for row, words in enumerate(order):
        _, first = np.unique(vocabulary.forms[words], return_index=True)
        different = words[np.sort(first)][:count]
        result[row, : len(different)] = torch.from_numpy(different)
    return result


def listed(
    words: Int[Tensor, " count"], weights: Float[Tensor, " count"], vocabulary: Vocabulary
) -> tuple[TokenWeight, ...]:
    """One feature's tokens for its row; a word of -1 is none."""
    return tuple(
        TokenWeight(vocabulary.names[word], int(vocabulary.ids[word]), weight)
        for word, weight in zip(words.tolist(), weights.tolist(), strict=True)
        if word >= 0
    )
