"""A cap on how often a feature is active: dense features are hard to understand, and steer everything at once.

Each feature has an offset that is taken off its activation where the largest of the batch are chosen, and nowhere else:
a feature above the cap must be that much stronger than others to be chosen. The offset moves with the feature's
density (an integral controller, like the loss-free load balancing of Wang et al. 2024, arXiv 2408.15664), so the loss
and its gradients are those of the features that are chosen. The saved SAE has it in the feature's JumpReLU threshold.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor

AIM = 0.9
"""Densities are held at this share of the cap, so that noise and other text do not pass it."""
MEMORY_TOKENS = 10_000
"""The moving average of densities goes back about so many tokens."""
SPEED = 0.02
"""An offset grows by this share of the threshold in a step where the feature is twice as dense as the aim."""


@dataclass(slots=True)
class DensityCap:
    """Moving densities and offsets of all features; changed in place from step to step."""

    cap: float
    """Largest share of tokens that a feature is to be active on; 0: no cap."""
    density: Float[Tensor, " features"]
    offset: Float[Tensor, " features"]
    """In scaled units, like the threshold; never negative."""

    @classmethod
    def start(cls, cap: float, features: int, device: str) -> DensityCap:
        """All offsets zero."""
        return cls(cap, torch.zeros(features, device=device), torch.zeros(features, device=device))

    def update(self, active: Int[Tensor, " nonzero"], tokens: int, threshold: float) -> None:
        """Takes in which features were active, once for each token that they were active on, in a batch of tokens."""
        if not self.cap:
            return
        share = torch.bincount(active, minlength=len(self.density)) / tokens
        self.density.lerp_(share, min(1.0, tokens / MEMORY_TOKENS))
        excess = (self.density / (AIM * self.cap) - 1.0).clamp(-1.0, 1.0)
        self.offset.add_(excess, alpha=SPEED * threshold).clamp_(min=0.0)
