"""Each format's encoding and decoding, one token and one feature at a time, as its own description has it."""

from __future__ import annotations

import math
from typing import Literal

import torch
from torch import Tensor

Activation = Literal["standard", "jumprelu", "topk", "gated"]


def encode_and_decode(
    h: Tensor,
    numbers: dict[str, Tensor],
    activation: Activation,
    *,
    subtracts_b_dec: bool,
    k: int = 0,
    scale: float = 1.0,
    rescale: bool = False,
) -> tuple[Tensor, Tensor]:
    """Activations [tokens, d_sae] and reconstruction [tokens, d_model] in double precision.

    `scale` multiplies the input and divides the output; `rescale` is SAELens' rescale_acts_by_decoder_norm.
    """
    n = {name: tensor.double() for name, tensor in numbers.items()}
    d_model, d_sae = n["W_enc"].shape
    activations = torch.zeros(len(h), d_sae, dtype=torch.float64)
    outputs = torch.zeros(len(h), d_model, dtype=torch.float64)
    norms = n["W_dec"].norm(dim=-1)
    for token in range(len(h)):
        x = h[token].double() * scale
        if subtracts_b_dec:
            x = x - n["b_dec"]
        values = []
        for feature in range(d_sae):
            dot = float(x @ n["W_enc"][:, feature])
            values.append(_value(dot, feature, n, activation) * (float(norms[feature]) if rescale else 1.0))
        if activation == "topk":
            kept = sorted(range(d_sae), key=lambda feature: values[feature], reverse=True)[:k]
            values = [values[feature] if feature in kept else 0.0 for feature in range(d_sae)]
        output = n["b_dec"].clone()
        for feature, value in enumerate(values):
            row = n["W_dec"][feature] / norms[feature] if rescale else n["W_dec"][feature]
            output = output + value * row
        activations[token] = torch.tensor(values, dtype=torch.float64)
        outputs[token] = output / scale
    return activations, outputs


def _value(dot: float, feature: int, n: dict[str, Tensor], activation: Activation) -> float:
    if activation == "gated":
        if dot + float(n["b_gate"][feature]) <= 0.0:
            return 0.0
        return max(0.0, math.exp(float(n["r_mag"][feature])) * dot + float(n["b_mag"][feature]))
    pre = dot + float(n["b_enc"][feature])
    if activation == "jumprelu" and pre <= float(n["threshold"][feature]):
        return 0.0
    return max(0.0, pre)
