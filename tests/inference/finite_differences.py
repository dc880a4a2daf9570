"""Logits of transformers' own models with one block's output changed, and their slopes by finite differences."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn
from transformers import PreTrainedModel

from services.inference.layers import decoder_layers, residual_of

Edit = Callable[[Tensor], Tensor]
"""From the stream [tokens, d_model] to streams [variants, tokens, d_model]."""


class _ExactNorm(nn.Module):
    """Llama's RMSNorm without its detour through float32."""

    def __init__(self, norm: Any) -> None:
        super().__init__()
        self.weight, self.epsilon = norm.weight, norm.variance_epsilon

    def forward(self, x: Tensor) -> Tensor:
        return self.weight * x * torch.rsqrt((x * x).mean(-1, keepdim=True) + self.epsilon)


def in_double(plain: PreTrainedModel) -> PreTrainedModel:
    """A Llama of transformers, computed in double precision throughout."""
    model = copy.deepcopy(plain)
    model.set_attn_implementation("sdpa")  # eager attention takes its softmax in float32
    for parent in list(model.modules()):
        for name, child in list(parent.named_children()):
            if type(child).__name__ == "LlamaRMSNorm":
                setattr(parent, name, _ExactNorm(child))
    return model.double()


def stream_of(model: PreTrainedModel, ids: list[int], layer: int) -> Tensor:
    """The output of a block, [tokens, d_model]."""
    kept: list[Tensor] = []
    hook = decoder_layers(model)[layer].register_forward_hook(
        lambda _b, _i, out: kept.append(residual_of(out)[0])
    )
    with torch.no_grad():
        model(torch.tensor([ids]), use_cache=False)
    hook.remove()
    return kept[0]


def values_at(
    model: PreTrainedModel, ids: list[int], layer: int, edit: Edit, target: int, baseline: int | None = None
) -> Tensor:
    """The target's logit (or difference) after the last token for each edited variant of a block's output."""
    variants = edit(stream_of(model, ids, layer))

    def replace_stream(_block: nn.Module, _inputs: Any, out: Any) -> Any:
        return (variants, *out[1:]) if isinstance(out, tuple) else variants

    hook = decoder_layers(model)[layer].register_forward_hook(replace_stream)
    with torch.no_grad():
        logits = model(torch.tensor([ids] * len(variants)), use_cache=False).logits[:, -1]
    hook.remove()
    return logits[:, target] - (logits[:, baseline] if baseline is not None else 0)


def slopes(
    model: PreTrainedModel,
    ids: list[int],
    layer: int,
    directions: list[tuple[int, Tensor]],
    target: int,
    baseline: int | None = None,
) -> Tensor:
    """Central differences of the logit along each direction at each position."""
    step = 1e-4

    def moved(h: Tensor) -> Tensor:
        variants = h.repeat(2 * len(directions), 1, 1)
        for n, (position, direction) in enumerate(directions):
            variants[2 * n, position] += step * direction
            variants[2 * n + 1, position] -= step * direction
        return variants

    values = values_at(model, ids, layer, moved, target, baseline)
    return (values[::2] - values[1::2]) / (2 * step)
