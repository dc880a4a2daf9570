"""A feature's activations as an export's histogram has them: bars of equal width, read as evenly filled."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float


@dataclass(frozen=True, slots=True)
class Distribution:
    """How many activations are below each edge."""

    edges: Float[np.ndarray, " edges"]
    """Of the bars, rising."""
    below: Float[np.ndarray, " edges"]
    """Activations below each edge."""

    @classmethod
    def of(cls, centres: Sequence[float], heights: Sequence[float]) -> Distribution | None:
        """That of bars by their centres and counts; None where they are too few or empty."""
        if len(centres) < 2 or sum(heights) <= 0.0 or centres[-1] <= centres[0]:
            return None
        width = (centres[-1] - centres[0]) / (len(centres) - 1)
        start = max(0.0, centres[0] - width / 2)
        edges = np.concatenate([[start], np.asarray(centres) + width / 2])
        return cls(edges, np.concatenate([[0.0], np.cumsum(heights)]))

    def quantile(self, share: float) -> float:
        """The smallest activation that this share of all activations does not exceed."""
        wanted = share * self.below[-1]
        bar = max(1, int(np.searchsorted(self.below, wanted, side="left")))
        low, high = self.below[bar - 1 : bar + 1]
        inside = (wanted - low) / (high - low) if high > low else 0.0
        return float(self.edges[bar - 1] + inside * (self.edges[bar] - self.edges[bar - 1]))

    def share_up_to(self, activation: float) -> float:
        """The share of activations that are at most this one."""
        return float(np.interp(activation, self.edges, self.below) / self.below[-1])

    def counts(self, edges: Sequence[float]) -> tuple[int, ...]:
        """Activations between these edges, rounded; what lies outside is in the first and the last bin."""
        inner = np.interp(np.asarray(edges[1:-1]), self.edges, self.below)
        cumulative = np.rint(np.concatenate([[0.0], inner, self.below[-1:]])).astype(int)
        return tuple(np.diff(cumulative).tolist())
