"""Attention of one pass over many sequences, given to transformers through its registry of attention functions.

A pass is a flat row of tokens: the newest token of each decoding sequence, then runs of prompt tokens. Decoding
tokens attend bucket by bucket in one batched product; prompt tokens attend in tiles of 64. Both shapes depend only
on the sequence itself, so that its bits do not depend on its neighbours.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from services.inference.kv import TILE, KvCache, Lane


@dataclass(slots=True)
class DecodeGroup:
    """The decoding sequences of one bucket: a run of rows of the pass, their lanes and positions in its order."""

    capacity: int
    row: int
    """The first of its rows."""
    lanes: Int[Tensor, " n"]
    positions: Int[Tensor, " n"]
    span: int
    """Lanes up to the highest in use; those between that are free are computed and dropped."""
    dense: bool
    """Whether the lanes are 0..n-1 in order: no scatter is needed."""

    @property
    def rows(self) -> slice:
        """Its rows."""
        return slice(self.row, self.row + len(self.lanes))


@dataclass(slots=True)
class PrefillRun:
    """A run of prompt tokens of one sequence; it starts at a multiple of GRAIN."""

    row: int
    length: int
    position: int
    lane: Lane


@dataclass(slots=True)
class PassLayout:
    """Which token of a pass belongs where."""

    decode: list[DecodeGroup] = field(default_factory=list)
    prefill: list[PrefillRun] = field(default_factory=list)
    masks: dict[tuple[int, int, int], Bool[Tensor, "..."]] = field(default_factory=dict)


def attend(
    layout: PassLayout,
    kv: KvCache,
    layer: int,
    query: Float[Tensor, "heads tokens head_dim"],
    key: Float[Tensor, "kv_heads tokens head_dim"],
    value: Float[Tensor, "kv_heads tokens head_dim"],
    scaling: float,
    window: int | None,
    softcap: float | None,
) -> Float[Tensor, "tokens heads head_dim"]:
    """Writes keys and values into the cache and attends; `window` is the sliding window in tokens, None for all."""
    heads, tokens, head_dim = query.shape
    out = query.new_empty(tokens, heads, head_dim)
    for group in layout.decode:
        keys, values = kv.layer(group.capacity, layer)
        keys[group.lanes, :, group.positions] = key[:, group.rows].transpose(0, 1)
        values[group.lanes, :, group.positions] = value[:, group.rows].transpose(0, 1)
        _decode(layout, group, query, keys, values, scaling, window, softcap, out)
    for run in layout.prefill:
        keys, values = (t[layer] for t in kv.lane(run.lane))
        rows = slice(run.row, run.row + run.length)
        keys[:, run.position : run.position + run.length] = key[:, rows]
        values[:, run.position : run.position + run.length] = value[:, rows]
        for tile in range(run.position // TILE * TILE, run.position + run.length, TILE):
            _prefill_tile(layout, run, tile, query, keys, values, scaling, window, softcap, out)
    return out


def _decode(
    layout: PassLayout,
    group: DecodeGroup,
    query: Tensor,
    keys: Tensor,
    values: Tensor,
    scaling: float,
    window: int | None,
    softcap: float | None,
    out: Tensor,
) -> None:
    heads, _, head_dim = query.shape
    kv_heads, capacity, span = keys.shape[1], group.capacity, group.span
    picked = query[:, group.rows].transpose(0, 1)  # [n, heads, head_dim]
    if not group.dense:
        spread = picked.new_zeros(span, heads, head_dim)
        spread[group.lanes] = picked
        picked = spread
    q = picked.reshape(span * kv_heads, heads // kv_heads, head_dim)
    k = keys[:span].reshape(span * kv_heads, capacity, head_dim)
    v = values[:span].reshape(span * kv_heads, capacity, head_dim)
    scores = _scores(q, k, scaling).view(span, heads, capacity)
    if softcap is not None:
        scores = torch.tanh(scores / softcap) * softcap
    scores.masked_fill_(_decode_mask(layout, group, window), float("-inf"))
    weights = torch.softmax(scores, -1).view(span * kv_heads, heads // kv_heads, capacity)
    result = torch.bmm(weights, v).view(span, heads, head_dim)
    out[group.rows] = result if group.dense else result[group.lanes]


def _scores(
    q: Float[Tensor, "batch queries head_dim"], k: Float[Tensor, "batch span head_dim"], scaling: float
) -> Float[Tensor, "batch queries span"]:
    """scaling * q k^T; the scaling costs nothing inside the product."""
    into = q.new_empty(q.shape[0], q.shape[1], k.shape[1])
    return torch.baddbmm(into, q, k.transpose(1, 2), beta=0, alpha=scaling)


def _decode_mask(layout: PassLayout, group: DecodeGroup, window: int | None) -> Tensor:
    name = (group.capacity, -1, window or 0)
    mask = layout.masks.get(name)
    if mask is None:
        last = torch.zeros(group.span, dtype=torch.long, device=group.positions.device)
        last[group.lanes] = group.positions
        places = torch.arange(group.capacity, device=last.device)
        mask = places > last[:, None]
        if window is not None:
            mask |= places <= last[:, None] - window
        layout.masks[name] = mask = mask[:, None]
    return mask


def _prefill_tile(
    layout: PassLayout,
    run: PrefillRun,
    tile: int,
    query: Tensor,
    keys: Tensor,
    values: Tensor,
    scaling: float,
    window: int | None,
    softcap: float | None,
    out: Tensor,
) -> None:
    """A run's tokens in the tile from position `tile` on; the shape is that of a whole tile, its bits too."""
    heads, _, head_dim = query.shape
    kv_heads = keys.shape[0]
    end = tile + TILE
    low, high = max(tile, run.position), min(end, run.position + run.length)
    rows = slice(run.row + low - run.position, run.row + high - run.position)
    q = query[:, rows]
    if high - low < TILE:
        q = torch.nn.functional.pad(q, (0, 0, low - tile, end - high))
    q = q.reshape(kv_heads, heads // kv_heads * TILE, head_dim)
    span = min(end, keys.shape[1])
    scores = _scores(q, keys[:, :span], scaling).view(heads, TILE, span)
    if softcap is not None:
        scores = torch.tanh(scores / softcap) * softcap
    scores.masked_fill_(_tile_mask(layout, end, span, window, q.device), float("-inf"))
    weights = torch.softmax(scores, -1).view(kv_heads, heads // kv_heads * TILE, span)
    result = torch.bmm(weights, values[:, :span]).view(heads, TILE, head_dim)
    out[rows] = result[:, low - tile : high - tile].transpose(0, 1)


def _tile_mask(layout: PassLayout, end: int, span: int, window: int | None, device: torch.device) -> Tensor:
    name = (end, span, window or 0)
    mask = layout.masks.get(name)
    if mask is None:
        queries = torch.arange(end - TILE, end, device=device)[:, None]
        places = torch.arange(span, device=device)
        mask = places > queries
        if window is not None:
            mask |= places <= queries - window
        layout.masks[name] = mask
    return mask
