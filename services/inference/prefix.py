"""The prefix cache: what an earlier prompt computed and this one need not.

An edit at the output of block L cannot change keys and values of blocks 0..L, nor the unedited residual there. So the
lower half is cached by tokens alone, shared by all edits, and the upper half by (tokens, steering). Entries are
grains of 16 tokens, chained by hash; only prefilled prompts enter, so that bits never depend on the cache's state.
Of sequences that begin alike, one computes the beginning and the others wait for it.
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

from services.inference.kv import GRAIN, KvCache, Lane
from services.inference.sequence import Sequence as Running


@dataclass(slots=True)
class _Lower:
    keys: Float[Tensor, "lower kv_heads grain head_dim"]
    values: Float[Tensor, "lower kv_heads grain head_dim"]
    residual: Float[Tensor, "grain d_model"]


@dataclass(slots=True)
class _Upper:
    keys: Float[Tensor, "upper kv_heads grain head_dim"]
    values: Float[Tensor, "upper kv_heads grain head_dim"]


@dataclass(slots=True)
class PrefixMatch:
    """How much of a prompt is known: `lower` and `upper` tokens (multiples of GRAIN, upper <= lower)."""

    lower: int
    upper: int
    residual: Float[Tensor, "lower-upper d_model"] | None
    """Unedited output of the split block for the tokens from `upper` to `lower`."""


class PrefixCache:
    """Least recently used grains within a budget of bytes."""

    def __init__(self, split: int, budget: int) -> None:
        self.split = split
        """The block L: the lowest one that an SAE reads."""
        self._budget = budget
        self._entries: OrderedDict[tuple[bytes, str | None], _Lower | _Upper] = OrderedDict()
        self.bytes = 0
        self.hits = self.misses = 0

    def chain(self, ids: Sequence[int]) -> list[bytes]:
        """A hash for each full grain that depends on all tokens up to its end."""
        digest, chain = b"", []
        for start in range(0, len(ids) - GRAIN + 1, GRAIN):
            block = np.asarray(ids[start : start + GRAIN], dtype=np.uint32).tobytes()
            digest = hashlib.blake2b(digest + block, digest_size=16).digest()
            chain.append(digest)
        return chain

    def begin(self, running: Sequence[Running], kv: KvCache) -> None:
        """Gives each sequence that has not begun what is known of its prompt. One whose next tokens another is about
        to compute waits for them: prompt tokens run in the order of arrival anyway."""
        if all(each.begun for each in running):
            return
        coming: set[bytes] = set()
        for each in running:
            if not each.begun:
                chain = [] if each.shadow is not None else each.chain[: (each.prompt_tokens - 1) // GRAIN]
                known = self._known(chain)
                if known < len(chain) and chain[known] in coming:
                    continue
                self._begin(each, chain, kv)
            if each.prefilling and self._enters(each):
                coming.update(each.chain[each.computed // GRAIN :])

    def _begin(self, sequence: Running, chain: Sequence[bytes], kv: KvCache) -> None:
        assert sequence.lane is not None
        sequence.begun = True
        if chain:
            found = self.match(chain, sequence.unread // GRAIN, sequence.fingerprint, kv, sequence.lane)
            sequence.computed = sequence.cached_start = found.upper
            sequence.cached_lower, sequence.cached_residual = found.lower, found.residual

    def _enters(self, sequence: Running) -> bool:
        """Whether the lower half of its prompt enters the cache."""
        whole = sequence.last_layer is None or sequence.last_layer >= self.split
        return self._budget > 0 and whole and sequence.shadow is None

    def _known(self, chain: Sequence[bytes]) -> int:
        return next((n for n, link in enumerate(chain) if (link, None) not in self._entries), len(chain))

    def match(
        self, chain: Sequence[bytes], unread: int, fingerprint: str | None, kv: KvCache, lane: Lane
    ) -> PrefixMatch:
        """Copies what is known of a chain into a lane.

        Of the first `unread` grains nothing is asked but keys and values. `fingerprint` names the steering of prompt
        tokens; None forbids reuse of the upper half.
        """
        known = self._known(chain)
        lower = [self._entries[link, None] for link in chain[:known]]
        upper = (
            [self._entries.get((link, fingerprint)) for link in chain[: min(known, unread)]]
            if fingerprint is not None
            else []
        )
        reused = _leading(upper)
        self._touch(chain[:known], fingerprint)
        keys, values = kv.lane(lane)
        _copy(lower, keys[: self.split + 1], values[: self.split + 1])
        _copy(upper[:reused], keys[self.split + 1 :], values[self.split + 1 :])
        self.hits += known
        self.misses += len(chain) - known
        rest = [t.residual for t in lower[reused:known] if isinstance(t, _Lower)]
        return PrefixMatch(known * GRAIN, reused * GRAIN, torch.cat(rest) if rest else None)

    def store_lower(self, link: bytes, start: int, kv: KvCache, lane: Lane, residual: Tensor) -> None:
        """Keeps blocks 0..L of the grain that starts at a position, with the unedited residual at L."""
        if (link, None) not in self._entries:
            keys, values = kv.lane(lane)
            place = slice(start, start + GRAIN)
            below = slice(0, self.split + 1)
            self._put(
                (link, None),
                _Lower(keys[below, :, place].clone(), values[below, :, place].clone(), residual.clone()),
            )

    def store_upper(self, link: bytes, fingerprint: str, start: int, kv: KvCache, lane: Lane) -> None:
        """Keeps the blocks above L of a grain, for one steering."""
        if (link, fingerprint) not in self._entries:
            keys, values = kv.lane(lane)
            place, above = slice(start, start + GRAIN), slice(self.split + 1, None)
            self._put(
                (link, fingerprint), _Upper(keys[above, :, place].clone(), values[above, :, place].clone())
            )

    def _touch(self, chain: Sequence[bytes], fingerprint: str | None) -> None:
        """Marks grains as just used, the first one last: those after it are worth nothing without it."""
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


def _copy(entries: Sequence[_Lower | _Upper | None], keys: Tensor, values: Tensor) -> None:
    """Entries that follow one another, into the beginning of a lane."""
    found = [entry for entry in entries if entry is not None]
    if found:
        place = slice(0, len(found) * GRAIN)
        keys[:, :, place] = torch.cat([entry.keys for entry in found], 2)
        values[:, :, place] = torch.cat([entry.values for entry in found], 2)


def _leading(entries: Sequence[object | None]) -> int:
    return next((n for n, e in enumerate(entries) if e is None), len(entries))


def _size(entry: _Lower | _Upper) -> int:
    tensors = [entry.keys, entry.values] + ([entry.residual] if isinstance(entry, _Lower) else [])
    return sum(t.numel() * t.element_size() for t in tensors)
