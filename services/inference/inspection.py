"""Feature activations of a run of tokens as sparse rows, encoded block by block so that memory stays bounded."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np
import torch
from jaxtyping import Bool, Float, Float32, UInt32
from torch import Tensor

from services.errors import FeatureOutOfRange, InvalidField
from services.inference.sae.base import SINK_NORMS, SaeWeights

MAX_NAMED_FEATURES = 512
"""Features that one request may name."""
BLOCK_TOKENS = 512
"""Tokens encoded at once, at most."""
BLOCK_ACTIVATIONS = 1 << 25
"""Numbers encoded at once (128 MiB), which makes blocks of wide SAEs shorter."""
RUN_TOKENS = 512
"""Tokens in one message, at most."""
RUN_NONZEROS = 400_000
"""Activations in one message, at most: 9 bytes each (4 the value, up to 5 the index) leave 0.5 of 4 MiB for tokens."""


@dataclass(frozen=True, slots=True)
class SparseRows:
    """Rows of a sparse matrix (compressed sparse rows): largest value first in each row, equal ones by feature."""

    starts: UInt32[np.ndarray, " rows+1"]
    indices: UInt32[np.ndarray, " nonzeros"]
    values: Float32[np.ndarray, " nonzeros"]

    @property
    def row_count(self) -> int:
        """Number of rows."""
        return len(self.starts) - 1

    def part(self, start: int, end: int) -> SparseRows:
        """Rows start to end, as views where possible."""
        first, last = int(self.starts[start]), int(self.starts[end])
        return SparseRows(
            self.starts[start : end + 1] - self.starts[start],
            self.indices[first:last],
            self.values[first:last],
        )


def named_features(indices: tuple[int, ...], d_sae: int, field: str = "feature_indices") -> tuple[int, ...]:
    """The features a request names, each once, in its order. Raises InvalidField or FeatureOutOfRange."""
    if len(indices) > MAX_NAMED_FEATURES:
        raise InvalidField(field, f"{len(indices)} features; allowed: at most {MAX_NAMED_FEATURES}")
    for place, index in enumerate(indices):
        if not 0 <= index < d_sae:
            raise FeatureOutOfRange(f"{field}[{place}]", index, d_sae)
    return tuple(dict.fromkeys(indices))


def live_tokens(h: Float[Tensor, "tokens d_model"], median_norm: float) -> Bool[Tensor, " tokens"]:
    """Tokens of a whole sequence that are no attention sinks: neither first nor above four median norms."""
    live: Tensor = h.float().norm(dim=-1) <= SINK_NORMS * median_norm
    live[:1] = False
    return live


def encoded(
    weights: SaeWeights, h: Float[Tensor, "tokens d_model"], features: tuple[int, ...] = ()
) -> Iterator[tuple[slice, Float[Tensor, "block columns"]]]:
    """Raw activations, float32, one block of tokens at a time: a column for each named feature, or for all.

    Where features can be computed without each other, only the encoder rows of the named ones are used; their numbers
    equal the full encoder's to rounding.
    """
    few = bool(features) and weights.separable
    reader = _only(weights, features) if few else weights
    length = max(1, min(BLOCK_TOKENS, BLOCK_ACTIVATIONS // max(reader.d_sae, 1)))
    for start in range(0, len(h), length):
        rows = slice(start, min(start + length, len(h)))
        f = reader.encode(h[rows].to(reader.W_enc.device).float())
        yield rows, f[:, list(features)] if features and not few else f


def sparse_rows(
    f: Float[Tensor, "tokens columns"],
    live: Bool[Tensor, " tokens"] | None = None,
    features: tuple[int, ...] = (),
    top_k: int = 0,
) -> SparseRows:
    """Rows of the activations that are above 0.

    `features` names the columns (distinct; empty: column i is feature i). Rows that are not `live` are empty. Of a row,
    at most the `top_k` largest are kept (0: all); of equal ones, those of lower index.
    """
    firing = f > 0
    if live is not None:
        firing &= live.to(f.device)[:, None]
    if 0 < top_k < f.shape[1]:
        firing &= f >= f.topk(top_k, dim=-1).values[:, -1:]  # with all that equal the smallest one kept
    places = firing.nonzero()
    values = f[places[:, 0], places[:, 1]].cpu().numpy().astype(np.float32, copy=False)
    rows, columns = places.cpu().numpy().T
    indices = np.asarray(features)[columns] if features else columns
    order = np.lexsort((indices, -values, rows))
    counts = np.bincount(rows, minlength=len(f))
    if top_k:
        rank = np.arange(len(rows)) - (np.cumsum(counts) - counts)[rows]  # `order` leaves `rows` as it is
        order = order[rank < top_k]
        counts = np.minimum(counts, top_k)
    starts = np.concatenate(([0], np.cumsum(counts)))
    return SparseRows(starts.astype(np.uint32), indices[order].astype(np.uint32), values[order])


def inspect_runs(
    weights: SaeWeights,
    h: Float[Tensor, "tokens d_model"],
    live: Bool[Tensor, " tokens"],
    features: tuple[int, ...] = (),
    top_k: int = 0,
) -> Iterator[tuple[int, SparseRows]]:
    """Activations of a run of tokens as (offset of the first token, rows), each small enough for one message."""
    for block, f in encoded(weights, h, features):
        for offset, part in runs(sparse_rows(f, live[block], features, top_k)):
            yield block.start + offset, part


def runs(
    rows: SparseRows, per_run: int = RUN_TOKENS, nonzeros: int = RUN_NONZEROS
) -> Iterator[tuple[int, SparseRows]]:
    """Splits rows into runs of at most so many tokens and activations, as (offset of the first row, rows).

    A row is never split: one that alone holds more than `nonzeros` is a run of its own.
    """
    start = 0
    while start < rows.row_count:
        limit = int(rows.starts[start]) + nonzeros
        fitting = int(np.searchsorted(rows.starts, limit, side="right")) - 1
        end = min(max(fitting, start + 1), start + per_run, rows.row_count)
        yield start, rows.part(start, end)
        start = end


def _only(weights: SaeWeights, features: tuple[int, ...]) -> SaeWeights:
    """The SAE of these features alone."""
    chosen = torch.tensor(features, device=weights.W_enc.device)

    def of(each: Tensor | None) -> Tensor | None:
        return None if each is None else each[chosen]

    return replace(
        weights,
        W_enc=weights.W_enc[chosen],
        b_enc=weights.b_enc[chosen],
        W_dec=weights.W_dec[chosen],
        threshold=of(weights.threshold),
        gate_scale=of(weights.gate_scale),
        gate_bias=of(weights.gate_bias),
    )
