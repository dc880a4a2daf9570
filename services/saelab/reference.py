"""Statistics of each feature over the reference corpus: the collected activations it was trained on."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from services.inference.sae.base import Sae
from services.saelab.checkpoint import SAVE_SECONDS, Checkpoint, load_checkpoint, save_checkpoint
from services.saelab.shards import Shard, ShardFolder

SCALE_QUANTILE = 0.999
"""The activation scale of a feature is this quantile of its non-zero activations."""
_TOGETHER = 4096
"""Tokens whose activations are in memory together."""
_PENDING = 8_000_000
"""Activations that are added before the largest are chosen anew."""


@dataclass(frozen=True, slots=True)
class FeatureStatistics:
    """What the reference corpus says of each feature, and of the stream."""

    density: Float[Tensor, " features"]
    """Share of tokens on which it is active."""
    scales: Float[Tensor, " features"]
    """SCALE_QUANTILE of its non-zero activations, in raw units; 1 for a feature that is never active."""
    maxima: Float[Tensor, " features"]
    """Largest activation; 0 for a feature that is never active."""
    mean: Float[Tensor, " d_model"]
    """Mean of the residual stream."""
    median_norm: float
    """Median norm of the residual stream."""
    tokens: int
    """Tokens read."""


def encoded(
    sae: Sae, shard: Shard
) -> Iterator[tuple[Float[Tensor, "tokens d_model"], Float[Tensor, "tokens d_sae"]]]:
    """The tokens of a shard and their activations, in order, _TOGETHER tokens at a time; float32."""
    for start in range(0, len(shard.activations), _TOGETHER):
        h = shard.activations[start : start + _TOGETHER].float()
        yield h, sae.weights.encode(h)


def feature_statistics(
    sae: Sae,
    folder: ShardFolder,
    tokens: int,
    path: Path | None = None,
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> FeatureStatistics:
    """Encodes the first `tokens` tokens of the shards, going on from the state at `path` where there is one.

    `progress` counts shards. Memory: 8 bytes for each of the largest activations, a thousandth of the tokens of each
    feature. Raises CorruptShard, RunMismatch.
    """
    indices = folder.first(tokens)
    reading = _Reading(sae, math.ceil((1 - SCALE_QUANTILE) * sum(map(folder.tokens, indices))) + 2)
    run = {"weights": sae.weights_digest, "shards": indices, "activations": folder.run()}
    if path is not None and (kept := load_checkpoint(path, run)):
        reading.restore(kept)
    saved = time.monotonic()
    with torch.no_grad():
        for index in indices[reading.shards :]:
            progress(reading.shards, len(indices))
            reading.add(folder.read(index))
            last = reading.shards == len(indices)
            if path is not None and (last or time.monotonic() - saved > SAVE_SECONDS):
                save_checkpoint(path, reading.state(), run)
                saved = time.monotonic()
    progress(len(indices), len(indices))
    return reading.done()


class _Reading:
    """Statistics so far. The largest activations are enough for their quantile: it is exact."""

    def __init__(self, sae: Sae, largest: int) -> None:
        self._sae, self._largest = sae, largest
        self.shards = self._tokens = 0
        self._counts = np.zeros(sae.weights.d_sae, np.int64)
        self._total = torch.zeros(sae.weights.d_model, dtype=torch.float64)
        self._norms: list[Tensor] = []
        self._features: list[Int[np.ndarray, " some"]] = []
        self._values: list[Float[np.ndarray, " some"]] = []

    def add(self, shard: Shard) -> None:
        """Takes in a shard."""
        for h, f in encoded(self._sae, shard):
            row, feature = f.nonzero(as_tuple=True)
            self._features.append(feature.to(torch.int32).numpy())
            self._values.append(f[row, feature].numpy())
            self._counts += np.bincount(self._features[-1], minlength=len(self._counts))
            self._total += h.sum(0, dtype=torch.float64)
            self._tokens += len(h)
        self._norms.append(shard.norms)
        self.shards += 1
        if sum(map(len, self._values[1:])) > _PENDING:
            self._merge()

    def _merge(self) -> tuple[Int[np.ndarray, " kept"], Float[np.ndarray, " kept"]]:
        """The largest activations, by feature, then largest first."""
        feature, value = np.concatenate(self._features), np.concatenate(self._values)
        order = np.lexsort((-value, feature))
        feature, value = feature[order], value[order]
        counts = np.bincount(feature, minlength=len(self._counts))
        rank = np.arange(len(feature)) - np.repeat(counts.cumsum() - counts, counts)
        feature, value = feature[rank < self._largest], value[rank < self._largest]
        self._features, self._values = [feature], [value]
        return feature, value

    def state(self) -> Checkpoint:
        """All that the next shard depends on."""
        feature, value = self._merge()
        tensors = {
            "features": torch.from_numpy(feature),
            "values": torch.from_numpy(value),
            "counts": torch.from_numpy(self._counts),
            "total": self._total,
            "norms": torch.cat(self._norms),
        }
        return Checkpoint(tensors, {"shards": self.shards, "tokens": self._tokens})

    def restore(self, kept: Checkpoint) -> None:
        """Goes on from a state."""
        self.shards, self._tokens = kept.state["shards"], kept.state["tokens"]
        self._features, self._values = [kept.tensors["features"].numpy()], [kept.tensors["values"].numpy()]
        self._counts, self._total = kept.tensors["counts"].numpy(), kept.tensors["total"]
        self._norms = [kept.tensors["norms"]]

    def done(self) -> FeatureStatistics:
        """The result."""
        feature, value = self._merge()
        kept = np.bincount(feature, minlength=len(self._counts))
        starts = kept.cumsum() - kept
        alive = np.flatnonzero(self._counts)
        maxima, scales = np.zeros(len(kept), np.float32), np.ones(len(kept), np.float32)
        maxima[alive] = value[starts[alive]]
        # As numpy.quantile does: between the two activations on either side of the place, the smallest at place 0.
        places = SCALE_QUANTILE * (self._counts[alive] - 1)
        above = self._counts[alive] - 1 - np.floor(places).astype(np.int64)
        low, high = value[starts[alive] + above], value[starts[alive] + np.maximum(above - 1, 0)]
        scales[alive] = low + (high - low) * (places - np.floor(places))
        return FeatureStatistics(
            density=torch.from_numpy(self._counts / self._tokens).float(),
            scales=torch.from_numpy(scales),
            maxima=torch.from_numpy(maxima),
            mean=(self._total / self._tokens).float(),
            median_norm=float(torch.cat(self._norms).median()),
            tokens=self._tokens,
        )
