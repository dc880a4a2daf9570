"""The order in which training sees the activations: fixed by the seed, whenever the run was killed."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from services.saelab.errors import SaeLabError
from services.saelab.shards import ShardFolder


@dataclass(frozen=True, slots=True)
class _Group:
    """Shards that lie in memory together; their tokens are mixed."""

    shards: tuple[int, ...]
    first_step: int
    steps: int
    seed: tuple[int, int, int]


class Buffer:
    """Batches of activations by training step."""

    def __init__(
        self,
        folder: ShardFolder,
        shards: Sequence[int],
        batch: int,
        shards_in_memory: int,
        epochs: int,
        seed: int,
    ) -> None:
        self._folder, self._shards = folder, shards
        self._batch = batch
        self._groups: list[_Group] = []
        lengths = {index: folder.tokens(index) for index in shards}
        self.tokens = sum(lengths.values())
        """Different tokens that there are."""
        step = 0
        for epoch in range(epochs):
            order = np.random.default_rng((seed, epoch)).permutation(list(lengths)).tolist()
            for start in range(0, len(order), shards_in_memory):
                shards = tuple(order[start : start + shards_in_memory])
                steps = sum(lengths[index] for index in shards) // batch
                self._groups.append(_Group(shards, step, steps, (seed, epoch, start)))
                step += steps
        self.steps = step
        """Training steps of all epochs."""
        if not step:
            raise SaeLabError(
                f"{folder.folder} holds fewer activations than one batch of {batch}: collect more"
            )
        self._loaded: tuple[_Group, Tensor, np.ndarray[tuple[int], np.dtype[np.int64]]] | None = None

    def batch(self, step: int) -> Float[Tensor, "batch d_model"]:
        """The batch of a step, float32 in the residual stream's units."""
        group = next(group for group in self._groups if step < group.first_step + group.steps)
        if self._loaded is None or self._loaded[0] is not group:
            self._loaded = None  # Let go of the last group before the next is read.
            rows = torch.cat([self._folder.read(index).activations for index in group.shards])
            self._loaded = group, rows, np.random.default_rng(group.seed).permutation(len(rows))
        _, rows, order = self._loaded
        at = (step - group.first_step) * self._batch
        return rows[torch.from_numpy(order[at : at + self._batch])].float()

    def sample(self, shards: int) -> Float[Tensor, "tokens d_model"]:
        """The tokens of the first shards, to start from."""
        return torch.cat([self._folder.read(index).activations for index in self._shards[:shards]]).float()
