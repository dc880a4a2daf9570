"""Where everything of a set of runs goes: (token, key) pairs that are read, (token, edit) pairs that are added.

It depends on the requests' plans and the lengths of their runs alone. While the same sequences decode, step after step,
it is the same, so it is made once for them.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from services.inference.compiled import LayerPlan
from services.inference.sae.base import Sae

PAIR_BLOCK = 16_384
"""Pairs worked on at once, which bounds memory."""


@dataclass(frozen=True, slots=True)
class Pairs:
    """Index tensors over the chosen rows (the tokens of all runs, one run after the other)."""

    plans: tuple[LayerPlan, ...]
    """Held so that their identities, which name this in the cache, stay theirs."""
    read_rows: Int[Tensor, " reads"]
    read_features: Int[Tensor, " reads"]
    read_units: Float[Tensor, " reads"]
    """What conditions count each read in."""
    readers: tuple[tuple[Sae, Bool[Tensor, " reads"] | None], ...]
    """Each SAE with the reads that are its own; None for all."""
    nudge_rows: Int[Tensor, " nudged"]
    nudges: Float[Tensor, "nudged d_model"]
    edit_rows: Int[Tensor, " pairs"]
    edit_reads: Int[Tensor, " pairs"]
    """The place of each pair's own activation among the reads."""
    constant: Float[Tensor, " pairs"]
    slope: Float[Tensor, " pairs"]
    directions: Float[Tensor, "edits d_model"]
    edit_directions: Int[Tensor, " pairs"] | None
    """Each pair's row of `directions`; None where pair i has row i."""
    limits: Float[Tensor, " rows"]
    """The largest change of each row, in the residual stream's units."""

    def read(self, x: Float[Tensor, "rows d_model"]) -> Float[Tensor, " reads"]:
        """Unedited raw activation of every (token, key) pair."""
        if not self.readers:
            return x.new_zeros(0)
        if self.readers[0][1] is None:
            return _encode(self.readers[0][0], x, self.read_rows, self.read_features)
        values = x.new_zeros(len(self.read_rows))
        for sae, mine in self.readers:
            values[mine] = _encode(sae, x, self.read_rows[mine], self.read_features[mine])
        return values

    def add(self, delta: Float[Tensor, "rows d_model"], coefficient: Float[Tensor, " pairs"]) -> None:
        """delta[row] += coefficient * direction for every (token, edit) pair, in the order of the pairs."""
        for start in range(0, len(coefficient), PAIR_BLOCK):
            block = slice(start, start + PAIR_BLOCK)
            which = self.edit_directions
            directions = self.directions[block] if which is None else self.directions[which[block]]
            delta.index_add_(0, self.edit_rows[block], coefficient[block, None] * directions)


class PairCache:
    """The pairs of the last set of runs at each block."""

    def __init__(self) -> None:
        self._last: dict[int, tuple[tuple[tuple[int, int], ...], Pairs]] = {}

    def pairs(
        self, layer: int, plans: Sequence[LayerPlan], lengths: Sequence[int], device: torch.device
    ) -> Pairs:
        """The pairs of runs with these plans and lengths."""
        name = tuple((id(plan), length) for plan, length in zip(plans, lengths, strict=True))
        known = self._last.get(layer)
        if known is None or known[0] != name:
            self._last[layer] = known = (name, make_pairs(plans, lengths, device))
        return known[1]


def make_pairs(plans: Sequence[LayerPlan], lengths: Sequence[int], device: torch.device) -> Pairs:
    """Lays out the pairs of runs, token by token within a run."""
    runs = list(zip(plans, lengths, _starts(lengths), strict=True))
    reading = [(p, t, s) for p, t, s in runs if p.keys]
    editing = [(p, t, s) for p, t, s in runs if p.edits]
    nudging = [(p.nudge, t, s) for p, t, s in runs if p.nudge is not None]
    d_model = plans[0].rows.shape[1]
    read_starts = dict(
        zip((s for _, _, s in reading), _starts([t * len(p.keys) for p, t, _ in reading]), strict=True)
    )
    which = None
    if any(length != 1 for _, length, _ in editing):
        offsets = _starts([len(p.edits) for p, _, _ in editing])
        which = _joined(
            [
                torch.arange(o, o + len(p.edits)).repeat(t)
                for (p, t, _), o in zip(editing, offsets, strict=True)
            ]
        ).to(device)
    return Pairs(
        plans=tuple(plans),
        read_rows=_joined([_grid(s, t, len(p.keys)) for p, t, s in reading]).to(device),
        read_features=_joined([p.read.repeat(t) for p, t, _ in reading]).to(device),
        read_units=torch.cat([p.units.repeat(t) for p, t, _ in runs]).to(device),
        readers=_readers(reading, device),
        nudge_rows=_joined([torch.arange(s, s + t) for _, t, s in nudging]).to(device),
        nudges=torch.cat([n.expand(t, -1) for n, t, _ in nudging])
        if nudging
        else torch.zeros(0, d_model, device=device),
        edit_rows=_joined([_grid(s, t, len(p.edits)) for p, t, s in editing]).to(device),
        edit_reads=_joined([_own_reads(p, t, read_starts.get(s, 0)) for p, t, s in editing]).to(device),
        constant=torch.cat([p.constant.repeat(t) for p, t, _ in runs]).to(device),
        slope=torch.cat([p.slope.repeat(t) for p, t, _ in runs]).to(device),
        directions=torch.cat([p.rows for p, _, _ in runs]),
        edit_directions=which,
        limits=torch.tensor([p.limit for p in plans]).repeat_interleave(torch.tensor(lengths)).to(device),
    )


def _readers(
    reading: list[tuple[LayerPlan, int, int]], device: torch.device
) -> tuple[tuple[Sae, Bool[Tensor, " reads"] | None], ...]:
    saes: dict[str, Sae] = {sae.id: sae for plan, _, _ in reading for sae in plan.saes}
    if len(saes) < 2:
        return tuple((sae, None) for sae in saes.values())
    number = {name: n for n, name in enumerate(saes)}
    owner = _joined([torch.tensor([number[s.id] for s in p.saes]).repeat(t) for p, t, _ in reading]).to(
        device
    )
    return tuple((sae, owner == number[name]) for name, sae in saes.items())


def _encode(sae: Sae, x: Tensor, rows: Tensor, features: Tensor) -> Tensor:
    if not sae.weights.separable:  # each token is encoded whole: once, not for each of its features
        tokens, place = rows.unique(return_inverse=True)  # type: ignore[no-untyped-call]
        return sae.weights.encode_rows(x[tokens])[place, features]
    return torch.cat(
        [
            sae.weights.encode_pairs(x[r], f)
            for r, f in zip(torch.split(rows, PAIR_BLOCK), torch.split(features, PAIR_BLOCK), strict=True)
        ]
    )


def _own_reads(plan: LayerPlan, length: int, start: int) -> Int[Tensor, " pairs"]:
    return (plan.slots[None] + torch.arange(length)[:, None] * len(plan.keys) + start).reshape(-1)


def _grid(start: int, length: int, width: int) -> Int[Tensor, " cells"]:
    """Rows of the (token, column) pairs of a run, token by token."""
    return torch.arange(start, start + length).repeat_interleave(width)


def _starts(lengths: Sequence[int]) -> list[int]:
    starts = [0]
    for length in lengths:
        starts.append(starts[-1] + length)
    return starts[:-1]


def _joined(parts: list[Tensor]) -> Int[Tensor, " all"]:
    return torch.cat(parts) if parts else torch.zeros(0, dtype=torch.long)
