"""Features that know nothing but a place: the chat template, or the beginning of a turn or a document.

Of the activation of each feature over held-out text, all its tokens alike:

- a template-only feature has at least ALONE of it on tokens that the chat template wrote;
- a position-only feature has at least ALONE of it on the template's tokens and the first FIRST_TOKENS tokens of turns
  and documents together, and is no template-only feature.

Features that are active on fewer than LEAST tokens of the text are not judged; shares are of all features that are.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor

ALONE = 0.9
LEAST = 10


@dataclass(frozen=True, slots=True)
class PlaceMetrics:
    """How many features know nothing but a place."""

    tokens: int
    """Held-out tokens that were read, plain and chat."""
    judged: int
    """Features that are active often enough there."""
    template_only: float
    """Share of the judged features."""
    position_only: float
    """Share of the judged features."""
    template_features: tuple[int, ...]
    """Which they are."""
    position_features: tuple[int, ...]


def place_metrics(
    tokens: int,
    counts: Int[Tensor, " features"],
    activation: Float[Tensor, " features"],
    on_template: Float[Tensor, " features"],
    on_first: Float[Tensor, " features"],
) -> PlaceMetrics:
    """From the tokens on which each feature is active, the sum of its activation, and its parts on these places."""
    judged = counts >= LEAST
    template = judged & (on_template >= ALONE * activation)
    position = judged & (on_template + on_first >= ALONE * activation) & ~template
    among = max(1, int(judged.sum()))
    return PlaceMetrics(
        tokens=tokens,
        judged=int(judged.sum()),
        template_only=int(template.sum()) / among,
        position_only=int(position.sum()) / among,
        template_features=_numbers(template),
        position_features=_numbers(position),
    )


def _numbers(which: Tensor) -> tuple[int, ...]:
    return tuple(torch.nonzero(which)[:, 0].tolist())
