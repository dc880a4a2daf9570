"""The prefix cache: what an earlier prompt computed and this one need not.

An edit at the output of block L cannot change keys and values of blocks 0..L, nor the unedited residual there. So the
lower half is cached by tokens alone, shared by all edits, and the upper half by (tokens, steering). Entries are
tiles of 64 tokens, chained by hash; only prefilled prompts enter, so that bits never depend on the cache's state.
"""

from __future__ import annotations

import hashlib
from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from services.inference.kv import TILE, KvCache, Lane


@dataclass(slots=True)
class _Lower:
    keys: Float[Tensor, "lower kv_heads tile head_dim"]
    values: Float[Tensor, "lower kv_heads tile head_dim"]
    residual: Float[Tensor, "tile d_model"]


@dataclass(slots=True)
class _Upper:
    keys: Float[Tensor, "upper kv_heads tile head_dim"]
    values: Float[Tensor, "upper kv_heads tile head_dim"]


@dataclass(slots=True)
class PrefixMatch:
    """How much of a prompt is known: `lower` and `upper` tokens (multiples of TILE, upper <= lower)."""

    lower: int
    upper: int
    residual: Float[Tensor, "lower-upper d_model"] | None
    """Unedited output of the split block for the tokens from `upper` to `lower`."""


class PrefixCache:
    """Least recently used tiles within a budget of bytes."""

    def __init__(self, split: int, budget: int) -> None:
        self.split = split
        """The block L: the lowest one that an SAE reads."""
        self._budget = budget
        self._entries: OrderedDict[tuple[bytes, str | None], _Lower | _Upper] = OrderedDict()
        self.bytes = 0
        self.hits = self.misses = 0

    def chain(self, ids: Sequence[int]) -> list[bytes]:
        """A hash for each full tile that depends on all tokens up to its end."""
        digest, chain = b"", []
        for start in range(0, len(ids) - TILE + 1, TILE):
            block = np.asarray(ids[start : start + TILE], dtype=np.uint32).tobytes()
            digest = hashlib.blake2b(digest + block, digest_size=16).digest()
            chain.append(digest)
        return chain

    def match(self, ids: Sequence[int], fingerprint: str | None, kv: KvCache, lane: Lane) -> PrefixMatch:
        """Copies what is known into a lane. At least the last token is left to compute.

        `fingerprint` names the steering of prompt tokens; None forbids reuse of the upper half.
        """
        chain = self.chain(ids[: len(ids) - 1])
        lower = [self._entries.get((link, None)) for link in chain]
        known = _leading(lower)
        upper = (
            [self._entries.get((link, fingerprint)) for link in chain[:known]]
            if fingerprint is not None
            else []
        )
        reused = _leading(upper)
        self._touch(chain[:known], fingerprint)
        keys, values = kv.lane(lane)
        for number in range(known):
            tile, place = lower[number], slice(number * TILE, (number + 1) * TILE)
            assert isinstance(tile, _Lower)
            keys[: self.split + 1, :, place], values[: self.split + 1, :, place] = tile.keys, tile.values
        for number in range(reused):
            above, place = upper[number], slice(number * TILE, (number + 1) * TILE)
            assert isinstance(above, _Upper)
            keys[self.split + 1 :, :, place], values[self.split + 1 :, :, place] = above.keys, above.values
        self.hits += known
        self.misses += len(chain) - known
        rest = [t.residual for t in lower[reused:known] if isinstance(t, _Lower)]
        return PrefixMatch(known * TILE, reused * TILE, torch.cat(rest) if rest else None)

    def store_lower(self, link: bytes, start: int, kv: KvCache, lane: Lane, residual: Tensor) -> None:
        """Keeps blocks 0..L of the tile that starts at a position, with the unedited residual at L."""
        if (link, None) not in self._entries:
            keys, values = kv.lane(lane)
            place = slice(start, start + TILE)
            below = slice(0, self.split + 1)
            self._put(
                (link, None),
                _Lower(keys[below, :, place].clone(), values[below, :, place].clone(), residual.clone()),
            )

    def store_upper(self, link: bytes, fingerprint: str, start: int, kv: KvCache, lane: Lane) -> None:
        """Keeps the blocks above L of a tile, for one steering."""
        if (link, fingerprint) not in self._entries:
            keys, values = kv.lane(lane)
            place, above = slice(start, start + TILE), slice(self.split + 1, None)
            self._put(
                (link, fingerprint), _Upper(keys[above, :, place].clone(), values[above, :, place].clone())
            )

    def _touch(self, chain: Sequence[bytes], fingerprint: str | None) -> None:
        """Marks tiles as just used, the first one last: those after it are worth nothing without it."""
        for link in reversed(chain):
            for key in ((link, fingerprint), (link, None)):
                if key in self._entries:
                    self._entries.move_to_end(key)

    def _put(self, key: tuple[bytes, str | None], entry: _Lower | _Upper) -> None:
        size = _size(entry)
        if size > self._budget:
            return
        self._entries[key] = entry
        self.bytes += size
        while self.bytes > self._budget:
            _, old = self._entries.popitem(last=False)
            self.bytes -= _size(old)


def _leading(entries: Sequence[object | None]) -> int:
    return next((n for n, e in enumerate(entries) if e is None), len(entries))


def _size(entry: _Lower | _Upper) -> int:
    tensors = [entry.keys, entry.values] + ([entry.residual] if isinstance(entry, _Lower) else [])
    return sum(t.numel() * t.element_size() for t in tensors)
