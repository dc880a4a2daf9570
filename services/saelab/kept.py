"""The best few of each feature's activations, out of any number, in memory that does not grow."""

from __future__ import annotations

from collections.abc import Callable

import torch
from jaxtyping import Float, Int
from torch import Tensor


class Kept:
    """For each feature the `count` activations with the largest keys, with their places and what is around them.

    With the activation as the key these are the largest; with a random number, a fair sample (reservoir sampling).
    """

    def __init__(self, features: int, count: int, context: int) -> None:
        self.keys: Float[Tensor, "features count"] = torch.full((features, count), -torch.inf)
        """Largest first; -infinity where there are fewer."""
        self.places: Int[Tensor, "features count"] = torch.full((features, count), -1)
        self.contexts: Float[Tensor, "features count context"] = torch.zeros(features, count, context)
        """Activations of the feature at the tokens around the place."""

    @property
    def count(self) -> int:
        """Activations kept of each feature, at most."""
        return self.keys.shape[1]

    def add(
        self,
        feature: Int[Tensor, " new"],
        key: Float[Tensor, " new"],
        place: Int[Tensor, " new"],
        contexts: Callable[[Int[Tensor, " chosen"]], Float[Tensor, "chosen context"]],
    ) -> None:
        """Takes in activations; `contexts` is asked for those of them that are kept, by their numbers."""
        candidates = (key > self.keys[feature, -1]).nonzero()[:, 0]
        candidates = candidates[key[candidates].argsort(descending=True, stable=True)]
        candidates = candidates[feature[candidates].argsort(stable=True)]  # By feature, then largest first.
        touched, counts = torch.unique(feature[candidates], return_counts=True)  # Sorted, as they are.
        rank = torch.arange(len(candidates)) - (counts.cumsum(0) - counts).repeat_interleave(counts)
        row = torch.arange(len(touched)).repeat_interleave(counts)
        within = rank < self.count
        candidates, rank, row = candidates[within], rank[within], row[within]
        if not len(candidates):
            return
        width = int(rank.max()) + 1
        keys = torch.cat([self.keys[touched], torch.full((len(touched), width), -torch.inf)], 1)
        keys[row, self.count + rank] = key[candidates]
        places = torch.cat([self.places[touched], torch.full((len(touched), width), -1)], 1)
        places[row, self.count + rank] = place[candidates]
        around = torch.cat(
            [self.contexts[touched], self.contexts.new_zeros(len(touched), width, self.contexts.shape[2])], 1
        )
        around[row, self.count + rank] = contexts(candidates)
        best = keys.sort(dim=1, descending=True, stable=True)
        order = best.indices[:, : self.count]
        self.keys[touched] = best.values[:, : self.count]
        self.places[touched] = places.gather(1, order)
        self.contexts[touched] = around.gather(1, order[..., None].expand(-1, -1, around.shape[2]))

    def tensors(self, name: str) -> dict[str, Tensor]:
        """Its state, under names that begin with `name`."""
        return {f"{name}_keys": self.keys, f"{name}_places": self.places, f"{name}_contexts": self.contexts}

    @classmethod
    def of(cls, name: str, tensors: dict[str, Tensor]) -> Kept:
        """What tensors() gave."""
        kept = cls(0, 0, 0)
        kept.keys, kept.places = tensors[f"{name}_keys"], tensors[f"{name}_places"]
        kept.contexts = tensors[f"{name}_contexts"]
        return kept
