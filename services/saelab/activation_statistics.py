"""What the reference corpus says of each feature: a resumable pass over the shards of activations.

Density, largest activation and histogram from all its tokens, as reference.py defines them; co-activation from the
first `coactive_tokens` of them.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor

from services.inference.sae.base import Sae
from services.saelab.checkpoint import SAVE_SECONDS, Checkpoint, load_checkpoint, save_checkpoint
from services.saelab.neighbors import Codes, coactivation_neighbors
from services.saelab.reference import encoded
from services.saelab.shards import ShardFolder

HISTOGRAM_EDGES = tuple(2.0 ** (step / 3) for step in range(-18, 4))
"""Of the bins of activations, in units of the feature's scale: three to an octave, from 1/64 to 2."""


@dataclass(frozen=True, slots=True)
class StatisticsSettings:
    """How much is read."""

    activations: Path
    """Folder of the shards."""
    tokens: int = 2_000_000
    """Tokens of the shards that are read, at most (whole shards)."""
    coactive_tokens: int = 500_000
    """Of them, those from which co-activation is counted; 0 leaves it out. Memory: 8 bytes an activation."""
    neighbors: int = 8
    """Co-activation neighbours of a feature."""


@dataclass(frozen=True, slots=True)
class ActivationStatistics:
    """Statistics of each feature over the reference corpus."""

    tokens: int
    """Tokens read."""
    counts: Int[Tensor, " features"]
    """Tokens on which it is active."""
    maxima: Float[Tensor, " features"]
    """Largest activation, raw; 0 where it is never active."""
    histogram: Int[Tensor, "features bins"]
    """Its activations in the bins of HISTOGRAM_EDGES."""
    neighbors: Int[Tensor, "features neighbors"]
    """Features with the most similar pattern of activations, -1 where there are no more."""
    similarities: Float[Tensor, "features neighbors"]
    """Cosine of the two features' activations over tokens."""

    @property
    def density(self) -> Float[Tensor, " features"]:
        """Share of tokens on which it is active."""
        return (self.counts / self.tokens).float()


def collect_statistics(
    sae: Sae,
    settings: StatisticsSettings,
    path: Path,
    run: dict[str, Any],
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> ActivationStatistics:
    """Reads the shards, going on from the state at `path`; the SAE must have scales. `progress` counts shards.

    Raises SaeLabError where there are no shards, CorruptShard, RunMismatch.
    """
    folder = ShardFolder(settings.activations)
    shards = folder.first(settings.tokens)
    tally = _Tally(sae)
    state = load_checkpoint(path, run)
    if state is not None:
        if state.state["done"]:
            progress(len(shards), len(shards))
            return _statistics(state)
        tally.restore(state)
    progress(tally.shards, len(shards))
    saved = time.monotonic()
    with torch.no_grad():
        for index in shards[tally.shards :]:
            tally.add(folder, index, settings.coactive_tokens)
            progress(tally.shards, len(shards))
            if time.monotonic() - saved > SAVE_SECONDS:
                save_checkpoint(path, tally.state(), run)
                saved = time.monotonic()
        done = tally.done(settings.neighbors)
    save_checkpoint(path, done, run)
    return _statistics(done)


class _Tally:
    """Counts so far."""

    def __init__(self, sae: Sae) -> None:
        assert sae.scales is not None
        self._sae = sae
        self._inner = torch.tensor(HISTOGRAM_EDGES[1:-1])
        features, self._bins = sae.weights.d_sae, len(HISTOGRAM_EDGES) - 1
        self.shards = self._tokens = 0
        self._counts = torch.zeros(features, dtype=torch.int64)
        self._maxima = torch.zeros(features)
        self._histogram = torch.zeros(features * self._bins, dtype=torch.int64)
        self._codes = Codes(features)

    def add(self, folder: ShardFolder, index: int, coactive_tokens: int) -> None:
        """Takes in one shard."""
        assert self._sae.scales is not None
        for h, f in encoded(self._sae, folder.read(index)):
            token, feature = f.nonzero(as_tuple=True)
            value = f[token, feature]
            self._counts += torch.bincount(feature, minlength=len(self._counts))
            self._maxima = torch.maximum(self._maxima, f.amax(0))
            place = torch.bucketize(value / self._sae.scales[feature], self._inner, right=True)
            self._histogram += torch.bincount(feature * self._bins + place, minlength=len(self._histogram))
            if self._tokens < coactive_tokens:
                self._codes.add(token, feature, value, len(h))
            self._tokens += len(h)
        self.shards += 1

    def _numbers(self) -> dict[str, Tensor]:
        histogram = self._histogram.view(-1, self._bins)
        return {"counts": self._counts, "maxima": self._maxima, "histogram": histogram}

    def state(self) -> Checkpoint:
        """All that the next shard depends on."""
        numbers = {"shards": self.shards, "tokens": self._tokens, "done": False}
        return Checkpoint(self._numbers() | self._codes.tensors(), numbers)

    def restore(self, state: Checkpoint) -> None:
        """Goes on from a state."""
        self.shards, self._tokens = state.state["shards"], state.state["tokens"]
        self._counts, self._maxima = state.tensors["counts"], state.tensors["maxima"]
        self._histogram = state.tensors["histogram"].flatten()
        self._codes = Codes.of(len(self._counts), state.tensors)

    def done(self, neighbors: int) -> Checkpoint:
        """The result, with neighbours in place of the codes."""
        indices, similarities = coactivation_neighbors(self._codes, neighbors)
        found = {"neighbors": indices, "similarities": similarities}
        return Checkpoint(
            self._numbers() | found, {"shards": self.shards, "tokens": self._tokens, "done": True}
        )


def _statistics(state: Checkpoint) -> ActivationStatistics:
    return ActivationStatistics(state.state["tokens"], **state.tensors)
