"""One number a feature for a whole prompt: its activations pooled over chosen tokens."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum
from functools import reduce

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from services.errors import InvalidField
from services.inference.inspection import encoded
from services.inference.sae.base import SaeWeights
from services.inference.tokenizer import MessageSpan


class Pooling(Enum):
    """How activations are pooled over tokens."""

    MAX = "max"
    MEAN = "mean"
    """Zeros included."""
    LAST = "last"
    """The last counted token's."""


@dataclass(frozen=True, slots=True)
class Pooled:
    """A prompt's pooled activations, raw: a number for each named feature, or for all."""

    values: Float[Tensor, " columns"]
    tokens: int
    """Tokens that were pooled over: chosen, and no attention sinks."""


def span_mask(tokens: int, start: int, end: int, field: str) -> Bool[Tensor, " tokens"]:
    """The tokens start to end (exclusive) of a prompt. Raises InvalidField naming `field` where the span is none."""
    if not 0 <= start < end <= tokens:
        raise InvalidField(
            field, f"{start} to {end} is no span of this prompt's {tokens} tokens; end is exclusive"
        )
    mask = torch.zeros(tokens, dtype=torch.bool)
    mask[start:end] = True
    return mask


def role_mask(
    tokens: int, spans: Sequence[MessageSpan], roles: Sequence[str], role: str
) -> Bool[Tensor, " tokens"]:
    """The content of a chat's messages of one role, the template's own tokens left out; `roles` is by message."""
    mask = torch.zeros(tokens, dtype=torch.bool)
    for span in spans:
        if roles[span.message] == role:
            mask[span.content_start : span.content_end] = True
    return mask


def pool(
    weights: SaeWeights,
    h: Float[Tensor, "tokens d_model"],
    live: Bool[Tensor, " tokens"],
    chosen: Bool[Tensor, " tokens"] | None,
    pooling: Pooling,
    field: str,
    features: tuple[int, ...] = (),
) -> Pooled:
    """Pools over the chosen tokens (None: all) that are live, that is no attention sinks; only they are encoded.

    Raises InvalidField naming `field` (the prompt, for example `prompts[3]`) where no token is left.
    """
    counted = live if chosen is None else live & chosen.to(live.device)
    rows = counted.nonzero()[:, 0]
    if not len(rows):
        selected = len(live) if chosen is None else int(chosen.sum())
        why = f"all {selected} chosen tokens are attention sinks" if selected else "none is chosen"
        raise InvalidField(field, f"no token to pool over: {why}")
    if pooling is Pooling.LAST:
        rows = rows[-1:]
    blocks = (f for _, f in encoded(weights, h[rows], features))
    if pooling is Pooling.MEAN:
        total = reduce(torch.add, (f.sum(0, dtype=torch.float64) for f in blocks))
        return Pooled((total / len(rows)).float(), len(rows))
    return Pooled(reduce(torch.maximum, (f.amax(0) for f in blocks)), len(rows))
