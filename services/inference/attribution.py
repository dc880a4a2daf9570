"""The direct effect of each SAE feature on one token's logit.

At the SAE's block the residual stream is taken apart without a rest, h = sum_i f_i d_i + b_dec + error, and each part's
effect is its product with the gradient of the logit at the actual h: the part's share of the logit to first order. The
error term stays in the stream, so the model that is explained is the model itself and not its reconstruction
(attribution as in Marks et al. 2024, "Sparse Feature Circuits").
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from services.errors import InvalidField
from services.inference.inspection import encoded, live_tokens
from services.inference.model import LanguageModel
from services.inference.sae.base import Sae

DEFAULT_TOP_K = 50
"""Features listed unless the request says."""
MAX_TOP_K = 1000
"""Features that a request may ask for."""
MAX_POSITIONS = 32
"""Positions listed for each feature."""


@dataclass(frozen=True, slots=True)
class PositionEffect:
    """The effect of one feature at one position."""

    position: int
    activation: float
    """Raw."""
    effect: float
    """Activation times the slope of the logit along the feature's decoder direction, in logits."""


@dataclass(frozen=True, slots=True)
class FeatureEffect:
    """The effect of one feature, summed over all positions, in logits."""

    index: int
    effect: float
    positions: tuple[PositionEffect, ...]
    """Largest absolute effect first, at most MAX_POSITIONS."""


@dataclass(frozen=True, slots=True)
class Attribution:
    """What made a token likely; effects are in logits, to first order, and positions after `position` have none.

    feature_effect + bias_effect + error_effect = sum over positions of gradient . h.
    """

    target: int
    position: int
    logit: float
    """The target's logit, or how far it lies above the baseline's."""
    features: tuple[FeatureEffect, ...]
    """Largest absolute effect first."""
    error_effect: float
    """Of what the SAE does not represent: its error term, and all of h at attention sinks."""
    bias_effect: float
    """Of b_dec, at every position that is no attention sink."""
    feature_effect: float
    """Of all features, listed or not."""


class _Firing(NamedTuple):
    """Every activation above 0, with its effect, in order of position and then feature."""

    positions: np.ndarray
    features: np.ndarray
    activations: np.ndarray
    effects: np.ndarray


def attribute(
    model: LanguageModel,
    sae: Sae,
    ids: Sequence[int],
    position: int | None = None,
    target: int | None = None,
    baseline: int | None = None,
    top_k: int = 0,
) -> Attribution:
    """Explains the logit of `target` after `position` (None: the likeliest token, the last position).

    With `baseline`, explains how far the target's logit lies above that token's. Lists at most `top_k` features (0:
    50). To be run on the engine's thread: it takes the model for a forward and a backward pass. Raises InvalidField.
    """
    at = len(ids) - 1 if position is None else position
    if not 0 <= at < len(ids):
        raise InvalidField("position", f"{at} is not in the prompt; allowed: 0 to {len(ids) - 1}")
    for field, token in (("target_token", target), ("baseline_token", baseline)):
        if token is not None and not 0 <= token < model.vocabulary_size:
            raise InvalidField(field, f"{token} is no token; allowed: 0 to {model.vocabulary_size - 1}")
    with torch.inference_mode(False):
        read = torch.tensor(ids[: at + 1], device=model.device)  # later tokens have no effect
        h = model.plain_residual(read, sae.layer)
        target, logit, gradient = _gradient(model, read, sae.layer, h, target, baseline)
        with torch.no_grad():
            return _decompose(sae, h.float(), gradient, at, target, logit, top_k or DEFAULT_TOP_K)


def _gradient(
    model: LanguageModel, ids: Tensor, layer: int, h: Tensor, target: int | None, baseline: int | None
) -> tuple[int, float, Float[Tensor, "tokens d_model"]]:
    """The target, its logit (or difference), and the gradient of that at the stream as it is."""
    with torch.enable_grad():
        residual = h.detach().clone().requires_grad_()
        logits = model.plain_logits(ids, entry=layer, residual=residual)[0]
        if target is None:
            target = int(logits.argmax())
        if target == baseline:
            raise InvalidField(
                "baseline_token", f"{baseline} is the target token itself; its difference is always 0"
            )
        logit = logits[target] if baseline is None else logits[target] - logits[baseline]
        (gradient,) = torch.autograd.grad(logit, residual)
    return target, logit.item(), gradient.float()


def _decompose(
    sae: Sae,
    h: Float[Tensor, "tokens d_model"],
    gradient: Float[Tensor, "tokens d_model"],
    position: int,
    target: int,
    logit: float,
    top_k: int,
) -> Attribution:
    assert sae.median_norm is not None, "the doctor measures the median norm of every SAE that is served"
    weights = sae.weights
    live = live_tokens(h, sae.median_norm)
    h, gradient, live = (each.to(weights.W_dec.device) for each in (h, gradient, live))
    error = float((gradient[~live].double() * h[~live].double()).sum())
    bias = 0.0
    totals = torch.zeros(weights.d_sae, dtype=torch.float64, device=h.device)
    parts: list[_Firing] = []
    for block, dense in encoded(weights, h):
        g, here = gradient[block], live[block]
        f = dense.masked_fill(~here[:, None], 0.0)
        rest = (h[block] - weights.decode(f))[here]
        error += float((g[here].double() * rest.double()).sum())
        bias += float((g[here].double() @ weights.b_dec.double()).sum())
        effects = (g @ weights.W_dec.T).mul_(f)
        totals += effects.sum(0, dtype=torch.float64)
        parts.append(_firing(f, effects, block.start))
    firing = _Firing(*(np.concatenate(column) for column in zip(*parts, strict=True)))
    return Attribution(
        target,
        position,
        logit,
        _largest(firing, totals.cpu().numpy(), top_k),
        error,
        bias,
        float(totals.sum()),
    )


def _firing(f: Float[Tensor, "block d_sae"], effects: Float[Tensor, "block d_sae"], first: int) -> _Firing:
    places = f.nonzero()
    rows, features = places[:, 0], places[:, 1]
    columns = (rows + first, features, f[rows, features], effects[rows, features])
    return _Firing(*(column.cpu().numpy() for column in columns))


def _largest(firing: _Firing, totals: Float[np.ndarray, " d_sae"], top_k: int) -> tuple[FeatureEffect, ...]:
    """The features that fire, by absolute effect and then index; their positions by absolute effect and then place."""
    fired = np.unique(firing.features)
    listed = fired[np.lexsort((fired, -np.abs(totals[fired])))][:top_k]
    kept = np.flatnonzero(np.isin(firing.features, listed))
    order = kept[np.lexsort((firing.positions[kept], -np.abs(firing.effects[kept]), firing.features[kept]))]
    ends = np.searchsorted(firing.features[order], listed, side="right")
    starts = np.searchsorted(firing.features[order], listed, side="left")
    return tuple(
        FeatureEffect(
            int(feature), float(totals[feature]), _positions(firing, order[start:end][:MAX_POSITIONS])
        )
        for feature, start, end in zip(listed, starts, ends, strict=True)
    )


def _positions(firing: _Firing, places: np.ndarray) -> tuple[PositionEffect, ...]:
    columns = (firing.positions, firing.activations, firing.effects)
    rows = zip(*(column[places].tolist() for column in columns), strict=True)
    return tuple(PositionEffect(*row) for row in rows)
