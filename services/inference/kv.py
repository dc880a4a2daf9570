"""The KV cache: for each span bucket a contiguous block of lanes, one lane a sequence.

A sequence of n tokens lives in the smallest bucket that holds n, always, so that attention over it has the same
shape, and so the same bits, whatever else is in the batch. Lanes are kept dense: a new sequence takes the lowest
free lane.
"""

from __future__ import annotations

import bisect
from dataclasses import dataclass, field

import torch
from jaxtyping import Float
from torch import Tensor

TILE = 64
"""Tokens of a prefill tile: queries of one tile attend together, to a span that is a multiple of it."""
GRAIN = 16
"""Tokens that the prefix cache keeps together: a prompt may go on after any multiple of it. Divides TILE."""
SMALLEST_BUCKET = 128


@dataclass(slots=True)
class Lane:
    """A place in a bucket."""

    capacity: int
    index: int


@dataclass(slots=True)
class _Bucket:
    keys: Float[Tensor, "layers lanes kv_heads capacity head_dim"]
    values: Float[Tensor, "layers lanes kv_heads capacity head_dim"]
    free: list[int] = field(default_factory=list)  # ascending


class KvCache:
    """Keys and values of all running sequences."""

    def __init__(
        self,
        layers: int,
        kv_heads: int,
        head_dim: int,
        context: int,
        dtype: torch.dtype,
        device: torch.device,
    ) -> None:
        self._shape = (layers, kv_heads, head_dim)
        self._dtype, self._device = dtype, device
        self.capacities = [SMALLEST_BUCKET]
        while self.capacities[-1] < context:
            self.capacities.append(self.capacities[-1] * 2)
        self._buckets: dict[int, _Bucket] = {}

    def capacity_for(self, tokens: int) -> int:
        """The bucket in which a sequence of so many tokens lives."""
        return self.capacities[bisect.bisect_left(self.capacities, tokens)]

    def acquire(self, tokens: int) -> Lane:
        """A zeroed lane for a sequence of so many tokens."""
        capacity = self.capacity_for(tokens)
        bucket = self._buckets.get(capacity)
        if bucket is None or not bucket.free:
            bucket = self._grow(capacity)
        return Lane(capacity, bucket.free.pop(0))

    def release(self, lane: Lane, tokens: int) -> None:
        """Gives a lane back; what stood in it is zeroed, so that not even a NaN of it can reach another sequence."""
        bucket = self._buckets[lane.capacity]
        bucket.keys[:, lane.index, :, :tokens].zero_()
        bucket.values[:, lane.index, :, :tokens].zero_()
        bisect.insort(bucket.free, lane.index)

    def move(self, lane: Lane, tokens: int, needed: int) -> Lane:
        """Makes room for `needed` tokens; copies the first `tokens` if that takes another bucket."""
        if needed <= lane.capacity:
            return lane
        target = self.acquire(needed)
        for source, sink in zip(self.lane(lane), self.lane(target), strict=True):
            sink[:, :, :tokens] = source[:, :, :tokens]
        self.release(lane, tokens)
        return target

    def lane(self, lane: Lane) -> tuple[Tensor, Tensor]:
        """Keys and values of one lane, each [layers, kv_heads, capacity, head_dim], as views."""
        bucket = self._buckets[lane.capacity]
        return bucket.keys[:, lane.index], bucket.values[:, lane.index]

    def layer(self, capacity: int, layer: int) -> tuple[Tensor, Tensor]:
        """Keys and values of one layer in a bucket, each [lanes, kv_heads, capacity, head_dim], as views."""
        bucket = self._buckets[capacity]
        return bucket.keys[layer], bucket.values[layer]

    @property
    def tokens_allocated(self) -> int:
        """Tokens for which memory is held."""
        return sum(c * b.keys.shape[1] for c, b in self._buckets.items())

    @property
    def lanes_in_use(self) -> int:
        """Lanes that sequences hold."""
        return sum(b.keys.shape[1] - len(b.free) for b in self._buckets.values())

    def _grow(self, capacity: int) -> _Bucket:
        layers, kv_heads, head_dim = self._shape
        old = self._buckets.get(capacity)
        had = 0 if old is None else old.keys.shape[1]
        lanes = max(2, had * 2)
        shape = (layers, lanes, kv_heads, capacity, head_dim)
        keys = torch.zeros(shape, dtype=self._dtype, device=self._device)
        values = torch.zeros(shape, dtype=self._dtype, device=self._device)
        if old is not None:
            keys[:, :had], values[:, :had] = old.keys, old.values
        bucket = _Bucket(keys, values, list(range(had, lanes)))
        self._buckets[capacity] = bucket
        return bucket
